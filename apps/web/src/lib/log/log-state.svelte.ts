import { isFinal, LogStream, type Job, type JobEvent, type JobId, type LinePage } from '@vmo/contract';
import type { Client, JobsConnection, JobSubscription } from '@vmo/client';
import { LineLoader } from './line-loader.svelte.ts';
import { LineStore } from './line-store.ts';
import { LiveTail } from './live-tail.ts';

/** Characters that are made into lines per frame: a flood brings more, of which only the newest are seen. */
const mostPerFrame = 64 * 1024;
/** What comes this long after the last turn (in milliseconds) is shown at once: nothing is gained by a wait for the frame. */
const frameMs = 16;
/** In a flood, events are taken this often (in milliseconds): nobody reads faster, and the server leaves out the rest. */
const floodPause = 80;
/** Lines that a log opens with: some screens full. */
const openingLines = 300;
/** Where the streams are filtered, a flood is taken up anew at most this often (in milliseconds). */
const reopenAfter = 500;

/** opening: nothing is here yet · live: more follows as it is written · ended: no more will come. */
export type LogPhase = 'opening' | 'live' | 'ended';

/** Where to open: around a line, or at the end. */
export type Place = { number: number } | 'end';

export interface LogOptions {
  job: Job;
  connection: JobsConnection;
  client: Client;
}

/** A log that has just begun comes whole with the subscription: its last lines need not be asked for first. */
const newEvents = 16;
const newBytes = 16 * 1024;
/** The page of a log in which nothing stands: what comes is heard of from the beginning. */
const nothingYet: LinePage = { from: 1, lines: [], count: 0, lineCount: 0, lastSeq: 0 };

interface Batch {
  events: readonly JobEvent[];
  done: () => void;
}

/** The log of one job: opens it somewhere, follows its end, and says once per frame that something changed. */
export class LogState {
  readonly jobId: JobId;
  store = new LineStore();
  /** Of the lines of this store; null while the log is opened for the first time. */
  loader = $state.raw<LineLoader | null>(null);
  /** Grows whenever lines changed. */
  version = $state(0);
  /** Changes when positions stop meaning what they meant. */
  generation = 0;
  /** Pages that were asked for and came. */
  pages = 0;
  /** The log is being opened, for the first time or anew. */
  isOpening = $state(false);
  phase = $state<LogPhase>('opening');
  /** The job's row as this log last heard of it. */
  job = $state.raw<Job | null>(null);
  /** Why the log cannot be shown. */
  error = $state.raw<unknown>(null);
  hidden = $state.raw<ReadonlySet<LogStream>>(new Set());

  readonly #connection: JobsConnection;
  readonly #client: Client;
  /** Nothing, or next to nothing, had been written when this log was opened first. */
  readonly #isNew: boolean;
  #tail: LiveTail | null = null;
  #opening: AbortController | null = null;
  #reopen: ReturnType<typeof setTimeout> | undefined;
  #subscription: JobSubscription | null = null;
  #batches: Batch[] = [];
  #frame: (() => void) | null = null;
  /** No events are taken before. */
  #calmAt = 0;
  #tookAt = 0;
  #place: Place = 'end';
  /** Where to open again after events were left out: where the person is then. */
  #placeNow: () => Place = () => 'end';
  readonly #stopListening: () => void;

  constructor({ job, connection, client }: LogOptions) {
    this.jobId = job.id;
    this.#isNew = !isFinal(job.status) && job.lastSeq <= newEvents && job.logBytes <= newBytes;
    this.#connection = connection;
    this.#client = client;
    this.#stopListening = connection.onState(({ phase }) => {
      if (phase !== 'live') return;
      this.loader?.forgive();
      if (this.error !== null) void this.open(this.#place);
    });
  }

  /** The streams that are shown; null: all of them. */
  get streams(): readonly LogStream[] | null {
    return this.hidden.size === 0 ? null : LogStream.options.filter((stream) => !this.hidden.has(stream));
  }

  set placeNow(placeNow: () => Place) {
    this.#placeNow = placeNow;
  }

  /** Reads the lines there, replaces all that were here, and follows from then on. Also the way to try again. */
  async open(place: Place): Promise<void> {
    clearTimeout(this.#reopen);
    this.#reopen = undefined;
    this.#opening?.abort();
    const opening = (this.#opening = new AbortController());
    this.#place = place;
    this.error = null;
    const { streams } = this;
    if (place === 'end' && this.#isNew && this.phase === 'opening') {
      this.#begin(nothingYet, streams);
      return;
    }
    this.isOpening = true;
    try {
      const page = await this.#firstPage(place, streams, opening.signal);
      if (opening.signal.aborted) return;
      this.isOpening = false;
      this.#begin(page, streams);
    } catch (error) {
      if (opening.signal.aborted) return;
      this.isOpening = false;
      this.error = error;
    }
  }

  async #firstPage(
    place: Place,
    streams: readonly LogStream[] | null,
    signal: AbortSignal,
  ): Promise<LinePage> {
    const ask = (query: { last: number } | { number: number; limit: number }): Promise<LinePage> =>
      this.#client.call('listLines', {
        params: { jobId: this.jobId },
        query: { ...query, ...(streams ? { streams: streams.join(',') } : {}) },
        signal,
      });
    if (place === 'end') return ask({ last: openingLines });
    const page = await ask({ number: Math.max(1, place.number - openingLines / 2), limit: openingLines });
    return page.lines.length > 0 ? page : ask({ last: openingLines });
  }

  #begin(page: LinePage, streams: readonly LogStream[] | null): void {
    this.#subscription?.close();
    this.#endBatches();
    this.loader?.stop();
    const store = new LineStore(streams && new Set(streams));
    const tail = new LiveTail(store, page);
    this.store = store;
    this.#tail = tail;
    this.loader = new LineLoader({
      client: this.#client,
      jobId: this.jobId,
      store,
      streams,
      onPage: (loaded) => {
        tail.put(loaded);
        this.pages++;
        this.#changed();
      },
    });
    this.generation++;
    if (this.phase === 'opening') this.phase = 'live';
    this.version++;
    this.#follow(page.lastSeq);
  }

  #follow(afterSeq: number): void {
    this.#subscription = this.#connection.followJob({
      jobId: this.jobId,
      afterSeq,
      onEvents: (events) =>
        new Promise((done) => {
          this.#batches.push({ events, done });
          this.#changed();
        }),
      onSkipped: ({ toSeq }) => this.#leaveOut(toSeq),
      onSubscribed: ({ job }) => (this.job = job),
      onStatus: (job) => (this.job = job),
      onDone: () => {
        this.phase = 'ended';
        this.#changed();
      },
      onError: (error) => (this.error = error),
    });
  }

  stop(): void {
    this.#stopListening();
    clearTimeout(this.#reopen);
    this.#opening?.abort();
    this.loader?.stop();
    this.#subscription?.close();
    this.#subscription = null;
    this.#frame?.();
    this.#frame = null;
    this.#endBatches();
  }

  #endBatches(): void {
    for (const { done } of this.#batches) done();
    this.#batches = [];
  }

  #changed(): void {
    if (this.#frame) return;
    const run = (): void => {
      this.#frame = null;
      this.#take();
    };
    const now = performance.now();
    const isHidden = document.visibilityState === 'hidden';
    if (!isHidden && now >= this.#calmAt && now - this.#tookAt >= frameMs) {
      run();
      return;
    }
    // A hidden page has no frames.
    const wait = isHidden ? 100 : this.#calmAt - now;
    if (wait > 0) {
      const timer = setTimeout(run, wait);
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

  /** Takes the newest events; of those before them, only the numbers of their lines matter until somebody looks. */
  #take(): void {
    this.#tookAt = performance.now();
    const batches = this.#batches;
    this.#batches = [];
    const events = batches.flatMap((batch) => batch.events);
    let first = events.length;
    for (let characters = 0; first > 0; first--) {
      characters += events[first - 1]?.chunk.length ?? 0;
      if (characters > mostPerFrame && first < events.length) break;
    }
    const leftOut = events[first - 1];
    if (leftOut) {
      this.#leaveOut(leftOut.seq);
      this.#calmAt = performance.now() + floodPause;
    }
    for (const event of events.slice(first)) this.#tail?.append(event);
    for (const { done } of batches) done();
    this.version++;
  }

  #leaveOut(toSeq: number): void {
    this.#tail?.leaveOut(toSeq);
    this.#changed();
    // Events that were not seen had lines of which nobody knows how many are shown.
    if (this.store.streams !== null)
      this.#reopen ??= setTimeout(() => void this.open(this.#placeNow()), reopenAfter);
  }

  /** Shows or hides the lines of a stream, and opens the log anew at `place`. */
  toggleStream(stream: LogStream, place: Place): void {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(stream)) hidden.add(stream);
    this.hidden = hidden;
    void this.open(place);
  }

  showAllStreams(place: Place): void {
    this.hidden = new Set();
    void this.open(place);
  }

  /** More of a line that is cut. @throws as the client does. */
  async loadMore(position: number, number: number, lineBytes: number): Promise<void> {
    const { store } = this;
    const page = await this.#client.call('listLines', {
      params: { jobId: this.jobId },
      query: { number, limit: 1, lineBytes },
    });
    const line = page.lines[0];
    if (store !== this.store || line?.number !== number) return;
    store.replace(position, line, page.lastSeq);
    this.pages++;
    this.#changed();
  }
}
