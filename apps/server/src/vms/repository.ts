import {
  JobId,
  TemplateId,
  VmBoot,
  VmDisplay,
  VmId,
  VmNetwork,
  VmStatus,
  StopRung,
  type VmFilter,
  type VmSummary,
} from '@vmo/contract';
import type { Database, VmsTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import { z } from 'zod';
import { given } from './given.ts';

type Db = Kysely<Database>;
export type VmRow = Selectable<VmsTable>;

const Accelerator = z.enum(['kvm', 'tcg']);
const Ports = z.array(z.object({ guest: z.int(), host: z.int() }));
export type Ports = z.infer<typeof Ports>;

/** A machine as this domain uses it. Parsed, not cast: a row that a foreign hand has broken is an error here. */
export function toMachine(row: VmRow) {
  return {
    id: VmId.parse(row.id),
    name: row.name,
    status: VmStatus.parse(row.status),
    reason: row.reason,
    cpus: row.cpus,
    maxCpus: row.max_cpus,
    memoryMib: row.memory_mib,
    maxMemoryMib: row.max_memory_mib,
    boot: VmBoot.parse(row.boot),
    network: VmNetwork.parse(row.network),
    display: VmDisplay.parse(row.display),
    arguments: row.arguments,
    templateId: row.template_id === null ? null : TemplateId.parse(row.template_id),
    jobId: row.job_id === null ? null : JobId.parse(row.job_id),
    pid: row.pid,
    qemuVersion: row.qemu_version,
    accelerator: row.accelerator === null ? null : Accelerator.parse(row.accelerator),
    ports: Ports.parse(row.ports),
    startedAt: row.started_at?.toISOString() ?? null,
    endedBy: row.ended_by === null ? null : StopRung.parse(row.ended_by),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}
export type MachineRow = ReturnType<typeof toMachine>;

const summaryColumns = [
  ...(['id', 'name', 'status', 'reason', 'cpus', 'memory_mib', 'accelerator'] as const),
  ...(['job_id', 'created_at', 'created_by', 'started_at', 'display'] as const),
] as const;
type SummaryRow = Pick<VmRow, (typeof summaryColumns)[number]>;

export function toSummary(row: SummaryRow, load: readonly number[]): VmSummary {
  return {
    id: VmId.parse(row.id),
    name: row.name,
    status: VmStatus.parse(row.status),
    reason: row.reason,
    cpus: row.cpus,
    memoryMib: row.memory_mib,
    accelerator: row.accelerator === null ? null : Accelerator.parse(row.accelerator),
    jobId: row.job_id === null ? null : JobId.parse(row.job_id),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    startedAt: row.started_at?.toISOString() ?? null,
    display: VmDisplay.parse(row.display),
    load: [...load],
  };
}

function filtered(db: Db, { status, q }: VmFilter) {
  let query = db.selectFrom('vms');
  if (status) query = query.where('status', '=', status);
  if (q) query = query.where('name', 'ilike', `%${q.replace(/[\\%_]/g, '\\$&')}%`);
  return query;
}

/**
 * By name, one row more than asked for; each row with the number of all that the filter lets through.
 * Expected plan: idx_vms_name for the page; for a search idx_vms_name_words.
 */
export async function listVms(db: Db, filter: VmFilter): Promise<{ rows: SummaryRow[]; total: number }> {
  let query = filtered(db, filter).select(summaryColumns);
  if (filter.after !== undefined) query = query.where(sql<boolean>`name collate "C" > ${filter.after}`);
  const counted = filtered(db, filter).select((eb) => eb.fn.countAll<number>().as('total'));
  const rows = await query
    .select(counted.as('total'))
    .orderBy(sql`name collate "C"`)
    .limit(filter.limit + 1)
    .execute();
  // Behind the last page there is no row that could tell.
  const total = rows[0]?.total ?? (await counted.executeTakeFirstOrThrow()).total;
  return { rows, total };
}

export async function findVm(db: Db, id: string): Promise<MachineRow | undefined> {
  const row = await db.selectFrom('vms').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toMachine(row);
}

/** Expected plan: idx_vms_name. */
export async function findVmByName(db: Db, name: string): Promise<MachineRow | undefined> {
  const row = await db
    .selectFrom('vms')
    .selectAll()
    .where(sql<string>`name collate "C"`, '=', name)
    .executeTakeFirst();
  return row && toMachine(row);
}

export async function listVmNames(db: Db): Promise<string[]> {
  const rows = await db.selectFrom('vms').select('name').orderBy('name').limit(10_000).execute();
  return rows.map(({ name }) => name);
}

export async function findVmSummary(db: Db, id: string): Promise<SummaryRow | undefined> {
  return db.selectFrom('vms').select(summaryColumns).where('id', '=', id).executeTakeFirst();
}

/** The row, locked until the transaction ends: what is asked of one machine is asked in one order. */
export async function lockVm(trx: Db, id: string): Promise<MachineRow | undefined> {
  const row = await trx
    .selectFrom('vms')
    .selectAll()
    .where('id', '=', id)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row && toMachine(row);
}

/** The same for many, always in one order, so that no two of them wait for each other. */
export async function lockVms(
  trx: Db,
  ids: readonly string[],
): Promise<Pick<MachineRow, 'id' | 'name' | 'status'>[]> {
  const rows = await trx
    .selectFrom('vms')
    .select(['id', 'name', 'status'])
    .where(sql<boolean>`id = any(${[...ids]}::uuid[])`)
    .orderBy('id')
    .forNoKeyUpdate()
    .execute();
  return rows.map(({ id, name, status }) => ({
    id: VmId.parse(id),
    name,
    status: VmStatus.parse(status),
  }));
}

/** Those of the given ids that are machines. */
export async function filterVms(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db
    .selectFrom('vms')
    .select('id')
    .where(sql<boolean>`id = any(${[...ids]}::uuid[])`)
    .execute();
  return new Set(rows.map(({ id }) => id));
}

/** Every machine that may have a process. Expected plan: idx_vms_live. */
export async function listLive(db: Db): Promise<MachineRow[]> {
  const rows = await db
    .selectFrom('vms')
    .selectAll()
    .where('status', 'not in', ['stopped', 'crashed'])
    .orderBy('id')
    .execute();
  return rows.map(toMachine);
}

export type NewVmFields = Pick<
  MachineRow,
  | 'id'
  | 'name'
  | 'cpus'
  | 'maxCpus'
  | 'memoryMib'
  | 'maxMemoryMib'
  | 'boot'
  | 'network'
  | 'display'
  | 'arguments'
  | 'templateId'
  | 'createdBy'
>;

export async function insertVm(trx: Db, vm: NewVmFields): Promise<MachineRow> {
  const row = await trx
    .insertInto('vms')
    .values({
      id: vm.id,
      name: vm.name,
      status: 'stopped',
      cpus: vm.cpus,
      max_cpus: vm.maxCpus,
      memory_mib: vm.memoryMib,
      max_memory_mib: vm.maxMemoryMib,
      boot: JSON.stringify(vm.boot),
      network: JSON.stringify(vm.network),
      display: vm.display,
      arguments: [...vm.arguments],
      template_id: vm.templateId,
      created_by: vm.createdBy,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toMachine(row);
}

/** What may change of a machine; the columns follow. */
export type VmPatch = Partial<
  Pick<
    MachineRow,
    'name' | 'cpus' | 'maxCpus' | 'memoryMib' | 'maxMemoryMib' | 'boot' | 'network' | 'display'
  > &
    Pick<
      MachineRow,
      'status' | 'reason' | 'jobId' | 'pid' | 'qemuVersion' | 'accelerator' | 'ports' | 'endedBy'
    > & {
      startedAt: Date | null;
    }
>;

function toColumns(patch: VmPatch) {
  return given({
    name: patch.name,
    status: patch.status,
    reason: patch.reason,
    cpus: patch.cpus,
    max_cpus: patch.maxCpus,
    memory_mib: patch.memoryMib,
    max_memory_mib: patch.maxMemoryMib,
    boot: patch.boot && JSON.stringify(patch.boot),
    network: patch.network && JSON.stringify(patch.network),
    display: patch.display,
    job_id: patch.jobId,
    pid: patch.pid,
    qemu_version: patch.qemuVersion,
    accelerator: patch.accelerator,
    ports: patch.ports && JSON.stringify(patch.ports),
    ended_by: patch.endedBy,
    started_at: patch.startedAt,
  });
}

export async function updateVm(db: Db, id: string, patch: VmPatch): Promise<MachineRow | undefined> {
  const row = await db
    .updateTable('vms')
    .set(toColumns(patch))
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst();
  return row && toMachine(row);
}

/**
 * As `updateVm`, for what is told of one run: it changes nothing when that is not the machine's run any more, or has
 * been found to be over; nor when its status is among `unless`.
 */
export async function updateRun(
  db: Db,
  id: string,
  jobId: string,
  patch: VmPatch,
  unless: readonly VmStatus[] = [],
): Promise<MachineRow | undefined> {
  const row = await db
    .updateTable('vms')
    .set(toColumns(patch))
    .where('id', '=', id)
    .where('job_id', '=', jobId)
    .where('status', 'not in', ['stopped', 'crashed', ...unless])
    .returningAll()
    .executeTakeFirst();
  return row && toMachine(row);
}

export async function deleteVm(trx: Db, id: string): Promise<boolean> {
  const { numDeletedRows } = await trx.deleteFrom('vms').where('id', '=', id).executeTakeFirst();
  return numDeletedRows > 0n;
}

/** Machines that boot this kernel or initrd. */
export async function listVmsThatBoot(db: Db, image: string): Promise<string[]> {
  const rows = await db
    .selectFrom('vms')
    .select('name')
    .where(sql<boolean>`${image} in (boot->>'kernel', boot->>'initrd')`)
    .orderBy('name')
    .limit(10)
    .execute();
  return rows.map(({ name }) => name);
}

/** The highest number of machines that are called `PREFIX-NUMBER`. */
export async function highestNumber(db: Db, prefix: string): Promise<number> {
  const row = await db
    .selectFrom('vms')
    .select(
      sql<number>`coalesce(max(substring(name from ${`^${prefix}-([0-9]{1,8})$`})::integer), 0)`.as(
        'highest',
      ),
    )
    .where('name', 'like', `${prefix}-%`)
    .executeTakeFirstOrThrow();
  return row.highest;
}
