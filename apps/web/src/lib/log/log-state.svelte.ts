import { isFinal, type Job, type JobEvent, type JobId, type LogStream } from '@vmo/contract';
import type { Client, JobsConnection, JobSubscription } from '@vmo/client';
import { LogRows } from './log-rows.ts';

/** Work per frame, in milliseconds: the rest of it belongs to the page. */
const frameBudget = 10;
/** The same where nobody looks: a hidden page gets few turns. */
const hiddenBudget = 40;
/** A log that is bigger (in bytes) opens with its last part; the rest is loaded when asked for. */
const wholeLogLimit = 64 * 1024 * 1024;
const tailBytes = 8 * 1024 * 1024;
/** The history scrolls by this often (in milliseconds) while it is being read in. */
const catchUpRefresh = 250;
const gapPageEvents = 100;

/**
 * connecting: nothing heard yet · loading: history is coming in · live: everything stored is here, more follows as
 * it is written · ended: everything is here, and no more will come.
 */
export type LogPhase = 'connecting' | 'loading' | 'live' | 'ended';

export interface LogOptions {
  job: Job;
  connection: JobsConnection;
  client: Client;
  /** A line (from 1) must be there: the log is read from its beginning, however long it is. */
  needsLine: boolean;
}

interface Batch {
  events: readonly JobEvent[];
  at: number;
  done: () => void;
}

/** The log of one job: follows it, keeps its rows, and says once per frame that something changed. */
export class LogState {
  readonly jobId: JobId;
  rows: LogRows;
  /** Grows whenever the rows changed. */
  version = $state(0);
  phase = $state<LogPhase>('connecting');
  /** The job's row as this log last heard of it. */
  job = $state.raw<Job | null>(null);
  /** Why the log cannot be shown. */
  error = $state.raw<unknown>(null);
  /** Why the missing events could not be loaded. */
  gapError = $state.raw<unknown>(null);
  loadingGap = $state(false);
  hidden = $state.raw<ReadonlySet<LogStream>>(new Set());
  /** Of the history, while it is loading: from 0 to 1. */
  progress = $state(0);

  readonly #connection: JobsConnection;
  readonly #client: Client;
  readonly #stop = new AbortController();
  #subscription: JobSubscription | null = null;
  #batches: Batch[] = [];
  #frame: (() => void) | null = null;
  #dirty = false;
  #refreshed = 0;
  #historyEnd = 0;
  readonly #firstSeq: number;

  constructor({ job, connection, client, needsLine }: LogOptions) {
    this.jobId = job.id;
    this.#connection = connection;
    this.#client = client;
    this.#firstSeq = needsLine ? 1 : firstSeqToShow(job);
    this.rows = new LogRows(this.#firstSeq);
  }

  /** Begins to follow; ends with {@link stop}. Also the way to try again after an error. */
  start(): void {
    this.error = null;
    this.#subscription?.close();
    this.#subscription = this.#connection.followJob({
      jobId: this.jobId,
      afterSeq: this.rows.nextSeq - 1,
      onEvents: (events) =>
        new Promise((done) => {
          this.#batches.push({ events, at: 0, done });
          this.#schedule();
        }),
      onSkipped: ({ toSeq }) => {
        this.rows.skip(toSeq);
        this.#changed();
      },
      onSubscribed: ({ job, lastSeq }) => {
        this.job = job;
        this.#historyEnd = Math.max(this.#historyEnd, lastSeq);
        if (this.phase === 'connecting') this.phase = 'loading';
        this.#noteProgress();
      },
      onStatus: (job) => (this.job = job),
      onDone: () => {
        this.phase = 'ended';
        this.#changed();
      },
      onError: (error) => (this.error = error),
    });
  }

  stop(): void {
    this.#stop.abort();
    this.#subscription?.close();
    this.#subscription = null;
    this.#frame?.();
    this.#frame = null;
    for (const { done } of this.#batches) done();
    this.#batches = [];
  }

  #schedule(): void {
    if (this.#frame || this.#stop.signal.aborted) return;
    const run = (): void => {
      this.#frame = null;
      this.#work();
    };
    // History is not shown as it comes, so it does not wait for frames; a hidden page has none.
    if (document.visibilityState === 'hidden' || this.phase === 'loading') {
      const timer = setTimeout(run);
      this.#frame = () => clearTimeout(timer);
      return;
    }
    // Frames stop when the page is hidden between the request and its turn; the timer takes over then.
    const frame = requestAnimationFrame(() => {
      clearTimeout(timer);
      run();
    });
    const timer = setTimeout(() => {
      cancelAnimationFrame(frame);
      run();
    }, 500);
    this.#frame = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }

  #work(): void {
    const until = performance.now() + (document.visibilityState === 'hidden' ? hiddenBudget : frameBudget);
    const pause = (): boolean => performance.now() >= until;
    while (this.#batches.length > 0 && !pause()) {
      const batch = this.#batches[0];
      if (!batch) break;
      while (batch.at < batch.events.length && !pause()) {
        const event = batch.events[batch.at++];
        if (event) this.rows.append(event);
        this.#dirty = true;
      }
      if (batch.at === batch.events.length) {
        this.#batches.shift();
        batch.done();
      }
    }
    if (this.#batches.length === 0 && !this.rows.merge(pause)) this.#schedule();
    this.#noteProgress();
    const catchingUp = this.phase === 'loading' || this.phase === 'connecting';
    if (this.#dirty && (!catchingUp || performance.now() - this.#refreshed > catchUpRefresh)) this.#refresh();
    if (this.#batches.length > 0) this.#schedule();
  }

  #noteProgress(): void {
    if (this.phase !== 'loading') return;
    const reached = this.rows.nextSeq - 1;
    const all = this.#historyEnd - this.#firstSeq + 1;
    this.progress = all <= 0 ? 1 : Math.min(1, (reached - this.#firstSeq + 1) / all);
    if (reached < this.#historyEnd) return;
    this.phase = this.job && isFinal(this.job.status) ? 'ended' : 'live';
    this.#dirty = true;
  }

  #changed(): void {
    this.#dirty = true;
    this.#schedule();
  }

  #refresh(): void {
    this.#dirty = false;
    this.#refreshed = performance.now();
    this.version++;
  }

  /** Shows or hides the lines of a stream. */
  toggleStream(stream: LogStream): void {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(stream)) hidden.add(stream);
    this.hidden = hidden;
    this.rows.setHidden(hidden);
    this.#refresh();
  }

  /** Fetches the first gap, page by page; what has come stays when it fails or is stopped. */
  async loadGap(): Promise<void> {
    if (this.loadingGap) return;
    this.loadingGap = true;
    this.gapError = null;
    const wanted = this.rows.gap?.toSeq ?? 0;
    try {
      for (let gap = this.rows.gap; gap && gap.fromSeq <= wanted; gap = this.rows.gap) {
        const { events } = await this.#client.call('listEvents', {
          params: { jobId: this.jobId },
          query: { afterSeq: gap.fromSeq - 1, limit: gapPageEvents },
          signal: this.#stop.signal,
        });
        if (events.length === 0) throw new Error('The server has no such events any more.');
        let until = performance.now() + frameBudget;
        for (const event of events) {
          this.rows.fill(event);
          if (performance.now() < until) continue;
          this.#changed();
          await new Promise((resolve) => setTimeout(resolve));
          until = performance.now() + frameBudget;
        }
        this.#changed();
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.gapError = error;
    } finally {
      this.loadingGap = false;
      this.#changed();
    }
  }
}

/** The event to begin with, so that about `tailBytes` are read of a log that is too long to be read at once. */
function firstSeqToShow(job: Job): number {
  if (job.logBytes <= wholeLogLimit || job.lastSeq < 2) return 1;
  const perEvent = job.logBytes / job.lastSeq;
  return Math.max(1, job.lastSeq - Math.ceil(tailBytes / perEvent) + 1);
}
