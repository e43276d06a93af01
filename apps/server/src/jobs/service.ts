import type { Kysely, Transaction } from 'kysely';
import {
  canTransition,
  CodedError,
  isFinal,
  type Job,
  type JobFilter,
  type JobId,
  type JobPage,
  type JobStatus,
  type JobSubmission,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { FleetMember } from '../agents/index.ts';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { packLines, type Log } from './log.ts';
import { forgetProgress } from './plans-repository.ts';
import {
  deleteJob,
  findJob,
  findJobs,
  listJobs,
  lockJob,
  toJob,
  updateJob,
  type JobPatch,
  type JobRow,
} from './repository.ts';
import type { Secrets } from './secrets.ts';
import { createSubmissions, type Place } from './submissions.ts';
import { createTelling, type Outcome } from './telling.ts';

export interface JobServiceDeps {
  db: Kysely<Database>;
  bus: Bus;
  log: Log;
  secrets: Secrets;
  fleet(): Promise<readonly FleetMember[]>;
  /** @throws CodedError for an unknown workspace or host, or a combination that makes no sense */
  resolvePlace(submission: JobSubmission): Promise<Place>;
}

export type JobService = ReturnType<typeof createJobService>;

export function createJobService(deps: JobServiceDeps) {
  const { db, bus, log } = deps;
  const telling = createTelling(deps);
  const { tell, tellEvents, explain, explainOne } = telling;
  const submissions = createSubmissions({ ...deps, telling, find });

  /** The words, the row as the log leaves it, and its new state, in the caller's transaction. */
  async function advance(
    trx: Transaction<Database>,
    row: JobRow,
    change: { status?: JobStatus; patch?: JobPatch; lines: readonly string[] },
  ): Promise<Outcome> {
    const { status } = change;
    if (status && !canTransition(toJob(row).status, status)) {
      throw new Error(`job ${row.id}: ${row.status} → ${status} is not a transition`);
    }
    const events = await log.append(trx, row, packLines(change.lines, new Date()));
    const forgotten = status && isFinal(status) ? { secrets: null } : {};
    const patch = { ...change.patch, ...forgotten, ...(status && { status }) };
    return { row: await updateJob(trx, row.id, patch), events };
  }

  /**
   * Another attempt of a job whose run is lost and dead: back to the queue, with its log, which the next attempt goes on
   * with. The fence is raised when it is taken; until then it has no agent, so nobody can write.
   */
  async function beginAgain(
    trx: Transaction<Database>,
    row: JobRow,
    lines: readonly string[],
  ): Promise<Outcome> {
    await forgetProgress(trx, row.id);
    const next = row.attempt + 1;
    const words = `attempt ${String(next)} of ${String(row.attempt + row.retries)} follows`;
    return advance(trx, row, {
      status: 'pending',
      patch: {
        ...{ agent: null, started_at: null, reason: null },
        ...{ attempt: next, retries: row.retries - 1 },
        ...{ stdout_base: row.stdout_bytes, stderr_base: row.stderr_bytes },
        ...{ boot_base: row.boot_bytes, command_base: row.command_bytes },
        // What the lost one left in the middle of a line has no rest.
        ...{ stdout_line: null, stderr_line: null, boot_line: null, command_line: null },
        head_seq: null,
      },
      lines: [...lines, words],
    });
  }

  async function find(jobId: string): Promise<JobRow> {
    const row = await findJob(db, jobId);
    if (!row) throw noSuchJob(jobId);
    return row;
  }

  return {
    find,
    tell,
    tellEvents,
    advance,
    beginAgain,
    ...submissions,

    /**
     * A job that waits is held back, or let go on.
     * @throws CodedError JOB_NOT_FOUND; REQUEST_WRONG_STATE when it is in a state that does not allow it
     */
    async setHold(actor: Actor, jobId: JobId, isHeld: boolean): Promise<Job> {
      await log.ensurePartitions([{ ts: new Date() }]);
      const status = isHeld ? 'hold' : 'pending';
      const outcome = await db.transaction().execute(async (trx): Promise<Outcome> => {
        const row = await lockJob(trx, jobId);
        if (!row) throw noSuchJob(jobId);
        const from = toJob(row).status;
        if (from === status) return { row, events: [] };
        // An agent that never began a job gives it back: that is not ours to ask for.
        if (from !== 'pending' && from !== 'hold') {
          throw new CodedError(
            'REQUEST_WRONG_STATE',
            `it is ${from}: only what waits can be held or released`,
          );
        }
        await audit.record(trx, actor, isHeld ? 'job.hold' : 'job.release', row.id);
        const patch = { reason: isHeld ? `held by ${actor.name}` : null };
        const lines = [`${isHeld ? 'held' : 'released'} by ${actor.name}`];
        return advance(trx, row, { status, patch, lines });
      });
      return tell(outcome);
    },

    /** With its log. @throws CodedError JOB_NOT_FOUND; REQUEST_WRONG_STATE while it has not ended */
    async remove(actor: Actor, jobId: JobId): Promise<void> {
      await db.transaction().execute(async (trx) => {
        const row = await lockJob(trx, jobId);
        if (!row) throw noSuchJob(jobId);
        const { status } = toJob(row);
        if (!isFinal(status)) {
          throw new CodedError('REQUEST_WRONG_STATE', `it is ${status}: only what has ended can be deleted`);
        }
        await deleteJob(trx, jobId);
        await audit.record(trx, actor, 'job.delete', jobId, { status });
      });
    },

    /** Adds the cockpit's own words to a job that has not ended; to one that has, nothing can be added. */
    async note(jobId: JobId, lines: readonly string[]): Promise<void> {
      const packed = packLines(lines, new Date());
      await log.ensurePartitions(packed);
      const events = await db.transaction().execute(async (trx) => {
        const row = await lockJob(trx, jobId);
        return row && !isFinal(toJob(row).status) ? log.append(trx, row, packed) : [];
      });
      tellEvents(jobId, events);
    },

    async get(jobId: JobId): Promise<Job> {
      return explainOne(await find(jobId));
    },

    async byIds(ids: readonly string[]): Promise<Job[]> {
      const rows = new Map((await findJobs(db, ids)).map((row) => [row.id, row]));
      return explain(ids.flatMap((id) => rows.get(id) ?? []));
    },

    async list(filter: JobFilter): Promise<JobPage> {
      const rows = await listJobs(db, filter);
      const jobs = await explain(rows.slice(0, filter.limit));
      return { jobs, nextBefore: rows.length > filter.limit ? (jobs.at(-1)?.id ?? null) : null };
    },

    /**
     * A waiting job is cancelled at once; one that an agent has is ended by the agent. Asking again answers the same.
     * @throws CodedError JOB_NOT_FOUND; JOB_ALREADY_FINISHED when it ended before anybody asked
     */
    async cancel(actor: Actor, jobId: JobId): Promise<Job> {
      await log.ensurePartitions([{ ts: new Date() }]);
      const outcome = await db.transaction().execute(async (trx): Promise<Outcome & { asked: boolean }> => {
        const row = await lockJob(trx, jobId);
        if (!row) throw noSuchJob(jobId);
        if (row.cancel_requested_at) return { row, events: [], asked: false };
        const { status } = toJob(row);
        if (isFinal(status)) {
          throw new CodedError(
            'JOB_ALREADY_FINISHED',
            `the job has already ended as ${status}: nothing is left to cancel`,
          );
        }
        await audit.record(trx, actor, 'job.cancel', row.id, { status });
        const patch = { cancel_requested_at: new Date(), cancel_requested_by: actor.name };
        const line = `cancelled by ${actor.name}`;
        const waiting = status === 'pending' || status === 'hold';
        const change = waiting
          ? {
              status: 'cancelled' as const,
              patch: { ...patch, finished_at: new Date(), reason: `${line} before it started` },
              lines: [`${line} before it started`],
            }
          : { patch, lines: [`cancel requested by ${actor.name}`] };
        return { ...(await advance(trx, row, change)), asked: true };
      });
      if (!outcome.asked) return explainOne(outcome.row);
      const job = await tell(outcome);
      if (!isFinal(job.status)) bus.emit('job:cancel-requested', { jobId: job.id });
      return job;
    },
  };
}

function noSuchJob(jobId: string): CodedError {
  return new CodedError('JOB_NOT_FOUND', `there is no job ${jobId}`);
}
