import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // Which file it is of: what somebody put into the folder may be another one tomorrow, under the same name.
  await sql`alter table images add column sha256_of text`.execute(db);
  await sql`create index idx_images_sha256 on images (sha256) where sha256 is not null`.execute(db);
}
