import { sql, type Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import type { LogStream } from '@vmo/contract';
import type { JobRow } from './repository.ts';

type Db = Kysely<Database>;

export interface NewEvent {
  seq: number;
  ts: Date;
  stream: LogStream;
  streamOffset: number;
  size: number;
  codec: number;
  chunk: Buffer;
  linesBefore: number;
}

export interface StoredEvent {
  seq: number;
  ts: Date;
  stream: LogStream;
  stream_offset: number;
  codec: number;
  chunk: Buffer;
}

/**
 * All events of one append in one statement. A parameter per value rather than arrays with `unnest`: pg sends a Buffer
 * as binary, but writes one inside an array as hexadecimal text, which made 100 MB of random bytes take 11.7 s instead of 4.9 s.
 */
export async function insertEvents(trx: Db, jobId: string, events: readonly NewEvent[]): Promise<void> {
  await trx
    .insertInto('job_events')
    .values(
      events.map((event) => ({
        job_id: jobId,
        seq: event.seq,
        ts: event.ts,
        stream: event.stream,
        stream_offset: event.streamOffset,
        size: event.size,
        codec: event.codec,
        chunk: event.chunk,
        lines_before: event.linesBefore,
      })),
    )
    .execute();
}

/** Moves the counters of a locked job to where its log now ends. */
export async function moveLogEnd(
  trx: Db,
  jobId: string,
  end: Pick<
    JobRow,
    'last_seq' | 'stdout_bytes' | 'stderr_bytes' | 'line_count' | 'stdout_open' | 'stderr_open'
  >,
): Promise<void> {
  await trx.updateTable('jobs').set(end).where('id', '=', jobId).execute();
}

/**
 * Events after `afterSeq` in order, at most `limit` and about `maxBytes` of output, always at least one where there is
 * one. No event is older than its job, which tells the planner the partitions. Expected plan: idx_job_events_job_id_seq.
 */
export async function selectEvents(
  db: Db,
  job: Pick<JobRow, 'id' | 'created_at'>,
  range: { afterSeq: number; limit: number; maxBytes: number; streams?: readonly LogStream[] },
): Promise<StoredEvent[]> {
  const streams = range.streams ? sql`and stream = any(${[...range.streams]}::text[])` : sql``;
  const { rows } = await sql<StoredEvent>`
    select seq, ts, stream, stream_offset, codec, chunk
    from (
      select seq, ts, stream, stream_offset, codec, chunk,
             sum(size) over (order by seq rows unbounded preceding) - size as bytes_before
      from (
        select seq, ts, stream, stream_offset, codec, chunk, size
        from job_events
        where job_id = ${job.id} and ts >= ${job.created_at} and seq > ${range.afterSeq} ${streams}
        order by seq
        limit ${range.limit}
      ) as next
    ) as counted
    where bytes_before < ${range.maxBytes}
    order by seq`.execute(db);
  return rows;
}

/** The last event of stdout that ends at or before this byte: what comes after it covers the byte. */
export async function findSeqBefore(
  db: Db,
  job: Pick<JobRow, 'id' | 'created_at'>,
  offset: number,
): Promise<number> {
  const row = await db
    .selectFrom('job_events')
    .select('seq')
    .where('job_id', '=', job.id)
    .where('ts', '>=', job.created_at)
    .where('stream', '=', 'stdout')
    .where((eb) => eb(eb('stream_offset', '+', eb.ref('size')), '<=', offset))
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.seq ?? 0;
}

const partitionName = (day: string) => `job_events_${day.replaceAll('-', '')}`;

/** Makes the partition of a day (`YYYY-MM-DD`, UTC) where it is missing. Several servers may do so at once. */
export async function ensurePartition(db: Db, day: string): Promise<void> {
  const next = new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString();
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('vmo:job_events:partitions'))`.execute(trx);
    await sql`
      create table if not exists ${sql.table(partitionName(day))} partition of job_events
      for values from (${sql.lit(`${day}T00:00:00Z`)}) to (${sql.lit(next)})`.execute(trx);
  });
}

/** Partitions of the log, as the day that each holds, oldest first. */
export async function listPartitionDays(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select child.relname as name
    from pg_inherits
    join pg_class child on child.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'job_events'::regclass
    order by child.relname`.execute(db);
  return rows.flatMap(({ name }) => {
    const match = /^job_events_(\d{4})(\d{2})(\d{2})$/.exec(name);
    return match ? [match.slice(1).join('-')] : [];
  });
}

export async function dropPartition(db: Db, day: string): Promise<void> {
  await sql`drop table if exists ${sql.table(partitionName(day))}`.execute(db);
}
