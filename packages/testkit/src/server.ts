import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { connectJobs, createClient, type Client, type JobsConnection } from '@vmo/client';
import type { DatabaseAddress } from '@vmo/db';
import { testDatabase } from './database.ts';
import { processesOfJobs } from './processes.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const program = join(import.meta.dirname, '..', '..', '..', 'apps', 'server', 'run.sh');
/** The same on every machine; this Node first, for jobs that use it. */
const environment = {
  PATH: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: homedir(),
};
const readyTimeoutMs = 60_000;

export interface TestServerOptions {
  /** Settings besides the usual ones of a test. */
  env?: Readonly<Record<string, string>>;
  /** With the embedded Postgres, as a person starts it; else a database of the test's own Postgres, which is faster. */
  embedded?: boolean;
  /** Done to the data directory before the first start. */
  prepare?: (dataDirectory: string) => Promise<void>;
}

export interface TestServer extends AsyncDisposable {
  /** As `http://127.0.0.1:34567`; stays the same over restarts. */
  readonly url: string;
  readonly token: string;
  /** The line's URL with its one-time code. */
  readonly loginUrl: string;
  readonly dataDirectory: string;
  /** The server's own database, to look behind its back. */
  readonly database: DatabaseAddress;
  /** Where the server was started; its first workspace. */
  readonly startDirectory: string;
  readonly pid: number;
  /** Everything it wrote to standard error. */
  readonly log: string;
  /** Speaks with the token. */
  readonly client: Client;
  /** A socket of its own; close it. `through`: the address of a proxy in between. */
  connect(through?: string): JobsConnection;
  /** SIGTERM. @returns the exit code */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after `stop` or `kill`, on the same port and data. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>;
}

/** Starts the real server as a process of its own, and waits until it is ready. It ends with this process. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory('vmo-server-'));
  const database = options.embedded ? null : stack.use(await testDatabase());
  const dataDirectory = join(directory.path, 'data');
  const startDirectory = join(directory.path, 'start');
  await mkdir(startDirectory);
  await options.prepare?.(dataDirectory);
  const token = 'test-token-0123456789';
  let child: ChildProcess;
  let log = '';
  let loginUrl = '';
  let url = '';

  async function launch(env: Readonly<Record<string, string>>): Promise<void> {
    child = spawn('/bin/sh', [program], {
      cwd: startDirectory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...environment,
        VMO_NODE: process.execPath,
        VMO_DATA_DIR: dataDirectory,
        VMO_PORT: url === '' ? '0' : new URL(url).port,
        VMO_TOKEN: token,
        VMO_LOG_LEVEL: 'warn',
        VMO_EXIT_WITH_PARENT: '1',
        ...(database ? { DATABASE_URL: database.url } : {}),
        ...options.env,
        ...env,
      },
    });
    child.stderr?.on('data', (data: Buffer) => (log += data.toString()));
    if (!child.stdout) throw new Error('the server has no standard output');
    const lines = createInterface(child.stdout);
    const ready = once(lines, 'line', { signal: AbortSignal.timeout(readyTimeoutMs) });
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the server ended with ${String(code)} before it was ready: ${log}`);
    });
    ended.catch(() => undefined);
    const [line] = (await Promise.race([ready, ended])) as [string];
    const found = /is ready: (\S+)/.exec(line)?.[1];
    if (found === undefined) throw new Error(`the server says ${line}`);
    loginUrl = found;
    url = new URL(found).origin;
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
    return child.exitCode;
  }

  await launch({});
  const client = createClient({ baseUrl: url, token });
  stack.defer(async () => {
    await end('SIGTERM');
    // Runs outlive their server: what a test left going, a machine above all, ends with it.
    const jobIds = new Set(await readdir(join(dataDirectory, 'runs')).catch(() => []));
    for (const pid of await processesOfJobs(jobIds)) process.kill(pid, 'SIGKILL');
  });
  return {
    url,
    token,
    client,
    dataDirectory,
    database: options.env?.DATABASE_URL
      ? { url: options.env.DATABASE_URL }
      : (database?.address ?? {
          socketDirectory: join(dataDirectory, 'postgres'),
          user: 'vmo',
          database: 'postgres',
        }),
    startDirectory,
    get loginUrl() {
      return loginUrl;
    },
    get pid() {
      return child.pid ?? 0;
    },
    get log() {
      return log;
    },
    connect: (through = url) => connectJobs({ baseUrl: through, token }),
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL');
    },
    restart: async (env = {}) => {
      await end('SIGTERM');
      await launch(env);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
