import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jobMark, signalProcess, type ProcessIdentity, type ProcessTable } from '../process.ts';
import { claimBeginning, spoolFile } from '../run-directory.ts';
import { codeOf } from './errors.ts';
import { RequestError, type ScreenAnswer, type StartRequest } from './protocol.ts';
import { Pty, type PtyEnd } from './pty.ts';
import { exitRecord, hostRecordDirectory, identityRecord, writeRecord } from './records.ts';
import { Screen } from './screen.ts';
import { SpoolWriter } from './spool-writer.ts';

/**
 * Bytes read from a pty that are not yet both in the spool and on the screen. Above the high mark the pty is not read
 * until they are below the low one. Must hold: low < high, and high plus what one stream still gives after a pause
 * (128 KiB) and the drain at the end (256 KiB) far below what the screen discards (DISCARD_WATERMARK, 50 MB).
 */
export const highWaterBytes = 1024 * 1024;
export const lowWaterBytes = 256 * 1024;

/** An exit record that could not be written is tried again after this. */
const recordRetryMs = 1_000;

export interface HostedTerminalDeps {
  table: ProcessTable;
  /** Of the process that holds the terminals. */
  host: ProcessIdentity;
  log: (words: string) => void;
}

type Step = { kind: 'bytes'; bytes: Buffer } | { kind: 'resize'; cols: number; rows: number };

/** Joins the control group, then becomes the job's own shell: the same process, before the command's first step. */
const bootstrap = '{ echo 0 >"$1/cgroup.procs"; } 2>/dev/null; exec /bin/sh -c -- "$2"';

function argumentsFor({ cgroup, command }: StartRequest): string[] {
  return cgroup === null ? ['-c', '--', command] : ['-c', bootstrap, 'sh', cgroup, command];
}

const directoryTroubles = new Map<unknown, string>([
  ['ENOENT', 'does not exist'],
  ['ENOTDIR', 'is not a directory'],
]);

async function checkDirectory(path: string): Promise<void> {
  // The dot makes it take the permission to enter, as changing into it will.
  await stat(`${path}/.`).catch((error: unknown) => {
    const words = directoryTroubles.get(codeOf(error)) ?? 'cannot be entered';
    throw new RequestError('directory', `the directory ${path} ${words}`);
  });
}

/** A job's terminal: pty, spool and screen, with the records of its run directory. */
export class HostedTerminal {
  readonly jobId: string;
  readonly directory: string;
  readonly startedAt = new Date();
  /** When the exit record is written (or there is no run directory left to write it to). */
  readonly ended: Promise<void>;
  readonly #deps: HostedTerminalDeps;
  readonly #pty: Pty;
  readonly #screen: Screen;
  readonly #spool: SpoolWriter;
  readonly #steps: Step[] = [];
  readonly #controllers = new Set<object>();
  #behind = 0;
  #paused = false;
  #pumping: Promise<void> | null = null;
  #finish: () => void = () => undefined;

  /**
   * Starts the command on a new terminal, once: the beginning is claimed first, and the run directory tells at every
   * moment who is to be asked.
   * @throws RequestError begun, directory, fork
   */
  static async start(request: StartRequest, deps: HostedTerminalDeps): Promise<HostedTerminal> {
    await checkDirectory(request.cwd);
    if (!(await claimBeginning(request.directory)))
      throw new RequestError('begun', 'this run has been begun before, or given up');
    await mkdir(join(request.directory, hostRecordDirectory), { mode: 0o700 });
    await writeRecord(join(request.directory, hostRecordDirectory), 'pid', identityRecord(deps.host));
    for (const stream of ['stdout', 'stderr'] as const)
      await writeFile(spoolFile(request.directory, stream), '', { flag: 'a', mode: 0o600 });
    const terminal = new HostedTerminal(request, deps);
    await terminal.#writeIdentity();
    return terminal;
  }

  private constructor(request: StartRequest, deps: HostedTerminalDeps) {
    this.jobId = request.jobId;
    this.directory = request.directory;
    this.#deps = deps;
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#spool = new SpoolWriter({
      path: spoolFile(request.directory, 'stdout'),
      onTrouble: (error) => {
        this.#log('its output cannot be written, it waits', error);
      },
    });
    this.#screen = new Screen(request.cols, request.rows, (reply) => {
      // A browser's terminal answers as well, and two answers are one too many.
      if (this.#controllers.size === 0) this.#pty.write(Buffer.from(reply));
    });
    try {
      this.#pty = new Pty({
        file: '/bin/sh',
        args: argumentsFor(request),
        env: { ...request.env, TERM: 'xterm-256color', COLORTERM: 'truecolor', [jobMark]: request.jobId },
        cwd: request.cwd,
        cols: request.cols,
        rows: request.rows,
        onData: (bytes) => {
          this.#take(bytes);
        },
        onEnd: (end) => {
          void this.#end(end);
        },
      });
    } catch (error) {
      throw new RequestError('fork', `no terminal could be made: ${String(error)}`);
    }
  }

  get pid(): number {
    return this.#pty.pid;
  }

  get size(): { cols: number; rows: number } {
    return this.#screen.size;
  }

  async #writeIdentity(): Promise<void> {
    const found = await this.#deps.table.find(this.#pty.pid);
    // It may have ended: then its exit record is on the way, and nobody needs to know who it was.
    if (!found) return;
    const identity = { pid: found.pid, start: found.start, boot: this.#deps.host.boot };
    await writeRecord(this.directory, 'pid', identityRecord(identity)).catch((error: unknown) => {
      this.#log('its identity cannot be written', error);
    });
  }

  #take(bytes: Buffer): void {
    this.#steps.push({ kind: 'bytes', bytes });
    this.#behind += bytes.length;
    if (!this.#paused && this.#behind > highWaterBytes) {
      this.#paused = true;
      this.#pty.pause();
    }
    this.#pump();
  }

  #pump(): void {
    this.#pumping ??= this.#work().finally(() => {
      this.#pumping = null;
    });
  }

  /** Takes the steps in order: what is on the screen is always in the spool already. */
  async #work(): Promise<void> {
    for (let step = this.#steps.shift(); step; step = this.#steps.shift()) {
      if (step.kind === 'resize') {
        void this.#screen.resize(step.cols, step.rows);
        continue;
      }
      const bytes = this.#gather(step.bytes);
      await this.#spool.append(bytes);
      void this.#screen.draw(bytes).then(() => {
        this.#drawn(bytes.length);
      });
    }
  }

  /** A pty gives 4 KiB at a time: what came meanwhile is written in one piece with it. */
  #gather(first: Buffer): Buffer {
    const pieces = [first];
    for (let next = this.#steps[0]; next?.kind === 'bytes'; next = this.#steps[0]) {
      pieces.push(next.bytes);
      this.#steps.shift();
    }
    return pieces.length === 1 ? first : Buffer.concat(pieces);
  }

  #drawn(length: number): void {
    this.#behind -= length;
    if (!this.#paused || this.#behind > lowWaterBytes) return;
    this.#paused = false;
    this.#pty.resume();
  }

  async #end(end: PtyEnd): Promise<void> {
    const finishedAt = new Date();
    await this.#pumping;
    await this.#spool.close();
    for (;;) {
      try {
        await writeRecord(this.directory, 'exit', exitRecord(end, this.startedAt, finishedAt));
        break;
      } catch (error) {
        this.#log('its exit record cannot be written', error);
        if (codeOf(error) === 'ENOENT') break;
        await delay(recordRetryMs);
      }
    }
    this.#finish();
  }

  #log(words: string, error: unknown): void {
    this.#deps.log(`${this.jobId}: ${words}: ${String(error)}`);
  }

  /** @throws RequestError full */
  input(data: string): void {
    if (!this.#pty.write(Buffer.from(data)))
      throw new RequestError(
        'full',
        'the program does not read its input: what was typed before still waits',
      );
  }

  resize(cols: number, rows: number): void {
    this.#pty.resize(cols, rows);
    this.#steps.push({ kind: 'resize', cols, rows });
    this.#pump();
  }

  async screen(): Promise<ScreenAnswer> {
    // What was read before the question is part of the answer.
    await this.#pumping;
    return { ...(await this.#screen.snapshot()), directory: this.directory };
  }

  /** While somebody is in control, queries of the program are theirs to answer. */
  control(who: object, controlled: boolean): void {
    if (controlled) this.#controllers.add(who);
    else this.#controllers.delete(who);
  }

  /** As closing a terminal's window does. */
  hangUp(): void {
    signalProcess(-this.#pty.pid, 'SIGHUP');
  }
}
