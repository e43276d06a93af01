import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/** Set by the database at insert; never changed by us. */
type CreatedAt = ColumnType<Date, Date | undefined, never>;
type NullableJson = JSONColumnType<Record<string, string>>;

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
  /** Lines begun so far, over all streams; gives every line its number. */
  line_count: Generated<number>;
  /** Streams whose last line has not ended: their next bytes belong to a line that already has its number. */
  stdout_open: Generated<boolean>;
  stderr_open: Generated<boolean>;
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
  /** Lines begun in the whole job before this chunk. */
  lines_before: number;
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

export interface Database {
  jobs: JobsTable;
  job_events: JobEventsTable;
  workspaces: WorkspacesTable;
  hosts: HostsTable;
  sessions: SessionsTable;
  audit: AuditTable;
}
