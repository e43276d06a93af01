import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table vm_templates (
      id          uuid primary key,
      name        text not null,
      definition  jsonb not null,
      created_at  timestamptz not null default now(),
      created_by  text not null
    )`.execute(db);
  await sql`create unique index idx_vm_templates_name on vm_templates (lower(name))`.execute(db);
  await sql`
    create table vms (
      id               uuid primary key,
      name             text not null,
      status           text not null check (status in ('stopped', 'starting', 'running', 'paused', 'stopping',
                         'crashed', 'unknown')),
      reason           text,
      cpus             integer not null check (cpus >= 1),
      max_cpus         integer not null check (max_cpus >= cpus),
      memory_mib       integer not null check (memory_mib >= 1),
      max_memory_mib   integer not null check (max_memory_mib >= memory_mib),
      boot             jsonb not null,
      network          jsonb not null,
      display          text not null check (display in ('vnc', 'none')),
      -- Of a template file: whoever writes there is trusted.
      arguments        text[] not null default '{}',
      template_id      uuid,
      job_id           uuid references jobs (id) on delete set null,
      -- Of the run that goes on.
      pid              integer,
      qemu_version     text,
      accelerator      text check (accelerator in ('kvm', 'tcg')),
      ports            jsonb not null default '[]',
      started_at       timestamptz,
      ended_by         text check (ended_by in ('guest', 'guest-agent', 'acpi', 'quit', 'sigterm', 'sigkill', 'crash')),
      created_at       timestamptz not null default now(),
      created_by       text not null
    )`.execute(db);
  // "C": sorted as the page sorts, and the index gives a page of the list in order.
  await sql`create unique index idx_vms_name on vms (name collate "C")`.execute(db);
  await sql`create index idx_vms_live on vms (id) where status not in ('stopped', 'crashed')`.execute(db);
  await sql`create index idx_vms_name_words on vms using gin (name gin_trgm_ops)`.execute(db);
  await sql`create index idx_vms_job on vms (job_id)`.execute(db);
  await sql`
    create table images (
      name               text primary key,
      kind               text not null check (kind in ('disk', 'kernel', 'initrd')),
      format             text check (format in ('qcow2', 'raw')),
      size_bytes         bigint not null check (size_bytes >= 1),
      virtual_size_bytes bigint,
      sha256             text,
      expected_sha256    text,
      state              text not null check (state in ('uploading', 'checking', 'ready', 'refused')),
      received_bytes     bigint not null default 0,
      reason             text,
      created_at         timestamptz not null default now(),
      created_by         text not null
    )`.execute(db);
  await sql`
    create table disks (
      id          uuid primary key,
      name        text not null,
      -- Below the storage path.
      file        text not null unique,
      format      text not null check (format in ('qcow2', 'raw')),
      size_bytes  bigint not null check (size_bytes >= 1),
      -- What it lies on, the nearest first: file and format of each.
      chain       jsonb not null default '[]',
      image       text references images (name) on delete restrict,
      -- One machine at a time; null: nobody uses it.
      vm_id       uuid references vms (id) on delete set null,
      -- Order in the machine; 0 is the first disk, which stays.
      slot        integer,
      read_only   boolean not null default false,
      attachment  text check (attachment in ('attached', 'attaching', 'detaching')),
      created_at  timestamptz not null default now(),
      created_by  text not null,
      check ((vm_id is null) = (slot is null and attachment is null))
    )`.execute(db);
  await sql`create unique index idx_disks_slot on disks (vm_id, slot)`.execute(db);
  await sql`create index idx_disks_image on disks (image)`.execute(db);
  await sql`
    create table vm_snapshots (
      id          uuid primary key,
      vm_id       uuid not null references vms (id) on delete cascade,
      name        text not null,
      parent_id   uuid references vm_snapshots (id) on delete set null,
      kind        text not null check (kind in ('ram', 'disk')),
      state       text not null check (state in ('creating', 'ready', 'deleting')),
      current     boolean not null default false,
      size_bytes  bigint,
      -- What goes with it: the files of its disks below the storage path, by disk.
      files       jsonb not null default '{}',
      created_at  timestamptz not null default now(),
      created_by  text not null
    )`.execute(db);
  await sql`create unique index idx_vm_snapshots_name on vm_snapshots (vm_id, lower(name))`.execute(db);
  await sql`
    create table vm_operations (
      id          uuid primary key,
      vm_id       uuid not null,
      vm_name     text not null,
      kind        text not null,
      status      text not null check (status in ('queued', 'running', 'done', 'failed')),
      -- What it needs to be carried out, also after a restart.
      request     jsonb not null default '{}',
      detail      text,
      result      text,
      created_at  timestamptz not null default now(),
      created_by  text not null,
      started_at  timestamptz,
      finished_at timestamptz
    )`.execute(db);
  await sql`create index idx_vm_operations_vm on vm_operations (vm_id, id)`.execute(db);
  await sql`create index idx_vm_operations_open on vm_operations (id) where status in ('queued', 'running')`.execute(
    db,
  );
  // Partitioned by day, as the log is. every_seconds: 10 for looks, 300 for their roll-ups, which are kept longer.
  for (const table of ['vm_metrics', 'vm_metrics_rolled']) {
    await sql`
      create table ${sql.table(table)} (
        vm_id            uuid not null,
        at               timestamptz not null,
        cpu_percent      real,
        memory_mib       real,
        guest_used_mib   real,
        disk_read_bps    real,
        disk_write_bps   real,
        net_received_bps real,
        net_sent_bps     real,
        primary key (vm_id, at)
      ) partition by range (at)`.execute(db);
  }
  await sql`
    alter table jobs
      add column boot_bytes bigint not null default 0,
      add column boot_line integer,
      add column vm_id uuid,
      -- What the agent needs to run a machine.
      add column vm jsonb`.execute(db);
  await sql`create index idx_jobs_vm on jobs (vm_id, id) where vm_id is not null`.execute(db);
}
