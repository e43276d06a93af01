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
  /** Lines begun so far, per stream in the order of `LogStream`; their sum gives every line its number. */
  line_counts: Generated<number[]>;
  /** The number of the line that the stream has not ended yet; its next bytes belong to it. */
  stdout_line: number | null;
  stderr_line: number | null;
  /** Bytes in the middle that were left out because the log is above its size limit. */
  cut_bytes: Generated<number>;
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

export interface Database {
  jobs: JobsTable;
  job_events: JobEventsTable;
  job_marks: JobMarksTable;
  workspaces: WorkspacesTable;
  hosts: HostsTable;
  sessions: SessionsTable;
  audit: AuditTable;
}
