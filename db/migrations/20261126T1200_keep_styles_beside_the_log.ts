import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // The style that is on where a chunk begins, so that a log can be read from anywhere. What is stored already has none:
  // to find it, every log would have to be read from its beginning.
  await sql`alter table job_events add column style text`.execute(db);
  await sql`alter table jobs add column styles text[] not null default '{}'`.execute(db);
}
