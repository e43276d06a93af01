import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectToHost, HostGoneError, type HostClient } from './client.ts';
import { prepareSocketPath } from './paths.ts';

/** A host listens some 200 ms after its start; this long on a machine that is swapping. */
const startTimeoutMs = 15_000;
const retryMs = 20;

const hostMain = fileURLToPath(new URL('host-main.ts', import.meta.url));

export interface HostLinkOptions {
  /** Of the agent; holds the host's socket, lock and log. Made, closed to others. */
  hostDirectory: string;
  /** Environment of the host process. Jobs do not inherit it. */
  environment?: Readonly<Record<string, string>>;
}

/** An agent's way to its terminal host: one connection, made when it is needed, and again after it broke. */
export interface HostLink {
  socketPath(): Promise<string>;
  /** @throws HostGoneError when no host runs and (with `launch`) none could be started */
  connect(launch: boolean): Promise<HostClient>;
  /** Told of terminals that have ended (by job), and when the connection broke (null). Returns how to stop it. */
  listen(listener: (jobId: string | null) => void): () => void;
  /** Ends the connection, not the host. */
  close(): void;
}

export function createHostLink({ hostDirectory, environment = {} }: HostLinkOptions): HostLink {
  const listeners = new Set<(jobId: string | null) => void>();
  let path: Promise<string> | null = null;
  let current: HostClient | null = null;
  /** One at a time: a second connection would hear everything twice. */
  let attempt: { launches: boolean; client: Promise<HostClient> } | null = null;
  let closed = false;

  const socketPath = () => {
    path ??= prepareSocketPath(hostDirectory).catch((error: unknown) => {
      path = null;
      throw error;
    });
    return path;
  };
  function tell(jobId: string | null): void {
    for (const listener of [...listeners]) listener(jobId);
  }

  async function connectOnce(): Promise<HostClient> {
    const client = await connectToHost(await socketPath(), tell);
    if (closed) {
      client.close();
      throw new HostGoneError('the connection to the terminal host was closed');
    }
    current = client;
    void client.closed.then(() => {
      current = null;
      tell(null);
    });
    return client;
  }

  /** Starts a host. Where two do so at once, the lock lets one live, and the other ends at once. */
  async function launch(): Promise<{ over: boolean }> {
    const socket = await socketPath();
    const log = await open(join(dirname(socket), 'terminal-host.log'), 'a', 0o600);
    const state = { over: false };
    try {
      const child = spawn(process.execPath, [hostMain, socket], {
        detached: true, // its own session: it outlives us, and no signal meant for us reaches it
        stdio: ['ignore', log.fd, log.fd],
        cwd: '/',
        env: environment,
      });
      child.unref();
      child.once('error', () => (state.over = true));
      child.once('exit', () => (state.over = true));
    } finally {
      await log.close();
    }
    return state;
  }

  async function connectOrLaunch(): Promise<HostClient> {
    const deadline = Date.now() + startTimeoutMs;
    let launched: { over: boolean } | null = null;
    for (;;) {
      try {
        return await connectOnce();
      } catch (error) {
        if (!(error instanceof HostGoneError) || closed || Date.now() > deadline) throw error;
      }
      if (!launched || launched.over) launched = await launch();
      await delay(retryMs);
    }
  }

  return {
    socketPath,
    async connect(mayLaunch) {
      if (current) return current;
      if (attempt && (attempt.launches || !mayLaunch)) return attempt.client;
      const before = attempt?.client;
      const mine = {
        launches: mayLaunch,
        client: (async () => {
          const found = await before?.catch(() => null);
          return found ?? (mayLaunch ? connectOrLaunch() : connectOnce());
        })().finally(() => {
          if (attempt === mine) attempt = null;
        }),
      };
      attempt = mine;
      return mine.client;
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      closed = true;
      current?.close();
    },
  };
}
