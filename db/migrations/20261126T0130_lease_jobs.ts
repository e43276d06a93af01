import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table agents (
      id           uuid primary key,
      name         text not null,
      -- local: in the server's own process; its runs outlive it, and are never taken away from it.
      kind         text not null check (kind in ('local', 'remote')),
      -- SHA-256 of the token; null: the server's own agent, which needs none.
      token_hash   bytea unique,
      -- Where it lives: one token is for one data directory at a time.
      installation uuid,
      contract     integer,
      version      text,
      capacity     jsonb not null default '{}',
      lease_until  timestamptz,
      seen_at      timestamptz,
      draining     boolean not null default false,
      leaving      boolean not null default false,
      revoked_at   timestamptz,
      created_at   timestamptz not null default now(),
      created_by   text not null
    )`.execute(db);
  await sql`create unique index idx_agents_name on agents (lower(name))`.execute(db);
  await sql`
    alter table jobs
      add column if not exists priority integer not null default 0,
      -- Who may take it: 'here', 'any' or '@' and an agent's name; a slash and the kind of place it takes; for those
      -- that need one a slash and an image.
      add column queue text not null default 'here/jobs',
      add column need_cpus integer not null default 0,
      add column need_memory_mib integer not null default 0,
      add column attempt integer not null default 1,
      -- Attempts that may still follow when one is lost.
      add column retries integer not null default 0,
      -- Where the output of this attempt begins in the stored log.
      add column stdout_base bigint not null default 0,
      add column stderr_base bigint not null default 0,
      add column boot_base bigint not null default 0`.execute(db);
  await sql`update jobs set queue = 'here/vms' where type = 'vm' and status not in ('done', 'failed', 'cancelled', 'timed_out', 'lost')`.execute(
    db,
  );
  // The order of the queue: an agent looks at the first jobs of each submitter only, however many wait.
  await sql`
    create index idx_jobs_queue on jobs (queue, (-priority), created_by, id)
      where status = 'pending'`.execute(db);
}
