import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/** Set by the database at insert; never changed by us. */
type CreatedAt = ColumnType<Date, Date | undefined, never>;
type NullableJson = JSONColumnType<Record<string, string>>;
/** Parsed where it is read, for other versions may have written it; set as JSON text. */
type Json = ColumnType<unknown, string, string>;

export interface JobsTable {
  id: string;
  command: string;
  type: string;
  status: string;
  started_at: Date | null;
  finished_at: Date | null;
  exit_code: number | null;
  signal: string | null;
  reason: string | null;
  workspace_id: string | null;
  host_id: string | null;
  cwd: string | null;
  env: NullableJson;
  color: Generated<boolean>;
  timeout_seconds: number | null;
  cols: Generated<number>;
  rows: Generated<number>;
  idempotency_key: string | null;
  created_at: CreatedAt;
  created_by: string;
  cancel_requested_at: Date | null;
  cancel_requested_by: string | null;
  agent: string | null;
  /** Counts the times that an agent took the job; a write that carries an older one is refused. */
  fence: Generated<number>;
  last_seq: Generated<number>;
  stdout_bytes: Generated<number>;
  stderr_bytes: Generated<number>;
  boot_bytes: Generated<number>;
  command_bytes: Generated<number>;
  /** Lines begun so far, per stream in the order of `LogStream`; their sum gives every line its number. */
  line_counts: Generated<number[]>;
  /** The number of the line that the stream has not ended yet; its next bytes belong to it. */
  stdout_line: number | null;
  stderr_line: number | null;
  boot_line: number | null;
  command_line: number | null;
  /** The styles that are on where the log ends, per stream in the order of `LogStream`; empty: none. */
  styles: Generated<string[]>;
  /** Bytes in the middle that were left out because the log is above its size limit. */
  cut_bytes: Generated<number>;
  /** The event up to which a long console is always kept; behind it only its newest part is. */
  head_seq: number | null;
  /** The SHA-256 of each stored stream was found equal to that of what the command wrote. */
  log_verified: Generated<boolean>;
  /** Retention has removed the log, or its beginning. */
  log_expired: Generated<boolean>;
  /** Groups, errors and warnings have been looked for up to this event. */
  marks_seq: Generated<number>;
  error_count: Generated<number>;
  warning_count: Generated<number>;
  /** Secret variables, sealed with the key in the data directory; gone when the job has ended. */
  secrets: Buffer | null;
  secret_names: Generated<string[]>;
  /** The machine that a job of type `vm` runs, and what the agent needs for it. */
  vm_id: string | null;
  vm: ColumnType<unknown, string | null | undefined, never>;
  /** Higher goes first. */
  priority: Generated<number>;
  /** Who may take it and which kind of place it takes, see `jobs/queue.ts`. */
  queue: Generated<string>;
  need_cpus: Generated<number>;
  need_memory_mib: Generated<number>;
  /** Counts from 1. */
  attempt: Generated<number>;
  /** Attempts that may still follow when one is lost. */
  retries: Generated<number>;
  /** Where the output of this attempt begins in the stored log. */
  stdout_base: Generated<number>;
  stderr_base: Generated<number>;
  boot_base: Generated<number>;
  command_base: Generated<number>;
}

export interface AgentsTable {
  id: string;
  name: string;
  kind: string;
  /** SHA-256 of the token. */
  token_hash: Buffer | null;
  /** The data directory that uses the token. */
  installation: string | null;
  /** Version of the agent contract that it speaks. */
  contract: number | null;
  version: string | null;
  capacity: Json;
  lease_until: Date | null;
  seen_at: Date | null;
  draining: Generated<boolean>;
  /** It was asked to end and takes no more. */
  leaving: Generated<boolean>;
  revoked_at: Date | null;
  created_at: CreatedAt;
  created_by: string;
}

/** Of a simulation request: what the agent fetches, and what it says of it. */
export interface JobPlansTable {
  job_id: string;
  plan: ColumnType<unknown, string, never>;
  progress: ColumnType<unknown, string | null | undefined, string | null>;
  updated_at: ColumnType<Date, Date | undefined, Date>;
}

/** A job of type `vm` whose machine is thrown away at its end. */
export interface RequestsTable {
  id: string;
  vm_name: string;
  vm_kind: string;
  /** As it was sent. */
  submission: ColumnType<unknown, string, never>;
  batch_id: string | null;
  labels: ColumnType<unknown, string, never>;
  /** The disks of its machine are kept until then. */
  kept_until: Date | null;
  discarded_at: Date | null;
  /** The machine that was made of them. */
  opened_vm_id: string | null;
  /** Of disks that an agent on another machine has: how far they are on their way here. */
  bring_state: string | null;
  bring_received: Generated<number>;
  /** Bytes of all of them, as their agent says. */
  bring_size: number | null;
  bring_reason: string | null;
}

export interface JobEventsTable {
  id: Generated<number>;
  job_id: string;
  seq: number;
  ts: Date;
  stream: string;
  /** Byte offset of the chunk's first byte in its stream. */
  stream_offset: number;
  /** Bytes as the job wrote them; `chunk` may hold fewer, see `codec`. */
  size: number;
  /** 0: as written; 1: zstd. */
  codec: number;
  chunk: Buffer;
  /** Lines begun in the whole job before this chunk, per stream in the order of `LogStream`. */
  lines_before: number[];
  /** The number of the line that the chunk goes on with; null: it begins one. */
  continues: number | null;
  /** The escape sequence for the style that is on where the chunk begins; null: stored before this was followed. */
  style: string | null;
}

/** Groups that fold, and errors and warnings, in the logs of jobs that have ended. */
export interface JobMarksTable {
  job_id: string;
  /** Order within the job. */
  number: number;
  kind: string;
  line: number;
  /** Groups: the last line. */
  end_line: number | null;
  depth: number;
  words: string;
}

export interface WorkspacesTable {
  id: string;
  name: string;
  directory: string;
  host_id: string | null;
  created_at: CreatedAt;
  created_by: string;
}

export interface HostsTable {
  id: string;
  name: string;
  address: string;
  user: string | null;
  port: number | null;
  identity_file: string | null;
  created_at: CreatedAt;
  created_by: string;
}

export interface SessionsTable {
  id: string;
  /** SHA-256 of the cookie's 32 random bytes. */
  token_hash: Buffer;
  user_name: string;
  created_at: CreatedAt;
  expires_at: Date;
  revoked_at: Date | null;
  address: string | null;
}

export interface AuditTable {
  id: Generated<number>;
  at: CreatedAt;
  actor: string;
  address: string | null;
  action: string;
  subject: string;
  detail: JSONColumnType<Record<string, unknown>>;
}

export interface VmsTable {
  id: string;
  name: string;
  status: string;
  reason: string | null;
  cpus: number;
  max_cpus: number;
  memory_mib: number;
  max_memory_mib: number;
  boot: Json;
  network: Json;
  display: string;
  /** For QEMU, from a template file: whoever writes there is trusted. */
  arguments: Generated<string[]>;
  template_id: string | null;
  job_id: string | null;
  pid: number | null;
  qemu_version: string | null;
  accelerator: string | null;
  ports: ColumnType<unknown, string | undefined, string>;
  started_at: Date | null;
  ended_by: string | null;
  created_at: CreatedAt;
  created_by: string;
}

export interface VmTemplatesTable {
  id: string;
  name: string;
  definition: Json;
  created_at: CreatedAt;
  created_by: string;
}

export interface ImagesTable {
  name: string;
  kind: string;
  format: string | null;
  size_bytes: number;
  virtual_size_bytes: number | null;
  sha256: string | null;
  expected_sha256: string | null;
  /** The file that `sha256` is of, as it was when that was computed; null: that is not known. */
  sha256_of: string | null;
  state: string;
  received_bytes: Generated<number>;
  reason: string | null;
  created_at: CreatedAt;
  created_by: string;
}

export interface DisksTable {
  id: string;
  name: string;
  /** Below the storage path. */
  file: string;
  format: string;
  size_bytes: number;
  /** What it lies on, the nearest first: file and format of each. */
  chain: ColumnType<unknown, string | undefined, string>;
  /** The file that it is being switched to, with what that lies on. */
  pending: ColumnType<unknown, string | null | undefined, string | null>;
  image: string | null;
  vm_id: string | null;
  /** Order in the machine; 0 is the first disk, which stays. */
  slot: number | null;
  read_only: Generated<boolean>;
  attachment: string | null;
  state: Generated<string>;
  reason: string | null;
  error_code: string | null;
  /** What it is growing to. */
  grow_to: number | null;
  created_at: CreatedAt;
  created_by: string;
}

export interface FilesToRemoveTable {
  /** Below the storage path. */
  file: string;
  created_at: CreatedAt;
}

export interface VmSnapshotsTable {
  id: string;
  vm_id: string;
  name: string;
  parent_id: string | null;
  kind: string;
  state: string;
  current: Generated<boolean>;
  size_bytes: number | null;
  /** Files of its disks below the storage path, by disk. */
  files: ColumnType<unknown, string | undefined, string>;
  /** Of one with memory: the machine that it fits. */
  hardware: ColumnType<unknown, string | null | undefined, string | null>;
  created_at: CreatedAt;
  created_by: string;
}

export interface VmOperationsTable {
  id: string;
  vm_id: string;
  vm_name: string;
  kind: string;
  status: string;
  /** What it needs to be carried out, also after a restart. */
  request: ColumnType<unknown, string | undefined, string>;
  detail: string | null;
  result: string | null;
  error_code: string | null;
  created_at: CreatedAt;
  created_by: string;
  started_at: Date | null;
  finished_at: Date | null;
}

/** Of looks every 10 s, and of their roll-ups over 300 s. */
export interface VmMetricsTable {
  vm_id: string;
  at: Date;
  cpu_percent: number | null;
  memory_mib: number | null;
  guest_used_mib: number | null;
  disk_read_bps: number | null;
  disk_write_bps: number | null;
  net_received_bps: number | null;
  net_sent_bps: number | null;
}

/** The same of the machines that run them. */
export interface HostMetricsTable {
  host: string;
  at: Date;
  cpu_percent: number | null;
  memory_mib: number | null;
  storage_bytes: number | null;
  disk_read_bps: number | null;
  disk_write_bps: number | null;
  net_received_bps: number | null;
  net_sent_bps: number | null;
}

export interface Database {
  jobs: JobsTable;
  job_events: JobEventsTable;
  job_marks: JobMarksTable;
  job_plans: JobPlansTable;
  requests: RequestsTable;
  workspaces: WorkspacesTable;
  hosts: HostsTable;
  sessions: SessionsTable;
  audit: AuditTable;
  agents: AgentsTable;
  vms: VmsTable;
  vm_templates: VmTemplatesTable;
  images: ImagesTable;
  disks: DisksTable;
  files_to_remove: FilesToRemoveTable;
  vm_snapshots: VmSnapshotsTable;
  vm_operations: VmOperationsTable;
  vm_metrics: VmMetricsTable;
  vm_metrics_rolled: VmMetricsTable;
  host_metrics: HostMetricsTable;
  host_metrics_rolled: HostMetricsTable;
}
