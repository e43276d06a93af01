import { removeCgroup } from '../cgroup.ts';
import { endRun, findLeftovers, signalRun, type RunProcesses } from '../kill.ts';
import { isAlive, type ProcessIdentity, type ProcessTable } from '../process.ts';
import { readExitRecord, readIdentity, type ExitRecord } from '../run-directory.ts';
import type { Run, RunEnd, RunSpec } from '../run.ts';
import type { HostLink } from './link.ts';
import { readHostIdentity } from './records.ts';

/** The host says when a terminal has ended; where it cannot be heard, the record is found this late at most. */
const pollMs = 1_000;
/** From claiming the beginning to the first record it takes the host milliseconds; this long on a machine that is swapping. */
const identityTimeoutMs = 10_000;

/**
 * What a terminal that is closed says to its programs comes first: shells pass SIGHUP on to their jobs and end, while
 * interactive ones ignore SIGTERM, which is for the programs that take SIGHUP as something else.
 */
const ladder = ['SIGHUP', 'SIGTERM'] as const;

export interface TerminalRunOptions {
  spec: RunSpec;
  table: ProcessTable;
  cgroup: string | null;
  link: HostLink;
  startedAt: Date;
}

/** A run whose terminal is held by the host: everything is read from its directory and the process table. */
export class TerminalRun implements Run {
  readonly startedAt: Date;
  readonly ended: Promise<RunEnd>;
  readonly #options: TerminalRunOptions;
  readonly #identityDeadline = Date.now() + identityTimeoutMs;
  readonly #timer: NodeJS.Timeout;
  readonly #stopListening: () => void;
  #identity: ProcessIdentity | null = null;
  #host: ProcessIdentity | null = null;
  #hostSaysEnded = false;
  #finish: (end: RunEnd) => void = () => undefined;
  #looking = false;
  #lookAgain = false;
  #cancelling: Promise<string[]> | null = null;
  #over = false;

  constructor(options: TerminalRunOptions) {
    this.#options = options;
    this.startedAt = options.startedAt;
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#stopListening = options.link.listen((jobId) => {
      if (jobId !== null && jobId !== options.spec.jobId) return;
      if (jobId !== null) this.#hostSaysEnded = true;
      this.#look();
    });
    this.#timer = setInterval(() => {
      this.#look();
    }, pollMs);
    this.#look();
  }

  /** Looks whether the run has ended; looks that come while one is under way are made up for by one more. */
  #look(): void {
    if (this.#over) return;
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    void this.#check()
      .catch((error: unknown) => {
        this.#end({ kind: 'lost', reason: `its run directory cannot be read: ${String(error)}` });
      })
      .finally(() => {
        this.#looking = false;
        if (!this.#lookAgain) return;
        this.#lookAgain = false;
        this.#look();
      });
  }

  async #check(): Promise<void> {
    const { table, spec } = this.#options;
    if (await this.#closeByRecord()) return;
    this.#host ??= await readHostIdentity(spec.directory);
    const hostLives = this.#host ? await isAlive(table, this.#host) : Date.now() < this.#identityDeadline;
    if (hostLives && !this.#hostSaysEnded) return;
    // It may have written the record between our two looks.
    if (await this.#closeByRecord()) return;
    if (this.#cancelling) await this.#cancelling;
    await this.#lose(
      hostLives ? 'it left no exit record' : 'the terminal host vanished, and its terminals with it',
    );
  }

  /** Nobody can tell how it ends, so it does not go on: a job that is final cannot be cancelled. */
  async #lose(why: string): Promise<void> {
    const died = await endRun(await this.#processes(), 0);
    this.#end({ kind: 'lost', reason: [why, ...died].join('; ') });
  }

  async #closeByRecord(): Promise<boolean> {
    const record = await readExitRecord(this.#options.spec.directory);
    if (record) await this.#close(record);
    return record !== null;
  }

  async #close(record: ExitRecord): Promise<void> {
    if (this.#cancelling) await this.#cancelling; // the words about what died come before the end
    if (record.kind === 'exited') {
      this.#end({ ...record, leftovers: await findLeftovers(await this.#processes()) });
      return;
    }
    const words = record.kind === 'garbage' ? record.words : record.kind;
    await this.#lose(`its exit record cannot be read: ${JSON.stringify(words)}`);
  }

  async #processes(): Promise<RunProcesses> {
    const { spec, table, cgroup } = this.#options;
    this.#identity ??= await readIdentity(spec.directory);
    return { jobId: spec.jobId, table, wrapper: this.#identity, leaderIsCommand: true, cgroup };
  }

  #end(end: RunEnd): void {
    if (this.#over) return;
    this.detach();
    const { cgroup } = this.#options;
    if (cgroup !== null) void removeCgroup(cgroup);
    this.#finish(end);
  }

  cancel(graceMs: number): Promise<string[]> {
    this.#cancelling ??= this.#processes()
      .then((processes) => endRun(processes, graceMs, ladder))
      .finally(() => {
        this.#look();
      });
    return this.#cancelling;
  }

  async suspend(): Promise<boolean> {
    return signalRun(await this.#processes(), 'SIGSTOP');
  }

  async resume(): Promise<void> {
    await signalRun(await this.#processes(), 'SIGCONT');
  }

  detach(): void {
    this.#over = true;
    clearInterval(this.#timer);
    this.#stopListening();
  }
}
