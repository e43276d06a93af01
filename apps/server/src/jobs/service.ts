import type { Kysely, Transaction } from 'kysely';
import { isForeignKeyViolation, type Database } from '@vmo/db';
import {
  canTransition,
  CodedError,
  isFinal,
  JobId,
  type Job,
  type JobEvent,
  type JobFilter,
  type JobPage,
  type JobStatus,
  type JobSubmission,
  type MachineSpec,
  type RunPlan,
} from '@vmo/contract';
import type { FleetMember } from '../agents/index.ts';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { newId } from '../kernel/ids.ts';
import { packLines, type Log } from './log.ts';
import { agentOf, type Placement, type Takers } from './queue.ts';
import { createPlaces } from './places.ts';
import type { Secrets } from './secrets.ts';
import { forgetProgress, insertPlans } from './plans-repository.ts';
import { whyWaiting } from './waiting.ts';
import {
  deleteJob,
  findJob,
  findJobs,
  findJobsByKey,
  insertJobs,
  listJobs,
  lockJob,
  toJob,
  updateJob,
  type JobPatch,
  type JobRow,
  type NewJob,
} from './repository.ts';

/** Where and on which host a submission runs, as the workspaces and hosts domains say. */
export interface Place {
  type: 'stream' | 'terminal' | 'ssh';
  workspaceId: string | null;
  hostId: string | null;
  cwd: string | null;
  takers: Takers;
}

export interface JobServiceDeps {
  db: Kysely<Database>;
  bus: Bus;
  log: Log;
  secrets: Secrets;
  fleet(): Promise<readonly FleetMember[]>;
  /** @throws CodedError for an unknown workspace or host, or a combination that makes no sense */
  resolvePlace(submission: JobSubmission): Promise<Place>;
}

/** A machine that is to run. */
export interface MachineRun {
  id: JobId;
  /** null: it is thrown away at the end, and is called as its job. */
  vmId: string | null;
  spec: MachineSpec;
  /** As it stands in the history, for example `vm start web1`. */
  command: string;
  /** What is done in it. */
  request?: {
    plan: RunPlan;
    timeout: number;
    priority: number;
    retries: number;
    idempotencyKey: string | null;
    isHeld: boolean;
  };
}

/** What one transaction did to one job, to be told after it has committed. */
interface Outcome {
  row: JobRow;
  events: JobEvent[];
}

interface Submitted {
  job: Job;
  /** false: its idempotency key named an earlier job, which this is. */
  created: boolean;
}

export type JobService = ReturnType<typeof createJobService>;

export function createJobService(deps: JobServiceDeps) {
  const { db, bus, log, secrets } = deps;
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
    const [fleet, placeOf] = await Promise.all([deps.fleet(), places.of(waiting)]);
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

  /** Of keys that were used before. */
  async function findByKey(actor: Actor, keys: readonly string[]): Promise<(key: string | null) => Job> {
    const rows = await findJobsByKey(db, actor.name, keys);
    const jobs = await explain(rows);
    const known = new Map(rows.map(({ idempotency_key: key }, index) => [key, jobs[index]]));
    return (key) => {
      const job = key === null ? undefined : known.get(key);
      if (!job) throw new Error('a job was neither created nor found by its idempotency key');
      return job;
    };
  }

  async function submit(actor: Actor, submission: JobSubmission, rerunOf?: string): Promise<Submitted> {
    const { takers, ...where } = await deps.resolvePlace(submission);
    const key = submission.idempotencyKey ?? null;
    const secretNames = Object.keys(submission.secrets ?? {});
    if (secretNames.length > 0 && where.type === 'terminal') {
      throw new CodedError(
        'INVALID_INPUT',
        'a terminal takes no secret variables: what it shows cannot be masked. Run a command instead',
        { issues: [{ path: 'secrets', message: 'not for terminals' }] },
      );
    }
    const insert = db.transaction().execute(async (trx) => {
      const job: NewJob = {
        id: newId(),
        command: submission.command,
        ...where,
        placement: { takers, place: 'jobs' },
        priority: submission.priority ?? 0,
        retries: submission.retry ?? 0,
        env: submission.env ?? {},
        secrets: secretNames.length > 0 ? secrets.seal(submission.secrets ?? {}) : null,
        secretNames,
        color: submission.color ?? true,
        timeout: submission.timeout === 0 ? null : (submission.timeout ?? null), // 0 means none
        cols: submission.cols ?? 80,
        rows: submission.rows ?? 24,
        idempotencyKey: key,
        createdBy: actor.name,
      };
      const [created] = await insertJobs(trx, [job]);
      if (created)
        await audit.record(trx, actor, 'job.submit', created.id, {
          type: created.type,
          ...(rerunOf && { rerunOf }),
        });
      return created;
    });
    const row = await insert.catch(async (error: unknown) => {
      // Its workspace or host was removed in the meantime: looking again says which.
      if (isForeignKeyViolation(error)) await deps.resolvePlace(submission);
      throw error;
    });
    if (row) return { job: await tell({ row, events: [] }), created: true };
    const known = await findByKey(actor, key === null ? [] : [key]);
    return { job: known(key), created: false };
  }

  return {
    find,
    tell,
    tellEvents,
    advance,
    beginAgain,
    submit,

    /**
     * Runs of machines: all of them, or none. `also` is written in the same transaction: no run without its machine
     * knowing of it.
     * @param portions what is sent to the database at once
     * @param also gets those of a portion that are new, as they came
     * @returns in their order; where an idempotency key was used before, the job of then
     */
    async submitMachines<Run extends MachineRun>(
      actor: Actor,
      portions: Iterable<readonly Run[]>,
      also: (trx: Transaction<Database>, created: readonly Run[]) => Promise<void>,
    ): Promise<Submitted[]> {
      const asked: Pick<NewJob, 'id' | 'idempotencyKey'>[] = [];
      const rows = await db.transaction().execute(async (trx) => {
        const all: JobRow[] = [];
        for (const runs of portions) {
          const jobs = runs.map((run) => toMachineJob(actor, run));
          const created = await insertJobs(trx, jobs);
          const ids = new Set<string>(created.map(({ id }) => id));
          const fresh = runs.filter(({ id }) => ids.has(id));
          const entries = fresh.map(({ id, vmId }) => ({ subject: id, detail: { type: 'vm', vmId } }));
          await audit.recordMany(trx, actor, 'job.submit', entries);
          const plans = fresh.flatMap(({ id, request }) => (request ? [{ id, plan: request.plan }] : []));
          await insertPlans(trx, plans);
          await also(trx, fresh);
          all.push(...created);
          asked.push(...jobs.map(({ id, idempotencyKey }) => ({ id, idempotencyKey })));
        }
        return all;
      });
      const told = await tellAll(rows.map((row) => ({ row, events: [] })));
      const created = new Map<string, Job>(told.map((job) => [job.id, job]));
      const keys = asked.flatMap(({ id, idempotencyKey: key }) =>
        created.has(id) || key === null ? [] : [key],
      );
      const known = await findByKey(actor, keys);
      return asked.map(({ id, idempotencyKey }) => {
        const job = created.get(id);
        return job ? { job, created: true } : { job: known(idempotencyKey), created: false };
      });
    },

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

    async rerun(actor: Actor, jobId: JobId): Promise<Job> {
      const row = await find(jobId);
      if (row.type === 'vm') {
        throw new CodedError(
          'INVALID_INPUT',
          row.vm_id === null
            ? 'this was a simulation request: run the request again'
            : 'this was a run of a machine: start the machine instead',
        );
      }
      if (row.secret_names.length > 0) {
        const names = row.secret_names.join(', ');
        throw new CodedError(
          'SECRETS_FORGOTTEN',
          `this job had secret variables (${names}), which are forgotten: submit it anew with them`,
        );
      }
      const { workspaceId, hostId } = toJob(row);
      const { job } = await submit(
        actor,
        {
          command: row.command,
          type: row.type === 'terminal' ? 'terminal' : row.type === 'ssh' ? 'ssh' : 'stream',
          ...(workspaceId && { workspaceId }),
          ...(row.cwd !== null && { cwd: row.cwd }),
          ...(!workspaceId && hostId && { host: hostId }),
          env: row.env,
          color: row.color,
          ...(row.timeout_seconds !== null && { timeout: row.timeout_seconds }),
          cols: row.cols,
          rows: row.rows,
          ...agentOf(row.queue),
          priority: row.priority,
          // As it was asked for: each attempt has used up one.
          retry: row.retries + row.attempt - 1,
        },
        row.id,
      );
      return job;
    },
  };
}

function toMachineJob(actor: Actor, { id, vmId, spec, command, request }: MachineRun): NewJob {
  return {
    ...{ id, command, type: 'vm' },
    ...{ workspaceId: null, hostId: null, cwd: null, env: {}, secrets: null, secretNames: [] },
    ...{ color: false, timeout: request?.timeout ?? null, cols: 80, rows: 24 },
    idempotencyKey: request?.idempotencyKey ?? null,
    createdBy: actor.name,
    placement: { takers: { who: 'here' }, place: 'vms', memoryMib: spec.memoryMib },
    ...{ priority: 0, retries: 0 },
    machine: { vmId, spec },
    ...(request && {
      placement: placementOf(spec),
      isHeld: request.isHeld,
      priority: request.priority,
      retries: request.retries,
    }),
  };
}

/** A machine that is made of images alone can be made anywhere. */
function placementOf({ request, cpus, memoryMib }: MachineSpec): Placement {
  const images = request?.images ?? null;
  const takers: Takers = { who: images === null ? 'here' : 'any' };
  return { ...{ takers, place: 'requests', cpus, memoryMib }, ...(images && { images }) };
}

export function noSuchJob(jobId: string): CodedError {
  return new CodedError('JOB_NOT_FOUND', `there is no job ${jobId}`);
}
