import { Snapshot, SnapshotId, VmId } from '@vmo/contract';
import type { Database, VmSnapshotsTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import { z } from 'zod';
import { KeptDisk } from './disks-repository.ts';
import { given } from './given.ts';

type Db = Kysely<Database>;

const Hardware = z.record(z.string(), z.string());
export type Hardware = z.infer<typeof Hardware>;

function toSnapshot(row: Selectable<VmSnapshotsTable>) {
  return {
    id: SnapshotId.parse(row.id),
    vmId: VmId.parse(row.vm_id),
    name: row.name,
    parentId: row.parent_id === null ? null : SnapshotId.parse(row.parent_id),
    kind: Snapshot.shape.kind.parse(row.kind),
    state: Snapshot.shape.state.parse(row.state),
    current: row.current,
    sizeBytes: row.size_bytes,
    /** What each disk was when it was taken, by disk. Empty: it has not begun. */
    files: z.record(z.string(), KeptDisk).parse(row.files),
    /** Of one with memory: the machine that it fits, by part. null: of before that was kept. */
    hardware: Hardware.nullable().parse(row.hardware),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}
export type SnapshotRow = ReturnType<typeof toSnapshot>;

/** As people see it. */
export function toShown({ files: _files, hardware: _hardware, ...snapshot }: SnapshotRow): Snapshot {
  return snapshot;
}

export async function insertSnapshot(
  trx: Db,
  snapshot: Pick<SnapshotRow, 'id' | 'vmId' | 'name' | 'parentId' | 'kind' | 'createdBy'>,
): Promise<SnapshotRow> {
  const row = await trx
    .insertInto('vm_snapshots')
    .values({
      id: snapshot.id,
      vm_id: snapshot.vmId,
      name: snapshot.name,
      parent_id: snapshot.parentId,
      kind: snapshot.kind,
      state: 'creating',
      size_bytes: null,
      created_by: snapshot.createdBy,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toSnapshot(row);
}

export async function findSnapshot(db: Db, id: string): Promise<SnapshotRow | undefined> {
  const row = await db.selectFrom('vm_snapshots').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toSnapshot(row);
}

/** Oldest first. */
export async function listSnapshots(db: Db, vmId: string): Promise<SnapshotRow[]> {
  const rows = await db
    .selectFrom('vm_snapshots')
    .selectAll()
    .where('vm_id', '=', vmId)
    .orderBy('id')
    .execute();
  return rows.map(toSnapshot);
}

export async function updateSnapshot(
  db: Db,
  id: string,
  patch: {
    state?: SnapshotRow['state'];
    parentId?: SnapshotRow['parentId'];
    files?: Record<string, KeptDisk>;
    hardware?: Hardware;
    sizeBytes?: number | null;
  },
): Promise<void> {
  await db
    .updateTable('vm_snapshots')
    .set(
      given({
        state: patch.state,
        parent_id: patch.parentId,
        files: patch.files && JSON.stringify(patch.files),
        hardware: patch.hardware && JSON.stringify(patch.hardware),
        size_bytes: patch.sizeBytes,
      }),
    )
    .where('id', '=', id)
    .execute();
}

/** The machine goes on from this one, and from no other; null: from none. */
export async function makeCurrent(trx: Db, vmId: string, id: string | null): Promise<void> {
  await trx
    .updateTable('vm_snapshots')
    .set({ current: id === null ? false : sql<boolean>`id = ${id}` })
    .where('vm_id', '=', vmId)
    .execute();
}

/** Its children become those of its parent, and so does the machine that goes on from it. */
export async function deleteSnapshot(trx: Db, snapshot: SnapshotRow): Promise<void> {
  await trx
    .updateTable('vm_snapshots')
    .set({ parent_id: snapshot.parentId })
    .where('parent_id', '=', snapshot.id)
    .execute();
  await trx.deleteFrom('vm_snapshots').where('id', '=', snapshot.id).execute();
  if (snapshot.current) await makeCurrent(trx, snapshot.vmId, snapshot.parentId);
}

/** Everything that the snapshots of a machine keep, but images. */
export async function listFilesOf(db: Db, vmId: string): Promise<string[]> {
  const kept = (await listSnapshots(db, vmId)).flatMap(({ files }) => Object.values(files));
  return kept
    .flatMap(({ file, chain }) => [file, ...chain.map((below) => below.file)])
    .filter((file) => !file.startsWith('images/'));
}

/** Snapshots that keep something which lies on this file. */
export async function listAllOn(db: Db, file: string): Promise<SnapshotRow[]> {
  const rows = await db
    .selectFrom('vm_snapshots')
    .selectAll()
    .where(
      sql<boolean>`exists (select from jsonb_each(files) as kept where kept.value->'chain' @> ${JSON.stringify([{ file }])}::jsonb)`,
    )
    .execute();
  return rows.map(toSnapshot);
}

/** Snapshots that were asked for and never begun, whose operation is over. Of one machine, or of all. */
export async function deleteNeverBegun(db: Db, vmId?: string): Promise<void> {
  let query = db
    .deleteFrom('vm_snapshots')
    .where('state', '=', 'creating')
    .where(sql<boolean>`files = '{}'`).where(sql<boolean>`not exists (
      select from vm_operations as operation
      where operation.status in ('queued', 'running') and operation.kind = 'snapshot'
        and operation.request->>'snapshotId' = vm_snapshots.id::text)`);
  if (vmId !== undefined) query = query.where('vm_id', '=', vmId);
  await query.execute();
}
