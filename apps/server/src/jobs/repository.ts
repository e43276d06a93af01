import { sql, type Kysely, type Selectable } from 'kysely';
import type { Database, JobsTable } from '@vmo/db';
import {
  HostId,
  JobId,
  JobStatus,
  JobType,
  VmId,
  WorkspaceId,
  type Job,
  type JobFilter,
} from '@vmo/contract';
import { queueOf, type Placement } from './queue.ts';

type Db = Kysely<Database>;
export type JobRow = Selectable<JobsTable>;

/** The row as people see it. Parsed, not cast: a row that a foreign hand has broken is an error here, not in a browser. */
export function toJob(row: JobRow): Job {
  return {
    id: JobId.parse(row.id),
    command: row.command,
    type: JobType.parse(row.type),
    status: JobStatus.parse(row.status),
    reason: row.reason,
    exitCode: row.exit_code,
    signal: row.signal,
    workspaceId: row.workspace_id === null ? null : WorkspaceId.parse(row.workspace_id),
    hostId: row.host_id === null ? null : HostId.parse(row.host_id),
    vmId: row.vm_id === null ? null : VmId.parse(row.vm_id),
    cwd: row.cwd,
    timeout: row.timeout_seconds,
    secretNames: row.secret_names,
    cancelRequested: row.cancel_requested_at !== null,
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    durationMs:
      row.started_at && row.finished_at ? row.finished_at.getTime() - row.started_at.getTime() : null,
    createdBy: row.created_by,
    agent: row.agent,
    attempt: row.attempt,
    place: null,
    lastSeq: row.last_seq,
    logBytes: row.stdout_bytes + row.stderr_bytes + row.boot_bytes + row.command_bytes - row.cut_bytes,
    lineCount: row.line_counts.reduce((sum, count) => sum + count, 0),
    errors: row.error_count,
    warnings: row.warning_count,
    logState: logStateOf(row),
  };
}

function logStateOf(row: JobRow): Job['logState'] {
  if (row.log_expired) return 'expired';
  if (row.cut_bytes > 0) return 'cut';
  if (row.log_verified) return 'verified';
  return row.finished_at ? 'kept' : 'growing';
}

export interface NewJob {
  id: string;
  command: string;
  type: JobType;
  workspaceId: string | null;
  hostId: string | null;
  cwd: string | null;
  env: Record<string, string>;
  /** Sealed. */
  secrets: Buffer | null;
  secretNames: readonly string[];
  color: boolean;
  timeout: number | null;
  cols: number;
  rows: number;
  idempotencyKey: string | null;
  createdBy: string;
  placement: Placement;
  /** Higher goes first. */
  priority: number;
  /** Attempts that may follow a lost one. */
  retries: number;
  /** It waits until it is released. */
  isHeld?: boolean;
  /** Of a run of a machine; without `vmId`, of one that is thrown away. */
  machine?: { vmId: string | null; spec: unknown };
}

/** Those that are new, in no order: of the others a job with their idempotency key exists. At most some 2,000 at once. */
export async function insertJobs(db: Db, jobs: readonly NewJob[]): Promise<JobRow[]> {
  return db
    .insertInto('jobs')
    .values(
      jobs.map((job) => ({
        id: job.id,
        command: job.command,
        type: job.type,
        status: job.isHeld ? 'hold' : 'pending',
        workspace_id: job.workspaceId,
        host_id: job.hostId,
        cwd: job.cwd,
        env: JSON.stringify(job.env),
        secrets: job.secrets,
        secret_names: [...job.secretNames],
        color: job.color,
        timeout_seconds: job.timeout,
        cols: job.cols,
        rows: job.rows,
        idempotency_key: job.idempotencyKey,
        created_by: job.createdBy,
        queue: queueOf(job.placement),
        need_cpus: job.placement.cpus ?? 0,
        need_memory_mib: job.placement.memoryMib ?? 0,
        priority: job.priority,
        retries: job.retries,
        vm_id: job.machine?.vmId ?? null,
        vm: job.machine ? JSON.stringify(job.machine.spec) : null,
      })),
    )
    .onConflict((conflict) =>
      conflict
        .columns(['created_by', 'idempotency_key'])
        .where('idempotency_key', 'is not', null)
        .doNothing(),
    )
    .returningAll()
    .execute();
}

export async function findJobsByKey(db: Db, createdBy: string, keys: readonly string[]): Promise<JobRow[]> {
  if (keys.length === 0) return [];
  return db
    .selectFrom('jobs')
    .selectAll()
    .where('created_by', '=', createdBy)
    .where('idempotency_key', 'in', keys)
    .execute();
}

export async function findJob(db: Db, jobId: string): Promise<JobRow | undefined> {
  return db.selectFrom('jobs').selectAll().where('id', '=', jobId).executeTakeFirst();
}

export async function findJobs(db: Db, ids: readonly string[]): Promise<JobRow[]> {
  if (ids.length === 0) return [];
  return db.selectFrom('jobs').selectAll().where('id', 'in', ids).execute();
}

/**
 * The row, locked until the transaction ends. Everything that moves a job forward goes through this lock, so what
 * happens to one job happens in one order. `no key update` lets the foreign key of its events pass.
 */
export async function lockJob(trx: Db, jobId: string): Promise<JobRow | undefined> {
  return trx.selectFrom('jobs').selectAll().where('id', '=', jobId).forNoKeyUpdate().executeTakeFirst();
}

/** A search looks through so many of the newest jobs first, one after another: some 6 ms. */
const searchWindow = 4_000;
/** Up to so many where it has found some, which takes some 30 ms: an index takes 50 µs for each job that has the words. */
const widestWindow = 24_000;

function filtered(db: Db, filter: JobFilter) {
  let query = db.selectFrom('jobs');
  if (filter.before) query = query.where('id', '<', filter.before);
  if (filter.status) query = query.where('status', '=', filter.status);
  if (filter.type) query = query.where('type', '=', filter.type);
  if (filter.workspaceId) query = query.where('workspace_id', '=', filter.workspaceId);
  if (filter.vmId) query = query.where('vm_id', '=', filter.vmId); // idx_jobs_vm
  return query;
}

/** Newest first; ids are in order of creation. One row more than asked for tells whether there is another page. */
export async function listJobs(db: Db, filter: JobFilter): Promise<JobRow[]> {
  if (filter.q) return searchJobs(db, filter, filter.q);
  return filtered(db, filter)
    .selectAll()
    .orderBy('id', 'desc')
    .limit(filter.limit + 1)
    .execute();
}

/**
 * Words that many jobs have are among the newest; the others, which are few, are found by an index, which gives them in no order.
 * In one statement the planner would have to guess which kind a word is, and takes half a second where it is wrong.
 */
async function searchJobs(db: Db, filter: JobFilter, words: string): Promise<JobRow[]> {
  const pattern = `%${words.replace(/[\\%_]/g, '\\$&')}%`;
  const limit = filter.limit + 1;
  const newest = (window: number) =>
    db
      .selectFrom(filtered(db, filter).selectAll().orderBy('id', 'desc').limit(window).as('jobs'))
      .selectAll()
      .where('command', 'ilike', pattern)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
  const first = await newest(searchWindow);
  if (first.length === limit) return first;
  // Where so many have the words, a page is full after about as many more; with some to spare.
  const enough = Math.ceil((1.3 * searchWindow * limit) / Math.max(first.length, 1));
  if (enough <= widestWindow) {
    const more = await newest(enough);
    if (more.length === limit) return more;
  }
  let all = filtered(db, filter).select('id').where('command', 'ilike', pattern); // idx_jobs_command
  // A trigram is three letters or digits in a row.
  if (!/[\p{L}\p{N}]{3}/u.test(words))
    all = all.where(sql<boolean>`command_grams(command) @> command_grams(${words})`); // idx_jobs_command_grams
  return db
    .with(
      (cte) => cte('found').materialized(),
      () => all,
    )
    .selectFrom('jobs')
    .selectAll()
    .where('id', 'in', (eb) => eb.selectFrom('found').select('id').orderBy('id', 'desc').limit(limit))
    .orderBy('id', 'desc')
    .execute();
}

/** Expected plan: idx_jobs_open. */
export async function listAssigned(db: Db, agent: string): Promise<JobRow[]> {
  return db
    .selectFrom('jobs')
    .selectAll()
    .where('status', 'in', ['acknowledged', 'running'])
    .where('agent', '=', agent)
    .orderBy('id')
    .execute();
}

/** Throw-away machines that may have a process, by their jobs' ids. Expected plan: idx_jobs_open. */
export async function listThrowAway(db: Db): Promise<string[]> {
  const rows = await db
    .selectFrom('jobs')
    .select('id')
    .where('status', 'in', ['acknowledged', 'running'])
    .where('type', '=', 'vm')
    .where('vm_id', 'is', null)
    .execute();
  return rows.map(({ id }) => id);
}

/** @returns those of these jobs that exist */
export async function filterKnown(db: Db, ids: readonly string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const rows = await db.selectFrom('jobs').select('id').where('id', 'in', ids).execute();
  return new Set(rows.map(({ id }) => id));
}

/** With everything that belongs to it. Only for rows locked in this transaction. */
export async function deleteJob(trx: Db, jobId: string): Promise<void> {
  await trx.deleteFrom('jobs').where('id', '=', jobId).execute();
}

/** Jobs of this agent whose end somebody asked for. Expected plan: idx_jobs_open. */
export async function listCancelled(db: Db, agent: string): Promise<string[]> {
  const rows = await db
    .selectFrom('jobs')
    .select('id')
    .where('status', 'in', ['acknowledged', 'running'])
    .where('agent', '=', agent)
    .where('cancel_requested_at', 'is not', null)
    .execute();
  return rows.map(({ id }) => id);
}

export type JobPatch = Partial<
  Pick<
    JobRow,
    | 'status'
    | 'reason'
    | 'started_at'
    | 'finished_at'
    | 'exit_code'
    | 'signal'
    | 'agent'
    | 'cancel_requested_at'
    | 'cancel_requested_by'
    | 'log_verified'
    | 'secrets'
    | 'attempt'
    | 'retries'
    | 'stdout_base'
    | 'stderr_base'
    | 'boot_base'
    | 'command_base'
    | 'head_seq'
    | 'stdout_line'
    | 'stderr_line'
    | 'boot_line'
  >
>;

/** Only for rows locked in this transaction. */
export async function updateJob(trx: Db, jobId: string, patch: JobPatch): Promise<JobRow> {
  return trx.updateTable('jobs').set(patch).where('id', '=', jobId).returningAll().executeTakeFirstOrThrow();
}
