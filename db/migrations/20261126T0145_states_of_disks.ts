import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table disks
      add column state text not null default 'ready' check (state in ('creating', 'ready', 'growing', 'failed')),
      -- Why it was not made, or did not grow when that was asked last.
      add column reason text,
      add column error_code text,
      -- What it is growing to; kept, so that a new process goes on with it.
      add column grow_to bigint`.execute(db);
  // Until now a disk that was not made yet was one that was being attached.
  await sql`
    update disks set state = 'creating', attachment = 'attached'
    where attachment = 'attaching' and (slot = 0 or vm_id in (
      select vm_id from vm_operations where kind = 'clone' and status in ('queued', 'running')))`.execute(db);
  await sql`create index idx_disks_unfinished on disks (id) where state in ('creating', 'growing')`.execute(
    db,
  );
  await sql`create index idx_disks_attaching on disks (id) where attachment = 'attaching'`.execute(db);
  await sql`alter table vm_operations add column error_code text`.execute(db);
}
