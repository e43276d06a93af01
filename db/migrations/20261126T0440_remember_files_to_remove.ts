import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table files_to_remove (
      -- Below the storage path. Nothing needs it any more; it goes as soon as the rows that said so are committed.
      file        text primary key,
      created_at  timestamptz not null default now()
    )`.execute(db);
}
