import type { Kysely, Transaction } from 'kysely';
import {
  CodedError,
  type Job,
  type JobId,
  type JobSubmission,
  type MachineSpec,
  type RunPlan,
} from '@vmo/contract';
import { isForeignKeyViolation, type Database } from '@vmo/db';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import { insertPlans } from './plans-repository.ts';
import { agentOf, type Placement, type Takers } from './queue.ts';
import { findJobsByKey, insertJobs, toJob, type JobRow, type NewJob } from './repository.ts';
import type { Secrets } from './secrets.ts';
import type { Telling } from './telling.ts';

/** Where and on which host a submission runs, as the workspaces and hosts domains say. */
export interface Place {
  type: 'stream' | 'terminal' | 'ssh';
  workspaceId: string | null;
  hostId: string | null;
  cwd: string | null;
  takers: Takers;
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

interface Submitted {
  job: Job;
  /** false: its idempotency key named an earlier job, which this is. */
  created: boolean;
}

export interface SubmissionDeps {
  db: Kysely<Database>;
  secrets: Secrets;
  telling: Telling;
  find(jobId: string): Promise<JobRow>;
  /** @throws CodedError for an unknown workspace or host, or a combination that makes no sense */
  resolvePlace(submission: JobSubmission): Promise<Place>;
}

/** How jobs come into being. */
export function createSubmissions({ db, secrets, telling, find, resolvePlace }: SubmissionDeps) {
  const { tell, tellAll, explain } = telling;

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
    const { takers, ...where } = await resolvePlace(submission);
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
      if (isForeignKeyViolation(error)) await resolvePlace(submission);
      throw error;
    });
    if (row) return { job: await tell({ row, events: [] }), created: true };
    const known = await findByKey(actor, key === null ? [] : [key]);
    return { job: known(key), created: false };
  }

  /**
   * Runs of machines: all of them, or none. `also` is written in the same transaction: no run without its machine
   * knowing of it.
   * @param portions what is sent to the database at once
   * @param also gets those of a portion that are new, as they came
   * @returns in their order; where an idempotency key was used before, the job of then
   */
  async function submitMachines<Run extends MachineRun>(
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
  }

  async function rerun(actor: Actor, jobId: JobId): Promise<Job> {
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
  }

  return { submit, submitMachines, rerun };
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
