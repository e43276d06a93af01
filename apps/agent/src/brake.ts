import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runDirectoryExists, type Run } from '@vmo/execution';
import type { ShipLimits } from './ship-limits.ts';
import { bytesInWords } from './words.ts';

/** At most this often it is looked how much waits in the spool. */
const lookMs = 100;

export interface BrakeOptions {
  directory: string;
  limits: Pick<ShipLimits, 'highWaterBytes' | 'lowWaterBytes'>;
  /** Bytes of output that wait to be stored. */
  waiting: () => Promise<number>;
  /** Nothing more is stored before the end: nothing waits, but what is still to be fetched from a host. */
  isFull: () => boolean;
  /** The run has ended, or we let go of it: it is not stopped any more. */
  isOver: () => boolean;
  note: (line: string) => void;
}

/** Stops a job that writes faster than can be stored, and lets it go on when the log has caught up. */
export class Brake {
  readonly #options: BrakeOptions;
  readonly #file: string;
  #suspended: { since: number } | null = null;
  #looked = 0;
  #looking: Promise<void> | null = null;
  #closed = false;

  constructor(options: BrakeOptions) {
    this.#options = options;
    this.#file = join(options.directory, 'suspended');
  }

  /** Somebody before us may have stopped it. */
  async take(): Promise<void> {
    if (await runDirectoryExists(this.#file)) this.#suspended = { since: Date.now() };
  }

  /** Looks how much waits, unless that was done a moment ago. */
  balance(run: Run): void {
    if (this.#options.isFull() && !this.#suspended && !run.unfetched) return;
    if (this.#closed || this.#looking || Date.now() - this.#looked < lookMs) return;
    this.#looked = Date.now();
    this.#looking = this.#weigh(run)
      // The spool cannot be looked at now; whoever reads it says why.
      .catch(() => undefined)
      .finally(() => {
        this.#looking = null;
      });
  }

  /** Looks no more, and leaves nothing standing: neither a job when the cockpit goes, nor what outlives its command. */
  async release(run: Run, why: string): Promise<void> {
    this.#closed = true;
    await this.#looking;
    if (this.#suspended) await this.#resume(run, why).catch(() => undefined);
  }

  async #weigh(run: Run): Promise<void> {
    const { limits, isFull, isOver } = this.#options;
    const unstored = isFull() ? 0 : await this.#options.waiting();
    const waiting = unstored + (run.unfetched?.() ?? 0);
    if (this.#suspended) {
      const why = isFull()
        ? 'the log is near its limit, and no more is stored before the end'
        : 'the log has caught up';
      if (waiting <= limits.lowWaterBytes) await this.#resume(run, why);
    } else if (waiting > limits.highWaterBytes && !isOver()) await this.#suspend(run, waiting);
  }

  async #suspend(run: Run, waiting: number): Promise<void> {
    // First the marker: whoever finds it lets the job go on.
    await writeFile(this.#file, '', { mode: 0o600 });
    if (!(await run.suspend())) {
      await rm(this.#file, { force: true });
      return;
    }
    this.#suspended = { since: Date.now() };
    this.#options.note(
      `stopped (SIGSTOP): ${bytesInWords(waiting)} of output wait to be stored; it goes on when the log has caught up`,
    );
  }

  async #resume(run: Run, why: string): Promise<void> {
    const since = this.#suspended?.since ?? Date.now();
    this.#suspended = null;
    await run.resume();
    await rm(this.#file, { force: true });
    this.#options.note(`goes on (SIGCONT) after ${((Date.now() - since) / 1000).toFixed(1)} s: ${why}`);
  }
}
