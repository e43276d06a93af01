import {
  BatchId,
  Bringing,
  JobId,
  MachineSpec,
  RunPlan,
  RunProgress,
  VmId,
  type RequestFilter,
  type SimulationRequest,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import { sql, type Kysely, type RawBuilder } from 'kysely';
import { z } from 'zod';

type Db = Kysely<Database>;

const Kind = z.enum(['template', 'image', 'vm']) satisfies z.ZodType<SimulationRequest['vm_kind']>;
const Labels = z.record(z.string(), z.string());

export interface NewRequestRow {
  id: JobId;
  vmName: string;
  vmKind: SimulationRequest['vm_kind'];
  /** As it was sent. */
  submission: unknown;
  batchId: BatchId | null;
  labels: Readonly<Record<string, string>>;
}

export async function insertRequests(trx: Db, requests: readonly NewRequestRow[]): Promise<void> {
  if (requests.length === 0) return;
  await trx
    .insertInto('requests')
    .values(
      requests.map((request) => ({
        id: request.id,
        vm_name: request.vmName,
        vm_kind: request.vmKind,
        submission: JSON.stringify(request.submission),
        batch_id: request.batchId,
        labels: JSON.stringify(request.labels),
      })),
    )
    .execute();
}

/** What is shown of files is how large they are: their bytes stay in the database. */
const columns = [
  'requests.id',
  'requests.vm_name',
  'requests.vm_kind',
  'requests.batch_id',
  'requests.labels',
  'requests.kept_until',
  'requests.discarded_at',
  'requests.opened_vm_id',
  'requests.bring_state',
  'requests.bring_received',
  'requests.bring_size',
  'requests.bring_reason',
  'jobs.priority',
  'jobs.retries',
  'job_plans.progress',
  'job_plans.updated_at',
] as const;

function joined(db: Db) {
  return db
    .selectFrom('requests')
    .innerJoin('jobs', 'jobs.id', 'requests.id')
    .innerJoin('job_plans', 'job_plans.job_id', 'requests.id');
}

function withPlan(db: Db) {
  return joined(db)
    .select(columns)
    .select([
      sql`job_plans.plan - 'files'`.as('plan'),
      sql`requests.submission - 'files'`.as('submission'),
      sql`(
        select coalesce(jsonb_agg(jsonb_build_object(
          'path', file->>'path', 'mode', file->>'mode',
          'size_bytes', length(file->>'base64') / 4 * 3 - length(file->>'base64') + length(rtrim(file->>'base64', '='))
        )), '[]')
        from jsonb_array_elements(job_plans.plan->'files') as file
      )`.as('files'),
      // idx_agents_name
      sql<boolean>`exists (
        select from agents where lower(agents.name) = lower(jobs.agent) and agents.kind = 'local'
      )`.as('is_here'),
    ]);
}

const Submission = z.object({
  commands: z.union([z.string(), z.array(z.unknown())]),
  keep_on_failure: z.boolean(),
});
// Made once: zod writes a parser for each schema, which takes longer than to parse a row.
const BringState = Bringing.shape.state.nullable();
const PlanWithoutFiles = RunPlan.omit({ files: true });
const Files = z.array(z.object({ path: z.string(), mode: z.string(), size_bytes: z.int() }));

type Selected = Awaited<ReturnType<ReturnType<typeof withPlan>['execute']>>[number];

function toRow(row: Selected) {
  return {
    id: JobId.parse(row.id),
    vmName: row.vm_name,
    vmKind: Kind.parse(row.vm_kind),
    batchId: row.batch_id === null ? null : BatchId.parse(row.batch_id),
    labels: Labels.parse(row.labels),
    keptUntil: row.discarded_at ? null : row.kept_until,
    discardedAt: row.discarded_at,
    openedVm: row.opened_vm_id === null ? null : VmId.parse(row.opened_vm_id),
    isHere: row.is_here,
    bringing: toBringing(row),
    priority: row.priority,
    retries: row.retries,
    plan: PlanWithoutFiles.parse(row.plan),
    files: Files.parse(row.files),
    submission: Submission.parse(row.submission),
    progress: row.progress === null ? null : RunProgress.parse(row.progress),
    updatedAt: row.updated_at,
  };
}
function toBringing(row: Selected): Bringing | null {
  const state = BringState.parse(row.bring_state);
  if (state === null) return null;
  return {
    ...{ state, received_bytes: row.bring_received, size_bytes: row.bring_size, reason: row.bring_reason },
  };
}

export type RequestRow = ReturnType<typeof toRow>;

export async function findRequest(db: Db, id: string): Promise<RequestRow | undefined> {
  const row = await withPlan(db).where('requests.id', '=', id).executeTakeFirst();
  return row && toRow(row);
}

/** As it was sent, to be sent again. */
export async function findSubmission(db: Db, id: string): Promise<unknown> {
  const row = await db.selectFrom('requests').select('submission').where('id', '=', id).executeTakeFirst();
  return row?.submission;
}

const likePart = (text: string) => text.replace(/[\\%_]/g, '\\$&');

/** What the filter says of the request itself. */
function ofRequest({ vm_name: vmName, batch, label, uuid }: RequestFilter): RawBuilder<boolean>[] {
  const all: RawBuilder<boolean>[] = [];
  if (vmName !== undefined) all.push(sql`requests.vm_name = ${vmName}`);
  if (batch) all.push(sql`requests.batch_id = ${batch}`);
  if (uuid !== undefined) {
    const part = uuid.toLowerCase();
    all.push(sql`(requests.id::text like ${`${part}%`} or requests.id::text like ${`%${part}`})`);
  }
  if (label !== undefined) {
    const at = label.indexOf('=');
    const wanted = at < 0 ? null : JSON.stringify({ [label.slice(0, at)]: label.slice(at + 1) });
    all.push(wanted === null ? sql`requests.labels ? ${label}` : sql`requests.labels @> ${wanted}::jsonb`);
  }
  return all;
}

/** What it says of its job. */
function ofJob({ status, text }: RequestFilter): RawBuilder<boolean>[] {
  const all: RawBuilder<boolean>[] = [];
  if (status) all.push(sql`jobs.status = ${status}`);
  // idx_jobs_command; the line of the history is the machine and its commands.
  if (text) all.push(sql`jobs.command ilike ${`%${likePart(text)}%`}`);
  return all;
}

/** Newest first. */
export async function listRequests(db: Db, filter: RequestFilter): Promise<RequestRow[]> {
  const rows = await [...ofRequest(filter), ...ofJob(filter)]
    .reduce((query, condition) => query.where(condition), withPlan(db))
    .orderBy('requests.id', 'desc')
    .limit(filter.limit)
    .offset(filter.offset)
    .execute();
  return rows.map(toRow);
}

/** Looks at jobs only where the filter is about them. */
export async function countRequests(db: Db, filter: RequestFilter): Promise<number> {
  let query = db.selectFrom('requests');
  for (const condition of ofRequest(filter)) query = query.where(condition);
  const jobs = ofJob(filter);
  if (jobs.length > 0)
    query = query.where(
      sql<boolean>`exists (select from jobs where jobs.id = requests.id and ${sql.join(jobs, sql` and `)})`,
    );
  const { total } = await query
    .select((eb) => eb.fn.countAll<number>().as('total'))
    .executeTakeFirstOrThrow();
  return total;
}

/** The batch that this job belongs to; undefined: it is no request. */
export async function findBatchOf(db: Db, id: string): Promise<string | null | undefined> {
  const row = await db.selectFrom('requests').select('batch_id').where('id', '=', id).executeTakeFirst();
  return row?.batch_id;
}

/** The batch whose first request has this key. */
export async function findBatchByKey(db: Db, createdBy: string, key: string): Promise<BatchId | undefined> {
  const row = await db
    .selectFrom('jobs')
    .innerJoin('requests', 'requests.id', 'jobs.id')
    .select('requests.batch_id')
    .where('jobs.created_by', '=', createdBy)
    .where('jobs.idempotency_key', '=', key)
    .executeTakeFirst();
  return row?.batch_id ? BatchId.parse(row.batch_id) : undefined;
}

/** Failed ones whose machine left its disks, as their agents said, and of which nobody knows until when they are kept. */
export async function stampKept(db: Db, hours: number): Promise<void> {
  await sql`
    update requests
    set kept_until = jobs.finished_at + make_interval(hours => ${hours})
    from jobs, job_plans
    where jobs.id = requests.id and job_plans.job_id = requests.id
      and requests.kept_until is null and jobs.finished_at is not null
      and (job_plans.progress->>'kept')::boolean`.execute(db);
}

/** Until the transaction ends, nobody else opens it. */
export async function lockRequest(trx: Db, id: string): Promise<void> {
  await trx.selectFrom('requests').select('id').where('id', '=', id).forUpdate().executeTakeFirst();
}

/** The machine that it ran in, and when that was started. */
export async function findMachine(
  db: Db,
  id: string,
): Promise<{ spec: MachineSpec; startedAt: Date | null }> {
  const row = await db
    .selectFrom('jobs')
    .select(['vm', 'started_at'])
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  return { spec: MachineSpec.parse(row.vm), startedAt: row.started_at };
}

export async function setOpened(trx: Db, id: string, vmId: VmId): Promise<void> {
  await trx.updateTable('requests').set({ opened_vm_id: vmId }).where('id', '=', id).execute();
}

export async function listOverdue(db: Db): Promise<JobId[]> {
  const rows = await db
    .selectFrom('requests')
    .select('id')
    .where('discarded_at', 'is', null)
    .where('kept_until', '<', sql<Date>`now()`)
    .execute();
  return rows.map(({ id }) => JobId.parse(id));
}

/** Of these, those of which this agent needs what it has: it is to go on with them, or their disks are kept. */
export async function listWanted(db: Db, agent: string, ids: readonly JobId[]): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    select requests.id
    from requests
    join jobs using (id)
    join job_plans on job_plans.job_id = requests.id
    where requests.id = any(${[...ids]}::uuid[]) and jobs.agent = ${agent} and discarded_at is null
      and (jobs.status in ('acknowledged', 'running') or (job_plans.progress->>'kept')::boolean)`.execute(db);
  return new Set(rows.map(({ id }) => id));
}

export async function markDiscarded(db: Db, id: JobId): Promise<void> {
  await db.updateTable('requests').set({ discarded_at: new Date() }).where('id', '=', id).execute();
}

/** Of requests whose disks this agent is to send. Expected plan: idx_requests_bringing. */
export async function listBringing(db: Db, agent: string): Promise<JobId[]> {
  const rows = await db
    .selectFrom('requests')
    .innerJoin('jobs', 'jobs.id', 'requests.id')
    .select('requests.id')
    .where('requests.bring_state', 'in', ['waiting', 'sending', 'checking'])
    .where('requests.discarded_at', 'is', null)
    .where('jobs.agent', '=', agent)
    .execute();
  return rows.map(({ id }) => JobId.parse(id));
}

/** The agent that has the disk of a request, as long as its token holds. */
export async function findKeeper(trx: Db, id: string): Promise<string | undefined> {
  const row = await trx
    .selectFrom('jobs')
    .innerJoin('agents', 'agents.name', 'jobs.agent')
    .select('agents.name')
    .where('jobs.id', '=', id)
    .where('agents.revoked_at', 'is', null)
    .executeTakeFirst();
  return row?.name;
}

export async function updateBringing(
  db: Db,
  id: string,
  change: { state?: Bringing['state']; received?: number; size?: number | null; reason?: string | null },
): Promise<void> {
  await db
    .updateTable('requests')
    .set({
      bring_state: change.state,
      bring_received: change.received,
      bring_size: change.size,
      bring_reason: change.reason,
    })
    .where('id', '=', id)
    .execute();
}
