import { setTimeout as delay } from 'node:timers/promises';
import { connectQmp, type QmpClient } from './client.ts';
import type { Execute } from './command.ts';
import { startDeadline } from './deadline.ts';
import { QmpClosedError, QmpError, wordsOf, type QmpCloseReason } from './errors.ts';
import { guard, warn } from './guard.ts';
import type { QmpEvent } from './messages.ts';

/** QEMU is asked this long after its last answer; both together are what it takes to notice a hung one: at most 5 s. */
const defaultHeartbeatMs = 1000;
const defaultSilentAfterMs = 2500;
/** A greeting is waited for that long before trying again: QEMU may be stopped, or busy with another client. */
const defaultGreetingMs = 60_000;
/** Between attempts: doubled from the first to the last, so a QEMU that comes or goes is noticed within 2 s. */
const firstPauseMs = 50;
const lastPauseMs = 2000;

export interface QmpMonitorOptions {
  /** A function is asked before every connection; what it throws is a connection that failed. */
  path: string | (() => Promise<string>);
  /** Whether the process of the VM lives. Asked after each connection that failed or ended; false ends the monitor. */
  isAlive: () => boolean | Promise<boolean>;
  /**
   * Called after every connect and reconnect to ask for all there is to know, since what happened meanwhile is never told.
   * What it throws ends the connection, and it is called again with the next. Two calls never overlap.
   */
  onConnected: (client: QmpClient) => void | Promise<void>;
  /** For each `onConnected` one, at once, even while that one is still asking. */
  onDisconnected?: (reason: QmpCloseReason) => void;
  /** Every event, from the first after connecting; those that come during `onConnected`, too. */
  onEvent?: (event: QmpEvent) => void | Promise<void>;
  /** QEMU lives and says nothing (stopped, hung, overloaded). Ends by `onAnswering`, `onDisconnected` or the monitor's end. */
  onSilent?: () => void;
  onAnswering?: () => void;
  /** Told what the functions above threw, but for `onConnected`. Default: a warning of the process. */
  onError?: (error: unknown) => void;
  heartbeatMs?: number;
  silentAfterMs?: number;
  greetingTimeoutMs?: number;
  /** Of a command that says nothing else. Default: 10 s. */
  commandTimeoutMs?: number;
}

/** A connection to one VM's monitor that comes back for as long as the VM lives. */
export interface QmpMonitor extends AsyncDisposable {
  readonly state: 'connecting' | 'connected' | 'ended';
  /** False between `onSilent` and what ends it. */
  readonly answering: boolean;
  /** As that of a client; rejects at once with QmpClosedError when there is no connection. */
  readonly execute: Execute;
  /** `dead`: the VM's process is gone. `closed`: by `close`. */
  readonly ended: Promise<'dead' | 'closed'>;
  /** Ends it; afterwards nothing is called any more. The VM goes on. */
  close: () => Promise<void>;
}

export function startQmpMonitor(options: QmpMonitorOptions): QmpMonitor {
  const { path, onError = warn, silentAfterMs = defaultSilentAfterMs } = options;
  const stopping = new AbortController();
  const stopped = () => stopping.signal.aborted;
  let client: QmpClient | null = null;
  let silent = false;
  /** Why there is no connection, for those who want one. */
  let last: QmpCloseReason = { kind: 'gone', message: 'not connected to QEMU yet' };
  let over = false;

  function tell(call: () => unknown): void {
    if (!stopped()) guard(call, onError);
  }
  function setSilent(now: boolean): void {
    if (silent === now) return;
    silent = now;
    tell(() => (now ? options.onSilent : options.onAnswering)?.());
  }

  /** Waits for a word of QEMU however long it takes, and tells when it takes long. */
  async function hear<T>(word: Promise<T>): Promise<T> {
    const deadline = startDeadline(silentAfterMs, () => setSilent(true));
    try {
      const heard = await word;
      setSilent(false);
      return heard;
    } finally {
      deadline.cancel();
    }
  }

  /** One question at a time and without an end: those that time out would pile up before a QEMU that hangs. */
  async function beat(connected: QmpClient, signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(options.heartbeatMs ?? defaultHeartbeatMs, signal);
      if (signal.aborted) return;
      const asked = connected.execute('query-status', {}, { timeoutMs: Infinity });
      await hear(
        asked.catch((error: unknown) => {
          if (!(error instanceof QmpError)) throw error;
        }),
      );
    }
  }

  /** @returns whether all that had to be asked after connecting was answered */
  async function serve(connected: QmpClient): Promise<boolean> {
    const ending = new AbortController();
    const outcome: { asked: boolean; failure: QmpCloseReason | null } = { asked: false, failure: null };
    client = connected;
    const beating = beat(connected, ending.signal).catch(() => undefined); // ends with the connection
    const asking = (async () => {
      try {
        await options.onConnected(connected);
        outcome.asked = true;
      } catch (error) {
        const message = `QEMU's state could not be asked: ${wordsOf(error)}`;
        outcome.failure = { kind: 'requery', message };
        await connected.close();
      }
    })();
    const reason = await connected.closed;
    ending.abort();
    client = null;
    silent = false;
    last = reason.kind === 'asked' && outcome.failure ? outcome.failure : reason;
    tell(() => options.onDisconnected?.(last));
    await beating;
    // Who closes the monitor may do so from within `onConnected`, and would wait for himself.
    if (!stopped()) await asking;
    return outcome.asked;
  }

  /** @returns whether it was connected, and all was well */
  async function connectAndServe(): Promise<boolean> {
    try {
      const connected = await hear(
        connectQmp({
          path: typeof path === 'string' ? path : await path(),
          signal: stopping.signal,
          timeoutMs: options.greetingTimeoutMs ?? defaultGreetingMs,
          onError,
          onEvent: (event) => tell(() => options.onEvent?.(event)),
          ...(options.commandTimeoutMs !== undefined && { commandTimeoutMs: options.commandTimeoutMs }),
        }),
      );
      if (!stopped()) return await serve(connected);
      await connected.close();
      return false;
    } catch (error) {
      if (!stopped()) last = { kind: 'gone', message: wordsOf(error) };
      return false;
    }
  }

  async function isAlive(): Promise<boolean> {
    try {
      return await options.isAlive();
    } catch (error) {
      // Who does not know must not bury it.
      tell(() => onError(error));
      return true;
    }
  }

  async function live(): Promise<'dead' | 'closed'> {
    let pauseMs = firstPauseMs;
    while (!stopped()) {
      const well = await connectAndServe();
      if (stopped()) break;
      if (!(await isAlive())) return 'dead';
      pauseMs = well ? firstPauseMs : Math.min(pauseMs * 2, lastPauseMs);
      await pause(pauseMs, stopping.signal);
    }
    return 'closed';
  }

  const ended = live().finally(() => {
    over = true;
    silent = false;
  });
  async function close(): Promise<void> {
    stopping.abort();
    await client?.close();
    await ended;
  }

  return {
    get state() {
      if (over || stopped()) return 'ended';
      return client ? 'connected' : 'connecting';
    },
    get answering() {
      return !silent;
    },
    execute: (command, ...rest) => {
      if (client && !stopped()) return client.execute(command, ...rest);
      const reason = stopped() ? { kind: 'asked' as const, message: 'the monitor was closed' } : last;
      const rejected = Promise.reject(new QmpClosedError(command, reason));
      rejected.catch(() => undefined);
      return rejected;
    },
    ended,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Ends early, and without an error, when the signal says so. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
