import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // The machine that was made of the disk that a request left.
  await sql`
    alter table requests
      add column opened_vm_id uuid references vms (id) on delete set null`.execute(db);
  await sql`create index idx_requests_opened on requests (opened_vm_id) where opened_vm_id is not null`.execute(
    db,
  );
}
