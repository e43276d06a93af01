import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table jobs
      add column command_bytes bigint not null default 0,
      add column command_line integer,
      add column command_base bigint not null default 0`.execute(db);
  // Beside the job: lists of jobs need not carry commands and files, which can be megabytes.
  await sql`
    create table job_plans (
      job_id      uuid primary key references jobs (id) on delete cascade,
      plan        jsonb not null,
      -- What the agent says of it.
      progress    jsonb,
      updated_at  timestamptz not null default now()
    )`.execute(db);
  await sql`
    create table requests (
      id              uuid primary key references jobs (id) on delete cascade,
      vm_name         text not null,
      vm_kind         text not null check (vm_kind in ('template', 'image', 'vm')),
      -- What was asked for, as it was sent: to be shown, and run again.
      submission      jsonb not null,
      batch_id        uuid,
      labels          jsonb not null default '{}',
      -- The disks of its machine are kept until then, and were removed then.
      kept_until      timestamptz,
      discarded_at    timestamptz
    )`.execute(db);
  await sql`create index idx_requests_batch on requests (batch_id, id) where batch_id is not null`.execute(
    db,
  );
  await sql`create index idx_requests_vm_name on requests (vm_name, id)`.execute(db);
  await sql`create index idx_requests_labels on requests using gin (labels)`.execute(db);
  await sql`create index idx_requests_kept on requests (kept_until)
      where kept_until is not null and discarded_at is null`.execute(db);
}
