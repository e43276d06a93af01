import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // The event up to which a long console is always kept; behind it only its newest part is. Null: all of it is.
  await sql`alter table jobs add column head_seq integer`.execute(db);
}
