import type { Database } from '@vmo/db';
import { sql, type Kysely } from 'kysely';

type Db = Kysely<Database>;

/**
 * Files that nothing needs any more from this transaction on. Whoever commits it removes them; where that is interrupted,
 * the next start does.
 */
export async function insertLeftovers(trx: Db, files: readonly string[]): Promise<void> {
  if (files.length === 0) return;
  await trx
    .insertInto('files_to_remove')
    .columns(['file'])
    .expression((eb) =>
      eb
        .selectFrom(sql<{ file: string }>`unnest(${[...new Set(files)]}::text[])`.as('given'))
        .select(sql<string>`given`.as('file')),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function listLeftovers(db: Db): Promise<string[]> {
  const rows = await db.selectFrom('files_to_remove').select('file').orderBy('file').execute();
  return rows.map(({ file }) => file);
}

export async function deleteLeftovers(db: Db, files: readonly string[]): Promise<void> {
  await db
    .deleteFrom('files_to_remove')
    .where(sql<boolean>`file = any(${[...files]}::text[])`)
    .execute();
}
