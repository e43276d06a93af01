import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, lstat, mkdir, readFile, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { HostAddress, HostUser, type Host } from '@vmo/contract';
import { SshError } from './failure.ts';

/** Of a host, what a connection needs. */
export type SshTarget = Pick<Host, 'name' | 'address' | 'user' | 'port' | 'identityFile'>;

export interface SshClientOptions {
  /** Our own known hosts, beside the person's; its directory is made, closed to others. */
  knownHostsFile: string;
  /** Where the shared connections have their sockets; made, closed to others. */
  controlDirectory: string;
  /** Instead of the person's `~/.ssh/config`. */
  configFile?: string;
  /** Of the client; absent: this process's own. */
  env?: NodeJS.ProcessEnv;
  connectTimeoutSeconds?: number;
  /** How long a host may take until our script runs there: a slow name service, a slow login shell. Default 30 s. */
  readyTimeoutMs?: number;
  /** The programs, for systems where they are not in PATH. */
  program?: string;
  keyscanProgram?: string;
  keygenProgram?: string;
}

/** One remote command. Its stdout and stderr carry the other side's bytes alone; ssh's own words are in the end. */
export interface SshSession {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles once, never rejects: 255 when ssh itself failed, null when it was killed. */
  readonly ended: Promise<{ code: number | null; log: string }>;
  kill(): void;
}

export interface ProgramResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface SshClient {
  readonly options: Readonly<SshClientOptions>;
  /** `/bin/sh -s words…` on the host: the script comes over stdin, so the kind of the login shell does not matter. */
  open(target: SshTarget, ...words: string[]): Promise<SshSession>;
  /** The ssh program to its end, with options before the address; without the shared connection. */
  run(target: SshTarget, extra: readonly string[], command?: string): Promise<ProgramResult>;
  /** The next session makes a new connection; sessions over the present one go on. */
  dropConnection(target: SshTarget): Promise<void>;
  /** Ends the shared connection, and every session over it. */
  closeConnection(target: SshTarget): Promise<void>;
}

/**
 * Longest path of a control socket: sun_path holds 104 bytes (macOS) or 108 with the closing NUL, and ssh binds to
 * the path plus a dot and 16 random characters first.
 */
const maxSocketPath = 104 - 1 - 17;

/** Runs a program without a shell and collects its answer. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv | undefined; timeoutMs: number },
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
      env: options.env,
    });
    const parts = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => (parts[stream] += text));
    }
    child.once('error', (error) => {
      reject(new SshError({ kind: 'misconfigured', message: `${program} cannot be run: ${error.message}` }));
    });
    child.once('close', (code) => {
      resolve({ code, ...parts });
    });
  });
}

/**
 * Refuses what ssh could take for an option or for something else than one name, whatever has been checked before.
 * @throws SshError
 */
export function checkTarget({ address, user, port, identityFile }: SshTarget): void {
  const wrong =
    !HostAddress.safeParse(address).success || address.startsWith('-')
      ? 'address'
      : user !== null && (!HostUser.safeParse(user).success || user.startsWith('-'))
        ? 'user'
        : port !== null && !(Number.isInteger(port) && port >= 1 && port <= 65_535)
          ? 'port'
          : identityFile !== null && !/^(\/|~\/)[^\0\r\n]*$/.test(identityFile)
            ? 'identity file'
            : null;
  if (wrong) {
    const message = `the ${wrong} of this host cannot be used: change it in Hosts`;
    throw new SshError({ kind: 'misconfigured', message });
  }
}

/** In a path that ssh expands, a per cent sign stands for itself when doubled (ssh_config(5), TOKENS). */
const literal = (path: string) => path.replaceAll('%', '%%');
/** One word of a list in ssh_config. */
const quoted = (path: string) => `"${literal(path).replace(/["\\]/g, '\\$&')}"`;

/** Runs the system's OpenSSH client: people's configuration, agents, jump hosts and hardware keys work. */
export function createSshClient(options: SshClientOptions): SshClient {
  const { program = 'ssh', connectTimeoutSeconds = 10 } = options;
  const environment = { env: options.env };
  let sockets: Promise<string> | null = null;

  async function makePrivate(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
  }

  /** The directory of the sockets; one with a long path is replaced by one of our own under /tmp. */
  function socketDirectory(): Promise<string> {
    sockets ??= (async () => {
      await makePrivate(options.controlDirectory);
      if (Buffer.byteLength(join(options.controlDirectory, socketName(''))) <= maxSocketPath)
        return options.controlDirectory;
      const { uid } = userInfo();
      const short = join(tmpdir(), `vmo-ssh-${String(uid)}-${hash(options.controlDirectory).slice(0, 8)}`);
      await mkdir(short, { mode: 0o700 }).catch(() => undefined);
      // Somebody else could have made it first, to get at our connections.
      const found = await lstat(short);
      if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
        const message = `${short} is not a directory of our own: remove it`;
        throw new SshError({ kind: 'misconfigured', message });
      }
      return short;
    })();
    sockets.catch(() => (sockets = null));
    return sockets;
  }

  const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);
  const socketName = (key: string) => `s-${hash(key)}`;
  // A host whose settings change gets another connection.
  const socketPath = async ({ address, user, port, identityFile }: SshTarget) =>
    join(
      await socketDirectory(),
      socketName(JSON.stringify([address, user, port, identityFile, options.configFile])),
    );

  function targetArguments({ user, port, identityFile }: SshTarget): string[] {
    return [
      ...(options.configFile === undefined ? [] : ['-F', options.configFile]),
      ...(user === null ? [] : ['-l', user]),
      ...(port === null ? [] : ['-p', String(port)]),
      ...(identityFile === null ? [] : ['-i', literal(identityFile), '-o', 'IdentitiesOnly=yes']),
    ];
  }

  const commonArguments = [
    ...['-T', '-x', '-e', 'none'],
    ...[
      'BatchMode=yes',
      'StrictHostKeyChecking=yes',
      `UserKnownHostsFile=${quoted(options.knownHostsFile)} ~/.ssh/known_hosts`,
      'UpdateHostKeys=no',
      'CheckHostIP=no',
      `ConnectTimeout=${String(connectTimeoutSeconds)}`,
      'ServerAliveInterval=5',
      'ServerAliveCountMax=3',
      // What a person's configuration may ask for in a terminal, and what would stop or change a session here.
      'RemoteCommand=none',
      'PermitLocalCommand=no',
      'ClearAllForwardings=yes',
      'VisualHostKey=no',
    ].flatMap((option) => ['-o', option]),
  ];

  async function checked<T>(target: SshTarget, use: () => Promise<T>): Promise<T> {
    checkTarget(target);
    await makePrivate(join(options.knownHostsFile, '..'));
    return use();
  }

  return {
    options,

    open: (target, ...words) =>
      checked(target, async () => {
        const socket = await socketPath(target);
        // ssh's own words go to a file, since its stderr is the other side's; the file outlives no session.
        const log = join(options.controlDirectory, `log-${randomUUID()}`);
        const child = spawn(
          program,
          [
            ...targetArguments(target),
            ...commonArguments,
            ...['-o', 'LogLevel=ERROR', '-E', log],
            ...['-o', 'ControlMaster=auto', '-o', 'ControlPersist=60', '-S', literal(socket)],
            ...['--', target.address, ['exec', '/bin/sh', '-s', ...words].join(' ')],
          ],
          { stdio: 'pipe', ...environment },
        );
        const gone = new Promise<{ code: number | null; error: string }>((resolve) => {
          child.once('exit', (code) => {
            resolve({ code, error: '' });
          });
          child.once('error', (error) => {
            resolve({ code: 255, error: `${program} cannot be run: ${error.message}` });
          });
        });
        // Writing to a session that has ended is no news: its end is.
        child.stdin.on('error', () => undefined);
        return {
          stdin: child.stdin,
          stdout: child.stdout,
          stderr: child.stderr,
          ended: gone.then(async ({ code, error }) => {
            const said = await readFile(log, 'utf8').catch(() => '');
            await rm(log, { force: true });
            return { code, log: said + error };
          }),
          kill() {
            child.stdin.destroy();
            child.kill('SIGKILL');
          },
        };
      }),

    run: (target, extra, command) =>
      checked(target, () =>
        runProgram(
          program,
          [
            ...extra,
            ...targetArguments(target),
            ...commonArguments,
            ...['-S', 'none', '--', target.address, ...(command === undefined ? [] : [command])],
          ],
          { ...environment, timeoutMs: connectTimeoutSeconds * 2_000 },
        ),
      ),

    async dropConnection(target) {
      checkTarget(target);
      await rm(await socketPath(target), { force: true });
    },

    closeConnection: (target) =>
      checked(target, async () => {
        await runProgram(
          program,
          [
            ...targetArguments(target),
            '-O',
            'exit',
            '-S',
            literal(await socketPath(target)),
            '--',
            target.address,
          ],
          { ...environment, timeoutMs: 5_000 },
        );
      }),
  };
}
