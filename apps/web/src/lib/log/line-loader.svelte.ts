import { defaultLineBytes, type JobId, type LinePage, type LogStream } from '@vmo/contract';
import type { Client } from '@vmo/client';
import { blockLines, type LineStore } from './line-store.ts';

/** Requests under way at once. */
const mostRequests = 3;
/** Between two looks at what is in sight while somebody scrolls through, in milliseconds. */
const pause = 30;
/** A line that is just being written may be missing in the answer: it is asked for again after this. */
const againAfter = 400;

export interface LoaderOptions {
  client: Client;
  jobId: JobId;
  store: LineStore;
  streams: readonly LogStream[] | null;
  onPage: (page: LinePage) => void;
}

/** Fetches the lines that somebody looks at and that are not here: whole blocks, a few at once, the latest wish first. */
export class LineLoader {
  /** Why blocks could not be loaded. */
  errors = $state.raw<ReadonlyMap<number, unknown>>(new Map());
  readonly #options: LoaderOptions;
  readonly #underWay = new Map<number, AbortController>();
  readonly #asked = new Map<number, number>();
  #wanted: readonly number[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueAt = 0;
  #lastStart = 0;
  #stopped = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /**
   * Somebody looks at these positions, the most wanted first.
   *
   * @param after Milliseconds to wait for more to come by itself; every call puts it off.
   */
  need(positions: readonly number[], after = 0): void {
    if (this.#stopped) return;
    this.#wanted = positions;
    const near = new Set(positions.map((position) => Math.floor((position - 1) / blockLines)));
    for (const [index, request] of this.#underWay) if (!near.has(index)) request.abort();
    if (this.#options.store.missing(positions).length > 0)
      this.#startAt(performance.now() + after, after > 0);
  }

  #startAt(time: number, putOff: boolean): void {
    const due = Math.max(time, this.#lastStart + pause);
    if (this.#timer !== undefined && !putOff && this.#dueAt <= due) return;
    clearTimeout(this.#timer);
    this.#dueAt = due;
    const wait = due - performance.now();
    if (wait <= 0) this.#start();
    else this.#timer = setTimeout(() => this.#start(), wait);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { store } = this.#options;
    if (this.#stopped) return;
    const now = performance.now();
    this.#lastStart = now;
    let soonest = Infinity;
    for (const index of store.missing(this.#wanted)) {
      if (this.#underWay.size >= mostRequests) return;
      if (this.#underWay.has(index) || this.errors.has(index)) continue;
      const again = (this.#asked.get(index) ?? -Infinity) + againAfter;
      if (again > now) soonest = Math.min(soonest, again);
      else void this.#load(index);
    }
    if (soonest < Infinity) this.#startAt(soonest, false);
  }

  /** Loads the block of a position although nobody scrolls there, and again when it failed. */
  load(position: number): void {
    const index = Math.floor((position - 1) / blockLines);
    const errors = new Map(this.errors);
    if (errors.delete(index)) this.errors = errors;
    if (!this.#underWay.has(index)) void this.#load(index);
  }

  errorAt(position: number): unknown {
    return this.errors.get(Math.floor((position - 1) / blockLines)) ?? null;
  }

  /** What failed is tried again when it is in sight: the server is back. */
  forgive(): void {
    if (this.errors.size > 0) this.errors = new Map();
  }

  async #load(index: number): Promise<void> {
    const { client, jobId, store, streams, onPage } = this.#options;
    const last = (index + 1) * blockLines;
    // An answer may end early, where lines are long: the next one goes on there.
    let from = index * blockLines + 1;
    while (from < last && (store.at(from) || store.isAbsent(from))) from++;
    const request = new AbortController();
    this.#underWay.set(index, request);
    try {
      const page = await client.call('listLines', {
        params: { jobId },
        query: {
          from,
          limit: last - from + 1,
          lineBytes: defaultLineBytes,
          ...(streams ? { streams: streams.join(',') } : {}),
        },
        signal: request.signal,
      });
      if (this.#stopped) return;
      this.#asked.set(index, performance.now());
      // What the answer leaves out before its first line is kept no more.
      store.noteAbsent(from, page.lines.length === 0 ? last : Math.min(page.from - 1, last));
      onPage(page);
    } catch (error) {
      if (!request.signal.aborted && !this.#stopped) this.errors = new Map(this.errors).set(index, error);
    } finally {
      this.#underWay.delete(index);
      if (!this.#stopped) this.#startAt(performance.now(), false);
    }
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const request of this.#underWay.values()) request.abort();
  }
}
