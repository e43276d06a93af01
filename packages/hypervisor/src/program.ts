import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** Where programs are looked for: sbin is not on everybody's PATH, and qemu-kvm lies in libexec on Fedora. */
export const programFolders: readonly string[] = [
  ...['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  ...['/usr/libexec', '/opt/homebrew/bin', '/opt/local/bin'],
];

/** The whole environment of what is started here: messages in English, and no variable that changes what it does. */
const environment = { LC_ALL: 'C', PATH: programFolders.join(delimiter) };

/** The absolute path of a program that we may run, or null. */
export function findProgram(name: string): string | null {
  const candidates = isAbsolute(name) ? [name] : programFolders.map((folder) => join(folder, name));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not there, or not ours to run: the next folder may have it.
    }
  }
  return null;
}

export interface RunOptions {
  /** After this the whole process group is killed. */
  timeoutMs: number;
  /** Cancels: the process group is killed, and the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Written to its standard input; without it that is empty. */
  input?: string;
  /** Address space in bytes, where prlimit (util-linux) is there to set it. */
  memoryBytes?: number;
  /** Processor seconds, likewise. */
  cpuSeconds?: number;
  /** It ends when we die, where setpriv (util-linux) is there to see to it: else it would go on for nobody. */
  diesWithUs?: boolean;
  /** Sees standard output as it comes. */
  onOutput?: (chunk: string) => void;
}

export interface ProgramEnd {
  /** null: ended by a signal. */
  code: number | null;
  signal: NodeJS.Signals | null;
  timedOut: boolean;
  stdout: string;
  stderr: string;
}

/** More than any answer that is waited for; what comes after it is dropped, so that no image fills our memory. */
const maxOutputCharacters = 4 * 1024 * 1024;

/**
 * Milliseconds that a killed program gets to be gone. One that hangs in the kernel cannot be killed, and nobody should
 * wait for it.
 */
const goneWithinMs = 3_000;

function limited(program: string, args: readonly string[], options: RunOptions): [string, readonly string[]] {
  const limits = [
    ...(options.memoryBytes === undefined ? [] : [`--as=${String(options.memoryBytes)}`]),
    ...(options.cpuSeconds === undefined ? [] : [`--cpu=${String(options.cpuSeconds)}`]),
  ];
  const prlimit = limits.length > 0 ? findProgram('prlimit') : null;
  const setpriv = options.diesWithUs === true ? findProgram('setpriv') : null;
  const [first, ...rest] = [
    ...(setpriv === null ? [] : [setpriv, '--pdeathsig', 'KILL', '--']),
    ...(prlimit === null ? [] : [prlimit, ...limits, '--core=0', '--']),
    ...[program, ...args],
  ];
  return [first ?? program, rest];
}

/** Sessions of the programs that run now. */
const sessions = new Set<number>();

/** Whether a process of this session (its number on this host) was started here, and will end here. */
export const isOwnProgram = (session: number): boolean => sessions.has(session);

/**
 * Runs a program to its end, in a session of its own, so that it and everything it starts can be killed together. It
 * resolves for every exit code.
 * @throws when the program cannot be started (`ENOENT`), or was cancelled by the signal
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted();
    const [first, rest] = limited(program, args, options);
    const child = spawn(first, rest, { detached: true, env: environment, stdio: 'pipe' });
    const { pid } = child;
    if (pid !== undefined) sessions.add(pid);
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    let gone: NodeJS.Timeout | undefined;
    const kill = () => {
      if (pid === undefined) return;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // ESRCH: it ended by itself meanwhile.
      }
      gone ??= setTimeout(() => {
        settle(null, null);
      }, goneWithinMs);
    };
    const timeout = setTimeout(() => {
      timedOut = true;
      kill();
    }, options.timeoutMs);
    options.signal?.addEventListener('abort', kill);
    const stop = () => {
      if (pid !== undefined) sessions.delete(pid);
      clearTimeout(timeout);
      clearTimeout(gone);
      options.signal?.removeEventListener('abort', kill);
    };
    function settle(code: number | null, signal: NodeJS.Signals | null) {
      stop();
      if (options.signal?.aborted === true) reject(abortReason(options.signal));
      else resolve({ code, signal, timedOut, stdout, stderr });
    }
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      if (stdout.length < maxOutputCharacters) stdout += chunk;
      options.onOutput?.(chunk);
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      if (stderr.length < maxOutputCharacters) stderr += chunk;
    });
    child.on('error', (error) => {
      stop();
      reject(error);
    });
    child.on('close', settle);
    // A program that ends without reading breaks the pipe, which is its right.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

const abortReason = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new Error('cancelled');

/** The last lines that a program said, for people. */
export function lastWords({ stderr, stdout }: Pick<ProgramEnd, 'stderr' | 'stdout'>): string {
  const lines = (stderr.trim() || stdout.trim()).split('\n').slice(-3);
  return printable(lines.join(' · ')).slice(0, 500);
}

/** Text from outside without control and formatting characters: it is going to stand in messages. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}
