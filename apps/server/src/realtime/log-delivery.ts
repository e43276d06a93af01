import type { EventPage, JobDone, JobEvent, JobSkipped } from '@vmo/contract';

/**
 * Text that may be on its way to a browser that acknowledges, in UTF-16 units: several of the largest events, and little
 * enough that fifty browsers which fall asleep at once do not fill the memory.
 */
export const ackWindow = 512 * 1024;
/** What an event costs besides its text, so that floods of tiny ones are bounded as well. */
const eventOverhead = 256;
/** After a skip the newest events are sent all the same: they are what a person looks at. */
export const tailEvents = 8;
const readLimit = 200;
const retryMs = 1000;

export interface LogDeliveryOptions {
  read(afterSeq: number, limit: number, maxBytes: number): Promise<EventPage>;
  /** Bytes that the transport takes now. When it takes none, the owner calls `wake` once it does. */
  room(): number;
  send(event: JobEvent): void;
  skip(range: Omit<JobSkipped, 'jobId'>): void;
  done(done: JobDone): void;
  onError(error: unknown): void;
}

/**
 * Delivers the log of one job to one socket: history first, then live, no gap, no repeat, `done` last.
 *
 * Nothing is queued here. What cannot be sent at once is read from the database when it can, which works because
 * events are told only after they are stored. A reader that acknowledges gets at most `ackWindow` ahead of itself;
 * when the live end has run away from it by more than that, it is told what it missed instead. A reader that
 * never acknowledges gets everything, as fast as its transport takes it: a plain client would not know of a gap.
 */
export class LogDelivery {
  readonly #options: LogDeliveryOptions;
  #state: 'new' | 'idle' | 'pumping' | 'closed' = 'new';
  /** The last event sent or skipped. */
  #cursor = 0;
  /** The last event known to be stored. */
  #newest = 0;
  /** Where the log ended when delivery began: what comes before is history and never skipped. */
  #historyEnd = 0;
  /** Live text that is stored and was not sent. */
  #missed = 0;
  #done: JobDone | null = null;
  #acknowledges = false;
  /** Sent and not acknowledged, oldest first; bounded, since every event has a cost. */
  readonly #inFlight: { seq: number; cost: number }[] = [];
  #inFlightCost = 0;
  #retry: NodeJS.Timeout | null = null;

  constructor(options: LogDeliveryOptions) {
    this.#options = options;
  }

  /**
   * Begins to deliver what comes after `afterSeq`; until then facts are only noted, so that none is missed between
   * the look at the job, which tells `lastSeq`, and this call.
   */
  start(afterSeq: number, lastSeq: number): void {
    if (this.#state !== 'new') return;
    this.#state = 'idle';
    this.#cursor = afterSeq;
    this.#historyEnd = lastSeq;
    this.#newest = Math.max(this.#newest, lastSeq);
    this.wake();
  }

  /** Events were stored; consecutive, in order of seq. */
  appended(events: readonly JobEvent[]): void {
    const last = events.at(-1);
    if (!last || last.seq <= this.#newest) return;
    this.#newest = last.seq;
    let sending = this.#state === 'idle';
    for (const event of events) {
      if (event.seq <= this.#cursor) continue;
      sending &&= event.seq === this.#cursor + 1 && this.#trySend(event);
      if (!sending) this.#missed += event.chunk.length;
    }
    this.wake();
  }

  /** The job has ended, and `lastSeq` is its last event. */
  finished(done: JobDone, lastSeq: number): void {
    this.#newest = Math.max(this.#newest, lastSeq);
    this.#done ??= done;
    this.wake();
  }

  /** The reader has processed everything up to `seq`. */
  acknowledged(seq: number): void {
    this.#acknowledges = true;
    while ((this.#inFlight[0]?.seq ?? Infinity) <= seq) this.#forgetOldest();
    this.wake();
  }

  /** Something may have become possible: goes on as far as it can. */
  wake(): void {
    if (this.#state === 'idle' && this.#retry === null) void this.#pump();
  }

  close(): void {
    this.#state = 'closed';
    if (this.#retry) clearTimeout(this.#retry);
  }

  #forgetOldest(): void {
    this.#inFlightCost -= this.#inFlight.shift()?.cost ?? 0;
  }

  /** What may be sent now, in bytes. */
  #room(): number {
    const window = this.#acknowledges ? ackWindow - this.#inFlightCost : Infinity;
    return Math.max(Math.min(this.#options.room(), window), 0);
  }

  #trySend(event: JobEvent): boolean {
    if (this.#room() === 0) return false;
    const cost = event.chunk.length + eventOverhead;
    this.#inFlight.push({ seq: event.seq, cost });
    this.#inFlightCost += cost;
    // Whoever never acknowledges must not make this grow; the newest part is what a first acknowledgement is about.
    while (!this.#acknowledges && this.#inFlightCost > ackWindow) this.#forgetOldest();
    this.#cursor = event.seq;
    this.#options.send(event);
    return true;
  }

  #skipWhenBehind(): void {
    const toSeq = this.#newest - tailEvents;
    const behind = this.#acknowledges && this.#cursor >= this.#historyEnd && this.#missed > ackWindow;
    if (!behind || toSeq <= this.#cursor) return;
    this.#options.skip({ fromSeq: this.#cursor + 1, toSeq });
    this.#cursor = toSeq;
    this.#missed = 0;
  }

  /** Retention may have removed the beginning, and the limit of consoles a middle: it will never come. */
  #skipExpired(next: JobEvent): void {
    if (next.seq <= this.#cursor + 1) return;
    this.#options.skip({ fromSeq: this.#cursor + 1, toSeq: next.seq - 1, expired: true });
    this.#cursor = next.seq - 1;
  }

  /** Reads and sends until the live end is reached or the reader takes no more. */
  async #pump(): Promise<void> {
    this.#state = 'pumping';
    try {
      while (this.#isPumping() && this.#cursor < this.#newest && this.#room() > 0) {
        this.#skipWhenBehind();
        const { events, lastSeq } = await this.#options.read(this.#cursor, readLimit, this.#room());
        if (!this.#isPumping()) return;
        this.#newest = Math.max(this.#newest, lastSeq, events.at(-1)?.seq ?? 0);
        if (events.length === 0) this.#cursor = this.#newest; // expired: it will never come
        for (const event of events) {
          if (this.#room() === 0) break;
          this.#skipExpired(event);
          this.#trySend(event);
          if (event.seq > this.#historyEnd) this.#missed = Math.max(0, this.#missed - event.chunk.length);
        }
      }
    } catch (error) {
      this.#options.onError(error);
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.wake();
      }, retryMs);
    }
    if (!this.#isPumping()) return;
    this.#state = 'idle';
    if (this.#cursor < this.#newest) return;
    this.#missed = 0;
    if (this.#done) {
      this.close();
      this.#options.done(this.#done);
    }
  }

  // A method, because `close` may be called while a read is awaited, which the compiler's narrowing does not see.
  #isPumping(): boolean {
    return this.#state === 'pumping';
  }
}
