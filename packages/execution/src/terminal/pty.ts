import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants as osConstants } from 'node:os';
import { dirname, join } from 'node:path';
import { ReadStream } from 'node:tty';

/**
 * node-pty's native half. Its JavaScript half is not used, for four reasons: it destroys the stream 200 ms after the
 * child's end, even a paused one, and what was not read is lost; it retries a full input buffer without a pause, a
 * whole core for as long as the program does not read; it sets IUTF8 (erasing whole characters in line editing) only
 * where it decodes the output itself; and it takes a program that closes its standard files for one that has ended.
 */
interface NativePty {
  fork(
    file: string,
    args: readonly string[],
    env: readonly string[],
    cwd: string,
    cols: number,
    rows: number,
    uid: number,
    gid: number,
    utf8: boolean,
    helperPath: string,
    onExit: (code: number, signal: number) => void,
  ): { fd: number; pid: number; pty: string };
  resize(fd: number, cols: number, rows: number): void;
}

function loadNative(): { native: NativePty; helperPath: string } {
  const require = createRequire(import.meta.url);
  const name = 'node-pty/lib/utils.js';
  const utils = require(name) as { loadNativeModule(name: string): { dir: string; module: NativePty } };
  const { dir, module } = utils.loadNativeModule('pty');
  return { native: module, helperPath: join(dirname(require.resolve(name)), dir, 'spawn-helper') };
}

const { native, helperPath } = loadNative();

/** Input that waits for the program to read; past it, more is refused. A paste has at most this size. */
export const maxQueuedInput = 8 * 1024 * 1024;
/** What is written to the pty in one call: the size of the line discipline's buffer (N_TTY_BUF_SIZE). */
const writeBytes = 4096;
/** A full input buffer is tried again after these. */
const firstRetryMs = 1;
const maxRetryMs = 50;
/**
 * What is read at most after the child's end. Must be more than the kernel holds for one pty (64 KiB of flip buffers
 * and 4 KiB of line discipline), and have a bound, since a process that was left behind may write for ever.
 */
const maxDrainBytes = 256 * 1024;

export interface PtyOptions {
  file: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  cols: number;
  rows: number;
  onData: (bytes: Buffer) => void;
  /** Once, after the last `onData`. */
  onEnd: (end: PtyEnd) => void;
}

export interface PtyEnd {
  /** As a shell reports it: 128 + n after signal n. */
  exitCode: number;
  signal: string | null;
}

/** A pseudo-terminal with the process that leads its session. */
export class Pty {
  readonly pid: number;
  readonly #fd: number;
  /** Held open by us, so that reading ends only when we say so: else it would end with the last file of the program. */
  readonly #slave: number;
  readonly #socket: ReadStream;
  readonly #onEnd: (end: PtyEnd) => void;
  readonly #input: Buffer[] = [];
  #queued = 0;
  #retry: NodeJS.Timeout | null = null;
  #retryMs = firstRetryMs;
  #over = false;

  /** @throws Error when there is no pty or no process to be had */
  constructor(options: PtyOptions) {
    this.#onEnd = options.onEnd;
    const env = Object.entries(options.env).map(([name, value]) => `${name}=${value}`);
    const { fd, pid, pty } = native.fork(
      options.file,
      options.args,
      env,
      options.cwd,
      options.cols,
      options.rows,
      -1,
      -1,
      true,
      helperPath,
      (code, signal) => {
        this.#exited(code, signal);
      },
    );
    this.pid = pid;
    this.#fd = fd;
    this.#slave = openSync(pty, constants.O_RDWR | constants.O_NOCTTY);
    this.#socket = new ReadStream(fd);
    this.#socket.on('data', options.onData);
    // Reading fails only once the terminal is over, and then the child's end says so.
    this.#socket.on('error', () => undefined);
  }

  /** Stops reading: the program blocks when the kernel's buffer is full. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#over) this.#socket.resume();
  }

  resize(cols: number, rows: number): void {
    if (!this.#over) native.resize(this.#fd, cols, rows);
  }

  /** Types: in order and whole, as fast as the program reads. False: too much waits already, nothing was taken. */
  write(bytes: Buffer): boolean {
    if (this.#over) return true;
    if (this.#queued + bytes.length > maxQueuedInput) return false;
    this.#input.push(bytes);
    this.#queued += bytes.length;
    if (!this.#retry) this.#flush();
    return true;
  }

  #flush(): void {
    this.#retry = null;
    for (let head = this.#input[0]; head; head = this.#input[0]) {
      let written: number;
      try {
        written = writeSync(this.#fd, head, 0, Math.min(head.length, writeBytes));
      } catch {
        // EAGAIN. Anything else is tried again as well, until the child's end puts an end to it.
        this.#retry = setTimeout(() => {
          this.#flush();
        }, this.#retryMs);
        this.#retryMs = Math.min(this.#retryMs * 2, maxRetryMs);
        return;
      }
      this.#retryMs = firstRetryMs;
      this.#queued -= written;
      if (written === head.length) this.#input.shift();
      else this.#input[0] = head.subarray(written);
    }
  }

  #exited(code: number, signal: number): void {
    this.#over = true;
    if (this.#retry) clearTimeout(this.#retry);
    this.#input.length = 0;
    closeSync(this.#slave);
    this.#socket.pause();
    // What the stream holds goes out as 'data' as well.
    while (this.#socket.read() !== null);
    this.#drain();
    this.#socket.destroy();
    const name = Object.entries(osConstants.signals).find(([, number]) => number === signal)?.[0] ?? null;
    this.#onEnd({ exitCode: signal > 0 ? 128 + signal : code, signal: name });
  }

  /** Reads what the kernel still holds. A process that was left behind may keep the terminal open: it is not waited for. */
  #drain(): void {
    const buffer = Buffer.allocUnsafe(maxDrainBytes);
    let end = 0;
    for (let read = -1; read !== 0; end += read) read = this.#readHeld(buffer.subarray(end));
    if (end > 0) this.#socket.emit('data', buffer.subarray(0, end));
  }

  /** @returns 0: `buffer` has no room left, nobody has the terminal open (EIO), or who has it wrote nothing (EAGAIN) */
  #readHeld(buffer: Buffer): number {
    try {
      return readSync(this.#fd, buffer, 0, buffer.length, null);
    } catch {
      return 0;
    }
  }
}
