import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { until, type TestServer } from '@vmo/testkit';
import { spawn as spawnInTerminal } from 'node-pty';

const home = join(import.meta.dirname, '..');
const root = join(home, '..', '..');
const cache = join(root, '.cache', 'compile');
/** That of this checkout, which runs its sources. */
export const checkoutProgram = join(home, 'bin', 'vmo.js');
let built: string | undefined;

/** One file, as it is released: it starts in a third of the time that the sources take. */
function builtProgram(): string {
  if (built !== undefined) return built;
  const place = join(root, '.cache', 'test', 'vmo');
  const file = join(place, 'build', 'vmo.js');
  mkdirSync(dirname(file), { recursive: true });
  copyFileSync(join(home, 'package.json'), join(place, 'package.json'));
  // Others build the same at the same time: whoever starts it finds all of it.
  const made = `${file}.${String(process.pid)}`;
  const rolldown = join(root, 'node_modules', 'rolldown', 'bin', 'cli.mjs');
  execFileSync(process.execPath, [rolldown, '-c', 'rolldown.config.ts', '--file', made], {
    cwd: home,
    stdio: 'pipe',
  });
  renameSync(made, file);
  return (built = file);
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** As bytes, where they matter. */
  bytes: Buffer;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Another program than the one that is built of this checkout. */
  program?: string;
}

export interface Running {
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
  /** Stops reading, as a reader that has gone away. */
  closeStdout(): void;
  type(text: string): void;
}

/** What reaches the server, and nothing of whoever runs the tests. */
export const environmentFor = (server: Pick<TestServer, 'url' | 'token'> | null): Record<string, string> => ({
  PATH: `${dirname(process.execPath)}:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: '/nonexistent',
  NODE_COMPILE_CACHE: cache,
  TERM: 'xterm-256color',
  // A data directory that is none, so that no server of this machine is found.
  VMO_DATA_DIR: '/nonexistent',
  ...(server ? { VMO_URL: server.url, VMO_TOKEN: server.token } : {}),
});

/** Starts the real program with pipes. */
export function startVmo(
  server: Pick<TestServer, 'url' | 'token'> | null,
  args: readonly string[],
  { env = {}, cwd = '/', program = builtProgram() }: RunOptions = {},
): Running {
  const child = spawn(process.execPath, [program, ...args], {
    cwd,
    env: { ...environmentFor(server), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => out.push(data));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const stdout = () => Buffer.concat(out).toString();
  return {
    get stdout() {
      return stdout();
    },
    get stderr() {
      return stderr;
    },
    ended: once(child, 'close').then(() => ({
      code: child.exitCode,
      signal: child.signalCode,
      bytes: Buffer.concat(out),
      stdout: stdout(),
      stderr,
    })),
    kill: (signal) => child.kill(signal),
    closeStdout: () => child.stdout.destroy(),
    type: (text) => void child.stdin.end(text),
  };
}

export const vmo = (
  server: Pick<TestServer, 'url' | 'token'> | null,
  args: readonly string[],
  options?: RunOptions,
): Promise<Ended> => startVmo(server, args, options).ended;

export interface InTerminal {
  /** All that was drawn. */
  readonly screen: string;
  type(keys: string): void;
  /** Waits until this was drawn. */
  shows(words: string | RegExp, timeoutMs?: number): Promise<void>;
  readonly ended: Promise<{ code: number; screen: string }>;
}

/** Starts the real program in a terminal. */
export function startInTerminal(
  server: Pick<TestServer, 'url' | 'token'> | null,
  args: readonly string[],
  { env = {}, cols = 120 }: { env?: Readonly<Record<string, string>>; cols?: number } = {},
): InTerminal {
  const terminal = spawnInTerminal(process.execPath, [builtProgram(), ...args], {
    cols,
    rows: 30,
    cwd: '/',
    env: { ...environmentFor(server), ...env },
  });
  let screen = '';
  terminal.onData((data) => (screen += data));
  const ended = new Promise<{ code: number; screen: string }>((resolve) => {
    terminal.onExit(({ exitCode }) => resolve({ code: exitCode, screen }));
  });
  return {
    get screen() {
      return screen;
    },
    type: (keys) => terminal.write(keys),
    shows: async (words, timeoutMs = 25_000) => {
      await until(
        `the screen to show ${String(words)}`,
        () => (typeof words === 'string' ? screen.includes(words) : words.test(screen)),
        { timeoutMs },
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; it shows ${JSON.stringify(screen)}`);
      });
    },
    ended,
  };
}
