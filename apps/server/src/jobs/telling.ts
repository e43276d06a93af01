import type { Kysely } from 'kysely';
import { JobId, type Job, type JobEvent } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { FleetMember } from '../agents/index.ts';
import type { Bus } from '../kernel/bus.ts';
import { createPlaces } from './places.ts';
import { toJob, type JobRow } from './repository.ts';
import { whyWaiting } from './waiting.ts';

export interface TellingDeps {
  db: Kysely<Database>;
  bus: Bus;
  fleet(): Promise<readonly FleetMember[]>;
}

/** What one transaction did to one job, to be told after it has committed. */
export interface Outcome {
  row: JobRow;
  events: JobEvent[];
}

/** What others hear of jobs. */
export type Telling = ReturnType<typeof createTelling>;

export function createTelling({ db, bus, fleet: whoIsThere }: TellingDeps) {
  const places = createPlaces(db);

  function tellEvents(jobId: JobId, events: readonly JobEvent[]): void {
    if (events.length > 0) bus.emit('job:appended', { jobId, events });
  }

  /** Tells what has been committed. Events first: whoever hears of a final state has been sent the whole log. */
  async function tellAll(outcomes: readonly Outcome[]): Promise<Job[]> {
    for (const { row, events } of outcomes) {
      const jobId = JobId.parse(row.id);
      tellEvents(jobId, events);
      // One that runs has left the queue before, and each of its steps is told.
      if (row.status !== 'running') places.changed();
      // Before anything is counted for its words: most jobs wait for nothing but this.
      if (row.status === 'pending') bus.emit('job:pending', { jobId });
    }
    const told = await explain(outcomes.map(({ row }) => row));
    for (const job of told) bus.emit('job:changed', job);
    return told;
  }

  async function tell(outcome: Outcome): Promise<Job> {
    const [job] = await tellAll([outcome]);
    return job ?? toJob(outcome.row);
  }

  /** Says of pending jobs why they wait, and where in the queue. Looked at when asked, so that it is never out of date. */
  async function explain(rows: readonly JobRow[]): Promise<Job[]> {
    const waiting = rows.filter(({ status }) => status === 'pending').map(({ id }) => id);
    if (waiting.length === 0) return rows.map(toJob);
    const [fleet, placeOf] = await Promise.all([whoIsThere(), places.of(waiting)]);
    return rows.map((row) => {
      const job = toJob(row);
      if (job.status !== 'pending') return job;
      return { ...job, reason: job.reason ?? whyWaiting(row, fleet), place: placeOf.get(row.id) ?? null };
    });
  }

  async function explainOne(row: JobRow): Promise<Job> {
    const [job] = await explain([row]);
    return job ?? toJob(row);
  }

  return { tell, tellAll, tellEvents, explain, explainOne };
}
