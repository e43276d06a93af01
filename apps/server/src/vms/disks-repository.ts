import { Disk, DiskFormat, DiskId, ErrorCode, VmId } from '@vmo/contract';
import type { Database, DisksTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import { z } from 'zod';
import { given } from './given.ts';

type Db = Kysely<Database>;
type Row = Selectable<DisksTable>;

const Attachment = z.enum(['attached', 'attaching', 'detaching']);
const State = Disk.shape.state;

/** A file below the storage path. */
export const StoredImage = z.object({ file: z.string(), format: DiskFormat });
export type StoredImage = z.infer<typeof StoredImage>;

/** Where a disk's bytes are. */
export const KeptDisk = z.object({ file: z.string(), format: DiskFormat, chain: z.array(StoredImage) });
export type KeptDisk = z.infer<typeof KeptDisk>;

function toDisk(row: Row) {
  return {
    id: DiskId.parse(row.id),
    name: row.name,
    file: row.file,
    format: DiskFormat.parse(row.format),
    sizeBytes: row.size_bytes,
    /** What it lies on, the nearest first. */
    chain: z.array(StoredImage).parse(row.chain),
    /** What it is being switched to: until that is settled, it is on either. */
    pending: row.pending === null ? null : KeptDisk.parse(row.pending),
    image: row.image,
    vmId: row.vm_id === null ? null : VmId.parse(row.vm_id),
    slot: row.slot,
    readOnly: row.read_only,
    attachment: row.attachment === null ? null : Attachment.parse(row.attachment),
    state: State.parse(row.state),
    /** Why it was not made, or did not grow when that was asked last. */
    reason: row.reason,
    code: row.error_code === null ? null : ErrorCode.parse(row.error_code),
    growTo: row.grow_to,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}
export type DiskRow = ReturnType<typeof toDisk>;

/** A disk that is going to be made. */
export type NewDiskRow = Omit<DiskRow, 'createdAt' | 'pending' | 'state' | 'reason' | 'code' | 'growTo'>;

export async function insertDisk(db: Db, disk: NewDiskRow): Promise<DiskRow> {
  const row = await db
    .insertInto('disks')
    .values({
      id: disk.id,
      name: disk.name,
      file: disk.file,
      format: disk.format,
      size_bytes: disk.sizeBytes,
      chain: JSON.stringify(disk.chain),
      image: disk.image,
      vm_id: disk.vmId,
      slot: disk.slot,
      read_only: disk.readOnly,
      attachment: disk.attachment,
      state: 'creating',
      created_by: disk.createdBy,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toDisk(row);
}

export async function findDisk(db: Db, id: string): Promise<DiskRow | undefined> {
  const row = await db.selectFrom('disks').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toDisk(row);
}

export async function lockDisk(trx: Db, id: string): Promise<DiskRow | undefined> {
  const row = await trx.selectFrom('disks').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  return row && toDisk(row);
}

/** In the machine's order. Expected plan: idx_disks_slot. */
export async function listDisksOf(db: Db, vmId: string): Promise<DiskRow[]> {
  const rows = await db.selectFrom('disks').selectAll().where('vm_id', '=', vmId).orderBy('slot').execute();
  return rows.map(toDisk);
}

/** Those that a guest has been asked to let go of. */
export async function listDetaching(db: Db): Promise<DiskRow[]> {
  const rows = await db.selectFrom('disks').selectAll().where('attachment', '=', 'detaching').execute();
  return rows.map(toDisk);
}

export async function listDisks(db: Db): Promise<(DiskRow & { vmName: string | null })[]> {
  const rows = await db
    .selectFrom('disks')
    .leftJoin('vms', 'vms.id', 'disks.vm_id')
    .selectAll('disks')
    .select('vms.name as vm_name')
    .orderBy(sql`disks.name collate "C"`)
    .orderBy('disks.id')
    .execute();
  return rows.map((row) => ({ ...toDisk(row), vmName: row.vm_name }));
}

/** Disks of nobody that are being made or are growing. Expected plan: idx_disks_unfinished. */
export async function listUnfinished(db: Db): Promise<DiskRow[]> {
  const rows = await db
    .selectFrom('disks')
    .selectAll()
    .where('state', 'in', ['creating', 'growing'])
    .where('vm_id', 'is', null)
    .orderBy('id')
    .execute();
  return rows.map(toDisk);
}

/** Disks on their way into a machine. Expected plan: idx_disks_attaching. */
export async function listAttaching(db: Db): Promise<DiskRow[]> {
  const rows = await db
    .selectFrom('disks')
    .selectAll()
    .where('attachment', '=', 'attaching')
    .orderBy('id')
    .execute();
  return rows.map(toDisk);
}

export type DiskPatch = Partial<
  Pick<DiskRow, 'file' | 'format' | 'sizeBytes' | 'chain' | 'pending' | 'image' | 'vmId' | 'slot'> &
    Pick<DiskRow, 'readOnly' | 'attachment' | 'state' | 'reason' | 'code' | 'growTo'>
>;

/** @returns whether it is there, and in the state that is given as the last one */
export async function updateDisk(
  db: Db,
  id: string,
  patch: DiskPatch,
  only?: DiskRow['state'],
): Promise<boolean> {
  const columns = {
    file: patch.file,
    format: patch.format,
    size_bytes: patch.sizeBytes,
    chain: patch.chain && JSON.stringify(patch.chain),
    pending: patch.pending && JSON.stringify(patch.pending),
    image: patch.image,
    vm_id: patch.vmId,
    slot: patch.slot,
    read_only: patch.readOnly,
    attachment: patch.attachment,
    state: patch.state,
    reason: patch.reason,
    error_code: patch.code,
    grow_to: patch.growTo,
  };
  let query = db.updateTable('disks').set(given(columns)).where('id', '=', id);
  if (only !== undefined) query = query.where('state', '=', only);
  const { numUpdatedRows } = await query.executeTakeFirst();
  return numUpdatedRows > 0n;
}

export const detached = { vmId: null, slot: null, attachment: null } as const;

/** The first free place behind all disks of a machine. */
export async function nextSlot(trx: Db, vmId: string): Promise<number> {
  const { slot } = await trx
    .selectFrom('disks')
    .select(sql<number>`coalesce(max(slot), 0) + 1`.as('slot'))
    .where('vm_id', '=', vmId)
    .executeTakeFirstOrThrow();
  return slot;
}

export async function deleteDisk(trx: Db, id: string): Promise<void> {
  await trx.deleteFrom('disks').where('id', '=', id).execute();
}

/** A machine went away: what was being detached is, and what was being attached never was. */
export async function settleDisks(db: Db, vmId: string): Promise<void> {
  await db
    .updateTable('disks')
    .set({ vm_id: null, slot: null, attachment: null })
    .where('vm_id', '=', vmId)
    .where('attachment', 'in', ['detaching', 'attaching'])
    .execute();
}

/** Those of the given files that a disk or a snapshot still needs. */
export async function filterNeeded(db: Db, files: readonly string[]): Promise<Set<string>> {
  if (files.length === 0) return new Set();
  const { rows } = await sql<{ file: string }>`
    with needed as (
      select file from disks
      union all
      select below->>'file' from disks, jsonb_array_elements(chain) as below
      union all
      select pending->>'file' from disks
      union all
      select below->>'file' from disks, jsonb_array_elements(pending->'chain') as below
      union all
      select kept.value->>'file' from vm_snapshots, jsonb_each(files) as kept
      union all
      select below->>'file' from vm_snapshots, jsonb_each(files) as kept, jsonb_array_elements(kept.value->'chain') as below
    )
    select distinct file from needed where file = any(${[...files]}::text[])`.execute(db);
  return new Set(rows.map(({ file }) => file));
}
