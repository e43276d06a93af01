import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // In order of id within one status or type: the newest of them are read off, however rare they are.
  await sql`drop index idx_jobs_status`.execute(db);
  await sql`create index idx_jobs_status on jobs (status, id)`.execute(db);
  await sql`create index idx_jobs_type on jobs (type, id)`.execute(db);
  // Every letter of a command and every pair of neighbours: what is shorter than a trigram is found by them.
  await sql`
    create function command_grams(command text) returns text[] language sql immutable strict parallel safe as $$
      select array_agg(distinct gram)
      from (
        select unnest(array[letter, letter || lead(letter) over (order by at)]) as gram
        from unnest(string_to_array(lower(command), null)) with ordinality as letters (letter, at)
      ) as grams
      where gram is not null
    $$`.execute(db);
  await sql`create index idx_jobs_command_grams on jobs using gin (command_grams(command))`.execute(db);
}
