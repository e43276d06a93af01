import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create extension if not exists pg_trgm`.execute(db);
  await sql`
    create table hosts (
      id            uuid primary key,
      name          text not null,
      address       text not null,
      "user"        text,
      port          integer check (port between 1 and 65535),
      identity_file text,
      created_at    timestamptz not null default now(),
      created_by    text not null
    )`.execute(db);
  await sql`create unique index idx_hosts_name on hosts (lower(name))`.execute(db);
  await sql`
    create table workspaces (
      id         uuid primary key,
      name       text not null,
      directory  text not null,
      host_id    uuid references hosts (id) on delete restrict,
      created_at timestamptz not null default now(),
      created_by text not null
    )`.execute(db);
  await sql`create unique index idx_workspaces_name on workspaces (lower(name))`.execute(db);
  await sql`
    create table jobs (
      id                  uuid primary key,
      command             text not null,
      type                text not null check (type in ('stream', 'terminal', 'ssh', 'vm')),
      status              text not null check (status in ('pending', 'hold', 'acknowledged', 'running',
                            'done', 'failed', 'cancelled', 'timed_out', 'lost')),
      started_at          timestamptz,
      finished_at         timestamptz,
      exit_code           integer,
      signal              text,
      reason              text,
      workspace_id        uuid references workspaces (id) on delete set null,
      host_id             uuid references hosts (id) on delete set null,
      cwd                 text,
      env                 jsonb not null default '{}',
      color               boolean not null default true,
      timeout_seconds     double precision check (timeout_seconds >= 0),
      cols                integer not null default 80,
      rows                integer not null default 24,
      idempotency_key     text,
      created_at          timestamptz not null default now(),
      created_by          text not null,
      cancel_requested_at timestamptz,
      cancel_requested_by text,
      agent               text,
      fence               integer not null default 0,
      last_seq            integer not null default 0,
      stdout_bytes        bigint not null default 0,
      stderr_bytes        bigint not null default 0,
      line_counts         integer[] not null default '{0,0,0,0,0}',
      stdout_line         integer,
      stderr_line         integer,
      cut_bytes           bigint not null default 0,
      log_verified        boolean not null default false,
      log_expired         boolean not null default false,
      marks_seq           integer not null default 0,
      error_count         integer not null default 0,
      warning_count       integer not null default 0,
      secrets             bytea,
      secret_names        text[] not null default '{}'
    )`.execute(db);
  await sql`create index idx_jobs_status on jobs (status)`.execute(db);
  // The queue and an agent's own jobs are a handful among millions: both are found by this small index.
  await sql`
    create index idx_jobs_open on jobs (status, id)
      where status in ('pending', 'hold', 'acknowledged', 'running')`.execute(db);
  await sql`create index idx_jobs_workspace on jobs (workspace_id, id)`.execute(db);
  await sql`create index idx_jobs_command on jobs using gin (command gin_trgm_ops)`.execute(db);
  await sql`
    create unique index idx_jobs_idempotency on jobs (created_by, idempotency_key)
      where idempotency_key is not null`.execute(db);
  // Partitioned by day, so that retention drops whole tables; partitions are made as they are needed.
  await sql`
    create table job_events (
      id            bigserial,
      job_id        uuid not null references jobs (id) on delete cascade,
      ts            timestamptz not null default now(),
      stream        text not null check (stream in ('stdout', 'stderr', 'system', 'boot', 'command')),
      chunk         bytea not null,
      seq           integer not null check (seq >= 1),
      stream_offset bigint not null,
      size          integer not null,
      codec         smallint not null default 0,
      lines_before  integer[] not null,
      continues     integer,
      primary key (id, ts)
    ) partition by range (ts)`.execute(db);
  // Chunks are compressed by us where it pays: Postgres's own compression halves the speed of a flood.
  await sql`alter table job_events alter column chunk set storage external`.execute(db);
  await sql`create index idx_job_events_job_id_ts on job_events (job_id, ts)`.execute(db);
  await sql`create unique index idx_job_events_job_id_seq on job_events (job_id, seq, ts)`.execute(db);
  // Logs that have ended and are still to be looked through; mostly none.
  await sql`
    create index idx_jobs_unmarked on jobs (id)
      where finished_at is not null and marks_seq < last_seq and not log_expired`.execute(db);
  await sql`
    create table job_marks (
      job_id   uuid not null references jobs (id) on delete cascade,
      number   integer not null,
      kind     text not null check (kind in ('group', 'recipe', 'directory', 'error', 'warning')),
      line     integer not null,
      end_line integer,
      depth    integer not null default 0,
      words    text not null,
      primary key (job_id, number)
    )`.execute(db);
}
