import type { EventPage, JobEvent, JobId } from '@vmo/contract';
import { ackWindow } from './log-delivery.ts';

interface Tail {
  readers: number;
  /** Consecutive, up to the newest that was told. */
  events: JobEvent[];
  units: number;
}

/**
 * The newest events of each job that somebody follows, in memory and once for all its readers: fifty browsers that are
 * a little behind one flood must not read the same rows fifty times from the database. As much as the window of one
 * reader: whoever is further behind is told what it missed, or reads history.
 */
export class LiveTails {
  readonly #tails = new Map<JobId, Tail>();

  hold(jobId: JobId): void {
    const tail = this.#tails.get(jobId) ?? { readers: 0, events: [], units: 0 };
    tail.readers += 1;
    this.#tails.set(jobId, tail);
  }

  release(jobId: JobId): void {
    const tail = this.#tails.get(jobId);
    if (!tail) return;
    tail.readers -= 1;
    if (tail.readers === 0) this.#tails.delete(jobId);
  }

  /** Events were stored; consecutive, in order of seq. */
  appended(jobId: JobId, events: readonly JobEvent[]): void {
    const tail = this.#tails.get(jobId);
    const [first] = events;
    if (!tail || !first) return;
    const expected = (tail.events.at(-1)?.seq ?? first.seq - 1) + 1;
    // Facts of two appends may be told in another order than they were stored in.
    if (first.seq !== expected) Object.assign(tail, { events: [], units: 0 });
    tail.events.push(...events);
    for (const { chunk } of events) tail.units += chunk.length;
    let surplus = 0;
    while (tail.units > ackWindow) tail.units -= tail.events[surplus++]?.chunk.length ?? 0;
    if (surplus > 0) tail.events.splice(0, surplus);
  }

  /** What comes after `afterSeq`, at least one event and no more text than `maxUnits`; null when it is not here. */
  read(jobId: JobId, afterSeq: number, limit: number, maxUnits: number): EventPage | null {
    const events = this.#tails.get(jobId)?.events;
    const oldest = events?.[0];
    const newest = events?.at(-1);
    if (!events || !oldest || !newest || afterSeq + 1 < oldest.seq || afterSeq >= newest.seq) return null;
    const page: JobEvent[] = [];
    let units = 0;
    for (let at = afterSeq + 1 - oldest.seq; page.length < limit; at++) {
      const event = events[at];
      if (!event || (units > 0 && units + event.chunk.length > maxUnits)) break;
      units += event.chunk.length;
      page.push(event);
    }
    return { events: page, lastSeq: newest.seq };
  }
}
