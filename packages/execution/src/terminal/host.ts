import { chmod, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { ProcessTable } from '../process.ts';
import { HostedTerminal, type HostedTerminalDeps } from './hosted-terminal.ts';
import { takeLock } from './lock.ts';
import {
  createLineReader,
  encodeLine,
  maxAnswerBytes,
  maxRequestBytes,
  Numbered,
  protocolVersion,
  Request,
  RequestError,
  type HostMessage,
  type ListAnswer,
  type StartAnswer,
} from './protocol.ts';

/** Without terminals and clients, a host ends after this. */
const defaultIdleMs = 30_000;
/** A program that does not end when it is hung up is not waited for longer than this when the host is stopped. */
const stopGraceMs = 3_000;

export interface TerminalHostOptions {
  socketPath: string;
  table: ProcessTable;
  log: (words: string) => void;
  /** In milliseconds. */
  idleMs?: number;
}

export interface TerminalHost {
  /** When it has ended: by itself, or stopped. */
  closed: Promise<void>;
  /** Hangs up every terminal, and ends when their exit records are written. */
  stop(): Promise<void>;
}

/**
 * Holds the terminals of one agent, for as long as they live: agents come and go, and find them again here.
 * @returns null when another process has this socket
 */
export async function startTerminalHost(options: TerminalHostOptions): Promise<TerminalHost | null> {
  const { socketPath, table, log, idleMs = defaultIdleMs } = options;
  const self = await table.find(process.pid);
  if (!self) throw new Error('this process is not in the process table');
  const boot = await table.bootId();
  const lock = takeLock(`${socketPath}.lock`);
  if (!lock) return null;
  const unlock = lock;
  const deps: HostedTerminalDeps = {
    table,
    log,
    host: { pid: self.pid, start: self.start, boot },
  };
  const terminals = new Map<string, HostedTerminal>();
  const starting = new Set<string>();
  const clients = new Set<Socket>();
  let idleTimer: NodeJS.Timeout | undefined;
  let closing = false;
  let markClosed: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => (markClosed = resolve));

  function send(client: Socket, message: HostMessage): void {
    // A client that does not read is cut off rather than waited for: it can come again.
    if (client.writableLength > maxAnswerBytes) client.destroy();
    else client.write(encodeLine(message));
  }

  function look(): void {
    clearTimeout(idleTimer);
    if (closing) return;
    if (terminals.size + starting.size + clients.size === 0) idleTimer = setTimeout(close, idleMs);
  }

  function find(jobId: string): HostedTerminal {
    const terminal = terminals.get(jobId);
    if (!terminal) throw new RequestError('unknown', `there is no terminal of job ${jobId}`);
    return terminal;
  }

  async function start(request: Extract<Request, { request: 'start' }>): Promise<StartAnswer> {
    if (terminals.has(request.jobId) || starting.has(request.jobId))
      throw new RequestError('begun', `job ${request.jobId} has a terminal already`);
    starting.add(request.jobId);
    try {
      const terminal = await HostedTerminal.start(request, deps);
      terminals.set(request.jobId, terminal);
      void terminal.ended.then(() => {
        terminals.delete(request.jobId);
        for (const client of clients) send(client, { event: 'ended', jobId: request.jobId });
        look();
      });
      return { pid: terminal.pid, startedAt: terminal.startedAt.toISOString() };
    } finally {
      starting.delete(request.jobId);
      look();
    }
  }

  function list(): ListAnswer {
    return {
      terminals: [...terminals.values()].map(({ jobId, pid, size, directory }) => ({
        jobId,
        pid,
        ...size,
        directory,
      })),
    };
  }

  async function answer(client: Socket, request: Request): Promise<unknown> {
    switch (request.request) {
      case 'start':
        return start(request);
      case 'input':
        find(request.jobId).input(request.data);
        return null;
      case 'resize':
        find(request.jobId).resize(request.cols, request.rows);
        return null;
      case 'screen':
        return find(request.jobId).screen();
      case 'control':
        find(request.jobId).control(client, request.controlled);
        return null;
      case 'list':
        return list();
    }
  }

  function refuse(client: Socket, id: number | null, error: unknown): void {
    if (error instanceof RequestError) {
      send(client, { id, ok: false, code: error.code, message: error.message });
      return;
    }
    log(`a request failed: ${inspect(error)}`);
    send(client, { id, ok: false, code: 'internal', message: String(error) });
  }

  function receive(client: Socket, line: string): void {
    let id: number | null = null;
    try {
      const { id: own, ...rest } = Numbered.parse(JSON.parse(line));
      id = own;
      // Begun in the order in which they came: what is typed stays in order.
      answer(client, Request.parse(rest)).then(
        (given) => {
          send(client, { id: own, ok: true, answer: given });
        },
        (error: unknown) => {
          refuse(client, own, error);
        },
      );
    } catch (error) {
      refuse(client, id, new RequestError('invalid', `not a request: ${String(error)}`));
    }
  }

  const server = createServer((client) => {
    clients.add(client);
    look();
    const read = createLineReader(maxRequestBytes, (line) => {
      receive(client, line);
    });
    client.on('data', (bytes) => {
      if (read(bytes)) return;
      refuse(
        client,
        null,
        new RequestError('invalid', `a request may have ${String(maxRequestBytes)} bytes`),
      );
      client.destroySoon();
    });
    client.on('error', (error) => {
      log(`a connection broke: ${error.message}`);
    });
    client.on('close', () => {
      clients.delete(client);
      for (const terminal of terminals.values()) terminal.control(client, false);
      look();
    });
    send(client, { hello: { version: protocolVersion, pid: process.pid } });
  });

  function close(): void {
    if (closing) return;
    closing = true;
    clearTimeout(idleTimer);
    for (const client of clients) client.destroy();
    // Closing removes the socket; the lock is held until then, so that it can be nobody else's.
    server.close(() => {
      unlock();
      markClosed();
    });
  }

  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  await chmod(socketPath, 0o600);
  look();

  let stopping: Promise<void> | null = null;
  return {
    closed,
    stop() {
      stopping ??= (async () => {
        const all = [...terminals.values()];
        for (const terminal of all) terminal.hangUp();
        const ended = Promise.all(all.map((terminal) => terminal.ended));
        await Promise.race([ended, delay(stopGraceMs, undefined, { ref: false })]);
        close();
        await closed;
      })();
      return stopping;
    },
  };
}
