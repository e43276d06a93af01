import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { encodeCommand, isQmpEvent, type Execute, type ExecuteOptions, type QmpEventOf } from './command.ts';
import { startDeadline } from './deadline.ts';
import {
  QmpClosedError,
  QmpError,
  QmpProtocolError,
  QmpTimeoutError,
  wordsOf,
  type QmpCloseReason,
} from './errors.ts';
import { guard, warn } from './guard.ts';
import { parseMessage, type QmpEvent, type QmpGreeting, type QmpMessage } from './messages.ts';
import { defaultMessageLimit, LineReader, shorten } from './protocol.ts';
import type { QmpEvents } from './schema.generated.ts';

export interface QmpConnectOptions {
  /** The monitor's Unix socket. It serves one client at a time: others wait for its greeting. */
  path: string;
  /** For all until commands can be given: connection, greeting, negotiation. Default: 5 s. */
  timeoutMs?: number;
  /** Of a command that says nothing else. Default: 10 s. */
  commandTimeoutMs?: number;
  /** In bytes of one message. Default: 64 MiB. */
  messageLimit?: number;
  /** Ends the attempt to connect; afterwards it means nothing. */
  signal?: AbortSignal;
  /** Hears every event from the first on. A listener that is added after connecting may miss those that came at once. */
  onEvent?: (event: QmpEvent) => void;
  /** Told what a listener threw. Default: a warning of the process. */
  onError?: (error: unknown) => void;
}

/** One connection to one monitor. */
export interface QmpClient extends AsyncDisposable {
  readonly greeting: QmpGreeting;
  /** See `Execute`. An error that nobody waits for is not an unhandled rejection. */
  readonly execute: Execute;
  /** @returns how to stop it */
  on: <E extends keyof QmpEvents>(name: E, listener: (event: QmpEventOf<E>) => void) => () => void;
  /** Also those that the product has no types for. @returns how to stop it */
  onEvent: (listener: (event: QmpEvent) => void) => () => void;
  /** Resolved once, when no more answers and events will come. */
  readonly closed: Promise<QmpCloseReason>;
  /** Ends the connection; QEMU goes on. */
  close: () => Promise<void>;
}

interface Pending {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
  deadline: { cancel: () => void };
}

/**
 * Connects, and leaves the state in which QEMU accepts no commands. Of what a monitor offers nothing is switched on:
 * `oob` is good only for migrate-pause and yank, and would cost the order of the answers.
 * @throws QmpClosedError not reached, or it spoke no QMP · QmpTimeoutError no greeting · the signal's reason
 */
export async function connectQmp(options: QmpConnectOptions): Promise<QmpClient> {
  const { path, signal, timeoutMs = 5000, commandTimeoutMs = 10_000, onError = warn } = options;
  signal?.throwIfAborted();
  const listeners = new Set<(event: QmpEvent) => void>(options.onEvent ? [options.onEvent] : []);
  const pending = new Map<string, Pending>();
  const ready = Promise.withResolvers<QmpGreeting>();
  const closed = Promise.withResolvers<QmpCloseReason>();
  // QEMU may give the next client the answer to a command of the one before, so ids are never used again.
  const session = randomUUID();
  let count = 0;
  let greeting: QmpGreeting | null = null;
  let over: QmpCloseReason | null = null;
  const reader = new LineReader(options.messageLimit ?? defaultMessageLimit);
  const socket = connect(path);
  const socketClosed = once(socket, 'close').catch(() => undefined);

  function end(reason: QmpCloseReason, error: unknown = new QmpClosedError(null, reason)): void {
    if (over) return;
    over = reason;
    socket.destroy();
    for (const { command, reject, deadline } of pending.values()) {
      deadline.cancel();
      reject(new QmpClosedError(command, reason));
    }
    pending.clear();
    listeners.clear();
    ready.reject(error);
    closed.resolve(reason);
  }

  function send(command: string, args?: unknown, { timeoutMs = commandTimeoutMs }: ExecuteOptions = {}) {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    promise.catch(() => undefined);
    if (over) {
      reject(new QmpClosedError(command, over));
      return promise;
    }
    const id = `${session}-${++count}`;
    try {
      socket.write(encodeCommand(id, command, args));
    } catch (error) {
      reject(error);
      return promise;
    }
    const deadline = startDeadline(timeoutMs, () => {
      // When the answer comes after all, nobody is found that waits for it.
      pending.delete(id);
      reject(new QmpTimeoutError(command, timeoutMs));
    });
    pending.set(id, { command, resolve, reject, deadline });
    return promise;
  }

  function settle(id: string | null, settleOne: (waiting: Pending) => void): void {
    // Unknown: it came too late, or the client before us asked for it.
    const waiting = id === null ? undefined : pending.get(id);
    if (id === null || !waiting) return;
    pending.delete(id);
    waiting.deadline.cancel();
    settleOne(waiting);
  }

  function take(message: QmpMessage, line: string): void {
    if (message.kind !== 'greeting' && !greeting)
      throw new QmpProtocolError(`instead of a greeting came: ${shorten(line)}`);
    switch (message.kind) {
      case 'greeting': {
        if (greeting) throw new QmpProtocolError(`a second greeting came: ${shorten(line)}`);
        const first = (greeting = message.greeting);
        send('qmp_capabilities', undefined, { timeoutMs: Infinity }).then(
          () => ready.resolve(first),
          (error: unknown) => {
            end({ kind: 'protocol', message: wordsOf(error) }, error);
          },
        );
        return;
      }
      case 'return':
        settle(message.id, ({ resolve }) => resolve(message.value));
        return;
      case 'error': {
        // Only what could not be parsed is answered without its id; whose command it was, nobody can tell.
        if (message.id === null) throw new QmpProtocolError(`QEMU could not read a command: ${message.desc}`);
        settle(message.id, ({ command, reject }) =>
          reject(new QmpError(command, message.class, message.desc)),
        );
        return;
      }
      case 'event':
        for (const listener of [...listeners])
          if (listeners.has(listener)) guard(() => listener(message.event), onError);
    }
  }

  const isOver = () => over !== null;
  socket.on('data', (bytes: Buffer) => {
    try {
      for (const line of reader.push(bytes)) {
        take(parseMessage(line), line);
        // A listener may have closed the connection.
        if (isOver()) return;
      }
    } catch (error) {
      end({ kind: 'protocol', message: wordsOf(error) });
    }
  });
  const onEnd = () => {
    const { rest } = reader;
    const where = rest === '' ? '' : ` in the middle of a message: ${shorten(rest)}`;
    const when = greeting ? where : ` before its greeting${where}`;
    end({ kind: 'gone', message: `QEMU closed the connection${when}` });
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    // QEMU reads no further than it must, so its end is often a reset; what it had sent before has been read.
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') onEnd();
    else end({ kind: 'gone', message: `${path} cannot be reached: ${error.message}` });
  });
  socket.on('end', onEnd);
  socket.on('close', onEnd);

  const deadline = startDeadline(timeoutMs, () => {
    // Connected without a greeting: QEMU hangs, or is busy with another client.
    const message = `${path}: no greeting within ${timeoutMs} ms; QEMU hangs or serves another client`;
    end({ kind: 'gone', message }, new QmpTimeoutError(null, timeoutMs, message));
  });
  const onAbort = () => {
    end({ kind: 'asked', message: 'the attempt to connect was given up' }, signal?.reason);
  };
  signal?.addEventListener('abort', onAbort);
  async function close(): Promise<void> {
    end({ kind: 'asked', message: 'the connection was closed by this side' });
    await socketClosed;
  }
  try {
    const onEvent: QmpClient['onEvent'] = (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    };
    return {
      greeting: await ready.promise,
      // The types are QEMU's word for what it answers; see `Execute`.
      execute: (command: string, args?: unknown, how?: ExecuteOptions) => send(command, args, how),
      onEvent,
      on: (name, listener) =>
        onEvent((event) => {
          if (isQmpEvent(event, name)) guard(() => listener(event), onError);
        }),
      closed: closed.promise,
      close,
      [Symbol.asyncDispose]: close,
    };
  } finally {
    deadline.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
