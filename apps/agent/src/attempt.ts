import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { machineRequestOf, perStream, type ClaimedJob, type JobRef, type RunOutcome } from '@vmo/contract';
import {
  isDiskFull,
  Mask,
  runDirectoryExists,
  StartError,
  type RequestLink,
  type Run,
  type RunEnd,
  type RunSpec,
} from '@vmo/execution';
import type { AgentOptions } from './agent.ts';
import { StoppedError, type Persistence } from './persistence.ts';
import { LeaseLostError } from './lease-lost.ts';
import { createRequestLink } from './request-link.ts';
import { markSecrets, markVerified, runDirectoryOf, wasLapsed } from './run-directories.ts';
import { Shipper, type Ended } from './shipper.ts';
import { commandLines, endLines, reasonOf } from './words.ts';

/** setTimeout takes at most 2^31 - 1 ms. */
const maxTimerMs = 2 ** 31 - 1;

type Unverified = Omit<RunOutcome, 'verified'>;

/** A job that ran, of which nothing can be found. */
class LostError extends Error {}

/** The lease ended before the job began: somebody else may have it by now. */
class LapsedError extends Error {}
const cutOff = 'the agent was cut off before it began: it goes back to the queue';

/**
 * One job on its way through this agent: started or adopted, its spool shipped, its end reported. Everything it tells
 * the server is repeated until it is taken.
 */
export class Attempt {
  /** Settles when this agent has nothing more to do with the job. */
  readonly done: Promise<void>;
  readonly fence: number;
  readonly place: ClaimedJob['place'];
  needs: ClaimedJob['needs'];
  readonly #job: ClaimedJob;
  readonly #options: AgentOptions;
  readonly #persistence: Persistence;
  readonly #ref: JobRef;
  readonly #directory: string;
  readonly #mask: Mask | null;
  readonly #shipper: Shipper;
  readonly #link: RequestLink;
  #run: Run | null = null;
  /** Why the run is being ended, by whoever asked first. */
  #ending: 'cancelled' | 'timed_out' | null = null;
  /** What the cancel ladder did; empty: nothing was alive any more. */
  #ladder: Promise<string[]> | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** Ends what comes before the start. */
  readonly #before = new AbortController();

  constructor(job: ClaimedJob, options: AgentOptions, persistence: Persistence) {
    this.fence = job.fence;
    this.place = job.place;
    this.needs = job.needs;
    this.#job = job;
    this.#options = options;
    this.#persistence = persistence;
    this.#ref = { jobId: job.id, fence: job.fence };
    this.#directory = join(options.runsDirectory, runDirectoryOf(job));
    const secrets = Object.values(job.secrets ?? {});
    this.#mask = secrets.length > 0 ? new Mask(secrets) : null;
    this.#shipper = new Shipper({
      job,
      ref: this.#ref,
      directory: this.#directory,
      api: options.api,
      limits: options.limits,
      mask: this.#mask,
      insist: (what, call) => this.#insist(what, call),
      note: (line) => {
        this.#note(line);
      },
    });
    this.#link = createRequestLink({
      ref: this.#ref,
      api: options.api,
      insist: (what, call) => this.#insist(what, call),
    });
    if (job.cancelRequested) this.#ending = 'cancelled';
    options.machineFiles?.hold(job);
    this.done = this.#work().catch((error: unknown) => {
      if (error instanceof StoppedError) return;
      const details = { jobId: job.id, err: error };
      if (error instanceof LeaseLostError)
        options.logger.warn(details, 'the job belongs to another attempt now');
      else options.logger.error(details, 'the job was given up: this is a bug');
    });
  }

  cancel(): void {
    this.#beginEnding('cancelled');
  }

  setMemory(memoryMib: number): void {
    this.needs = { ...this.needs, memoryMib };
  }

  /** Stops watching; what has been read is still shipped. */
  async letGo(): Promise<void> {
    this.#shipper.letGo();
    this.#before.abort(new StoppedError());
    // A server that does not answer must not keep us: the spool keeps what it did not take.
    const patience = new Promise<void>((resolve) => setTimeout(resolve, 2_000).unref());
    await Promise.race([this.done, patience]);
    this.#release();
  }

  #release(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#run?.detach();
  }

  #insist<T>(what: string, call: () => Promise<T>): Promise<T> {
    return this.#persistence.insist(this.#job.id, what, call);
  }

  async #work(): Promise<void> {
    try {
      if (this.#job.secrets === null) {
        await this.#refuse();
        return;
      }
      const ended = await this.#begin();
      if (ended) await this.#report(ended);
    } finally {
      this.#release();
      await this.#shipper.close();
      await this.#options.machineFiles?.over(this.#job.id);
    }
  }

  /** Without its secrets a job cannot start, and what a running one writes cannot be hidden: it is ended unread. */
  async #refuse(): Promise<void> {
    const { api, execution, cancelGraceMs } = this.#options;
    const job = this.#job;
    const reason =
      'its secret variables cannot be opened: the key in the data directory (secrets.key) is not the one they were sealed with; submit it again';
    const isKnown = job.status === 'running' || (await runDirectoryExists(this.#directory));
    this.#run = isKnown ? await execution.adopt(job.type, this.#spec()) : null;
    const died = (await this.#run?.cancel(cancelGraceMs)) ?? [];
    const outcome: RunOutcome = {
      status: 'failed',
      exitCode: null,
      signal: null,
      reason,
      startedAt: null,
      finishedAt: new Date(),
      lines: [...died, reason],
      verified: false,
      dead: false,
    };
    await this.#insist('the end', () => api.finish(this.#ref, outcome, job.offsets));
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** @returns how it ended, or null when we let go before */
  async #begin(): Promise<Ended | null> {
    const { api, name } = this.#options;
    const job = this.#job;
    try {
      this.#run = await this.#startOrAdopt();
    } catch (error) {
      if (error instanceof LapsedError) {
        await this.#insist('the return', () => api.release(this.#ref, error.message));
        return null;
      }
      return { end: this.#endOf(error), sizes: await this.#shipper.sizes() };
    }
    const run = this.#run;
    if (this.#mask) await markSecrets(this.#directory);
    if (this.#ending) this.#climb();
    else this.#startTimer(run);
    if (job.status !== 'running') {
      const kept = await this.#insist('the start', () =>
        api.started(this.#ref, run.startedAt, this.#masked(commandLines(job, name, this.#spec().cwd))),
      );
      if (!kept) throw new LeaseLostError();
    }
    return this.#shipper.follow(run);
  }

  #endOf(error: unknown): RunEnd {
    if (error instanceof LostError) return { kind: 'lost', reason: error.message };
    if (error instanceof StartError) return { kind: 'not-started', reason: error.message };
    this.#options.logger.error({ err: error, jobId: this.#job.id }, 'a job could not be started');
    return { kind: 'not-started', reason: `it could not be started: ${String(error)}` };
  }

  /**
   * A run directory without a beginning is what remains when we die between taking a job and starting it: nothing ran,
   * so it is started now. On another machine that cannot be told for sure, and nothing is ever run twice.
   */
  async #startOrAdopt(): Promise<Run> {
    const { execution, lease } = this.#options;
    const job = this.#job;
    const known = await runDirectoryExists(this.#directory);
    // On a host the directory is but a mirror.
    if (job.status === 'running' && !known && !job.host) {
      const died = await execution.endStrays(job.type, job.id);
      throw new LostError(['its run directory is gone', ...died].join('; '));
    }
    if (known || job.status === 'running') {
      const run = await execution.adopt(job.type, this.#spec());
      if (run) return run;
      if (job.status === 'running') throw new StartError('it was ended before the command began');
      if (job.host)
        throw new StartError('the cockpit ended at the moment when it was starting: it did not run');
      // Renamed first: a wrapper that is late must find either all of the old directory or nothing of it, else it
      // could begin while its claim is being removed, and the command would run twice.
      const old = `${this.#directory}.given-up`;
      await rm(old, { recursive: true, force: true });
      await rename(this.#directory, old);
      await rm(old, { recursive: true, force: true });
    }
    await this.#bringFiles();
    if (this.#ending) throw new StartError('cancelled before it started');
    if (!lease.isHeld()) throw new LapsedError(cutOff);
    return execution.start(job.type, this.#spec());
  }

  /** A machine that is made of images of the server has them here before it starts. */
  async #bringFiles(): Promise<void> {
    const { machineFiles, lease } = this.#options;
    if (!machineFiles || this.#job.vm === null || this.#ending) return;
    try {
      await machineFiles.bring(this.#job, {
        signal: this.#before.signal,
        isHeld: () => lease.isHeld(),
        notice: (line) => {
          this.#note(line);
        },
      });
    } catch (error) {
      if (!lease.isHeld()) throw new LapsedError(cutOff);
      throw error;
    }
  }

  #spec(): RunSpec {
    const { environment } = this.#options;
    const job = this.#job;
    const colour = job.color ? { FORCE_COLOR: '1', CLICOLOR_FORCE: '1' } : {};
    return {
      jobId: job.id,
      command: job.command,
      cwd: job.cwd ?? (job.host ? null : this.#options.defaultDirectory),
      env: { ...(job.host ? {} : environment), ...colour, ...job.env, ...(job.secrets ?? {}) },
      cols: job.cols,
      rows: job.rows,
      host: job.host,
      vm: this.#options.machineFiles?.here(job) ?? job.vm,
      directory: this.#directory,
      notice: (line) => {
        this.#note(line);
      },
      ...(machineRequestOf(job.vm) !== null && { request: this.#link }),
    };
  }

  #startTimer(run: Run): void {
    if (this.#job.timeout === null) return;
    const startedAt = this.#job.startedAt ? new Date(this.#job.startedAt) : run.startedAt;
    const left = Math.max(startedAt.getTime() + this.#job.timeout * 1000 - Date.now(), 0);
    this.#timer = setTimeout(
      () => {
        if (left > maxTimerMs) this.#startTimer(run);
        else this.#beginEnding('timed_out');
      },
      Math.min(left, maxTimerMs),
    );
  }

  #beginEnding(why: 'cancelled' | 'timed_out'): void {
    if (this.#ending) return;
    this.#ending = why;
    this.#before.abort(new StartError(`${why} before it started`));
    this.#climb();
  }

  /** Sets the cancel ladder to the run; before there is one, the start does so when it gets there. */
  #climb(): void {
    this.#ladder ??= this.#run?.cancel(this.#options.cancelGraceMs) ?? null;
    this.#ladder?.catch((error: unknown) => {
      this.#options.logger.error({ err: error, jobId: this.#job.id }, 'the cancel ladder failed');
    });
  }

  async #report(ended: Ended): Promise<void> {
    const { api } = this.#options;
    const { end, sizes } = ended;
    const { verified, lines } = await this.#shipper.verify(ended);
    const ladder = (await this.#ladder) ?? [];
    const plain = this.#nameFullDisk(
      (await wasLapsed(this.#directory)) ? this.#lapsedOutcome(end) : this.#outcomeOf(end, ladder),
    );
    const outcome: RunOutcome = {
      ...plain,
      reason: plain.reason === null ? null : (this.#masked([plain.reason])[0] ?? null),
      lines: this.#masked([...lines, ...plain.lines]),
      verified,
    };
    let all = sizes;
    for (;;) {
      const result = await this.#insist('the end', () => api.finish(this.#ref, outcome, all));
      if (result.status === 'lease-lost') throw new LeaseLostError();
      if (result.status === 'accepted') break;
      const stored = await this.#shipper.shipRest(result.offsets, ended);
      // Where the spool was cut or is gone, the log has more than it.
      all = perStream((stream) => Math.max(sizes[stream], stored[stream]));
    }
    // Secrets stand in the spool as they were written: it goes at once, or at our next start if we die here.
    if (this.#mask) await rm(this.#directory, { recursive: true, force: true });
    else if (verified) await markVerified(this.#directory);
  }

  #masked(lines: string[]): string[] {
    const mask = this.#mask;
    return mask ? lines.map((line) => mask.text(line)) : lines;
  }

  #note(line: string): void {
    const { api, logger } = this.#options;
    this.#insist('a notice', () => api.note(this.#ref, this.#masked([line]))).catch((error: unknown) => {
      if (error instanceof StoppedError) return;
      logger.warn({ err: error, jobId: this.#job.id }, 'a notice was dropped');
    });
  }

  /** A command that could not write says so where it cannot: in the output that the full disk does not take. */
  #nameFullDisk(outcome: Unverified): Unverified {
    const { runsDirectory } = this.#options;
    const { status, reason } = outcome;
    if ((status !== 'failed' && status !== 'lost') || !isDiskFull(runsDirectory)) return outcome;
    const words = `no space left on the disk of ${runsDirectory}, where its output goes`;
    if (reason?.includes('no space left')) return outcome;
    return { ...outcome, reason: `${reason ?? status}: ${words}`, lines: [words, ...outcome.lines] };
  }

  /** It was ended from outside, because nobody could say any more whether it is still ours. */
  #lapsedOutcome(end: RunEnd): Unverified {
    const reason = `agent ${this.#options.name} could not reach the server for too long, so its run was ended`;
    const isDead = end.kind !== 'lost' || end.dead === true;
    return {
      ...{ status: 'lost', exitCode: null, signal: null, reason, dead: isDead },
      startedAt: end.kind === 'exited' ? end.startedAt : null,
      finishedAt: end.kind === 'exited' ? end.finishedAt : new Date(),
      lines: [`lost: ${reason}`],
    };
  }

  #outcomeOf(end: RunEnd, killWords: readonly string[]): Unverified {
    const base = { exitCode: null, signal: null, startedAt: null, finishedAt: new Date(), dead: false };
    switch (end.kind) {
      case 'not-started':
        return { ...base, status: this.#ending ?? 'failed', reason: end.reason, lines: [end.reason] };
      case 'lost':
        return {
          ...{ ...base, status: 'lost', reason: end.reason, dead: end.dead ?? false },
          lines: [...killWords, `lost: ${end.reason}`],
        };
      case 'failed': {
        const status = (killWords.length > 0 ? this.#ending : null) ?? 'failed';
        const reason = status === 'failed' ? end.reason : reasonOf(status, end, this.#job.timeout);
        const { startedAt, finishedAt } = end;
        const lines = [...killWords, ...endLines(end, status, reason)];
        return { ...base, status, reason, startedAt, finishedAt, lines };
      }
      case 'exited': {
        // A run that was over before the ladder found anything alive has ended by itself, whoever asked meanwhile.
        const ending = killWords.length > 0 ? this.#ending : null;
        const { exitCode, signal, startedAt, finishedAt } = end;
        const status = ending ?? (exitCode === 0 ? 'done' : 'failed');
        const reason = reasonOf(status, end, this.#job.timeout);
        return {
          status,
          exitCode,
          signal,
          reason,
          startedAt,
          finishedAt,
          dead: false,
          lines: [...killWords, ...endLines(end, status, reason)],
        };
      }
    }
  }
}
