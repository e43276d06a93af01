import { DiskFormat, Image, ImageKind } from '@vmo/contract';
import type { Database, ImagesTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import { given } from './given.ts';

type Db = Kysely<Database>;
type Row = Selectable<ImagesTable>;

const State = Image.shape.state;

function toImage(row: Row) {
  return {
    name: row.name,
    kind: ImageKind.parse(row.kind),
    format: row.format === null ? null : DiskFormat.parse(row.format),
    sizeBytes: row.size_bytes,
    virtualSizeBytes: row.virtual_size_bytes,
    sha256: row.sha256,
    expectedSha256: row.expected_sha256,
    sha256Of: row.sha256_of,
    state: State.parse(row.state),
    receivedBytes: row.received_bytes,
    reason: row.reason,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}
export type ImageRow = ReturnType<typeof toImage>;

/** As people see it. */
export function toShown(
  { expectedSha256: _expected, sha256Of: _of, ...image }: ImageRow,
  usedBy: number,
): Image {
  return { ...image, usedBy };
}

/** null: there is one of this name. */
export async function insertImage(db: Db, image: Omit<ImageRow, 'createdAt'>): Promise<ImageRow | null> {
  const row = await db
    .insertInto('images')
    .values({
      name: image.name,
      kind: image.kind,
      format: image.format,
      size_bytes: image.sizeBytes,
      virtual_size_bytes: image.virtualSizeBytes,
      sha256: image.sha256,
      expected_sha256: image.expectedSha256,
      sha256_of: image.sha256Of,
      state: image.state,
      received_bytes: image.receivedBytes,
      reason: image.reason,
      created_by: image.createdBy,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returningAll()
    .executeTakeFirst();
  return row ? toImage(row) : null;
}

export async function findImage(db: Db, name: string): Promise<ImageRow | undefined> {
  const row = await db.selectFrom('images').selectAll().where('name', '=', name).executeTakeFirst();
  return row && toImage(row);
}

export async function lockImage(trx: Db, name: string): Promise<ImageRow | undefined> {
  const row = await trx
    .selectFrom('images')
    .selectAll()
    .where('name', '=', name)
    .forUpdate()
    .executeTakeFirst();
  return row && toImage(row);
}

/** Complete ones with these bytes, as far as their digest is known. */
export async function findImagesBySha256(db: Db, sha256: string): Promise<ImageRow[]> {
  const rows = await db
    .selectFrom('images')
    .selectAll()
    .where('sha256', '=', sha256)
    .where('state', '=', 'ready')
    .orderBy('name')
    .execute();
  return rows.map(toImage);
}

export async function listImages(db: Db): Promise<ImageRow[]> {
  const rows = await db
    .selectFrom('images')
    .selectAll()
    .orderBy(sql`name collate "C"`)
    .execute();
  return rows.map(toImage);
}

/** Disks that rest on each image, and machines that boot it. */
export async function countUses(db: Db, only?: string): Promise<Map<string, number>> {
  const { rows } = await sql<{ name: string; uses: number }>`
    with uses as (
      select image as name from disks where image is not null
      union all select boot->>'kernel' from vms where boot->>'from' = 'kernel'
      union all select boot->>'initrd' from vms where boot->>'from' = 'kernel'
    )
    select name, count(*) as uses from uses
    where name is not null ${only === undefined ? sql`` : sql`and name = ${only}`}
    group by name`.execute(db);
  return new Map(rows.map(({ name, uses }) => [name, uses]));
}

/** Names of disks that rest on an image, and of their machines; the first ten. */
export async function listDisksOn(db: Db, image: string): Promise<string[]> {
  const rows = await db
    .selectFrom('disks')
    .leftJoin('vms', 'vms.id', 'disks.vm_id')
    .select(['disks.name', 'vms.name as vm_name'])
    .where('disks.image', '=', image)
    .limit(10)
    .execute();
  return rows.map((row) => row.vm_name ?? `the disk ${row.name}`);
}

export type ImagePatch = Partial<
  Pick<
    ImageRow,
    | 'state'
    | 'receivedBytes'
    | 'reason'
    | 'sha256'
    | 'sha256Of'
    | 'format'
    | 'kind'
    | 'virtualSizeBytes'
    | 'sizeBytes'
  >
>;

export async function updateImage(db: Db, name: string, patch: ImagePatch): Promise<ImageRow | undefined> {
  const columns = {
    state: patch.state,
    received_bytes: patch.receivedBytes,
    reason: patch.reason,
    sha256: patch.sha256,
    sha256_of: patch.sha256Of,
    format: patch.format,
    kind: patch.kind,
    virtual_size_bytes: patch.virtualSizeBytes,
    size_bytes: patch.sizeBytes,
  };
  const row = await db
    .updateTable('images')
    .set(given(columns))
    .where('name', '=', name)
    .returningAll()
    .executeTakeFirst();
  return row && toImage(row);
}

export async function deleteImage(trx: Db, name: string): Promise<void> {
  await trx.deleteFrom('images').where('name', '=', name).execute();
}
