import { Readable } from 'node:stream';
import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import {
  JobId,
  type SpoolStream,
  type EventPage,
  type JobEvent,
  type LogStream,
  type Offsets,
  type SpoolChunk,
} from '@vmo/contract';
import { decodeChunk, decodeText, encodeChunk } from './codec.ts';
import {
  ensurePartition,
  insertEvents,
  moveLogEnd,
  selectEvents,
  type NewEvent,
  type StoredEvent,
} from './log-repository.ts';
import type { JobRow } from './repository.ts';

type Db = Kysely<Database>;

/** Output of one read: enough to keep a reader busy, little enough to be forgotten at once. */
const readBytes = 1024 * 1024;

/** A chunk on its way into the log, already packed: packing must not happen while the job's row is locked. */
export interface PackedChunk {
  stream: LogStream;
  /** Byte offset in its stream; null for the cockpit's own words, which have no spool. */
  offset: number | null;
  bytes: Buffer;
  codec: number;
  chunk: Buffer;
  ts: Date;
}

export async function packChunk(chunk: SpoolChunk): Promise<PackedChunk> {
  const bytes = Buffer.from(chunk.bytes.buffer, chunk.bytes.byteOffset, chunk.bytes.byteLength);
  return { stream: chunk.stream, offset: chunk.offset, bytes, ts: chunk.ts, ...(await encodeChunk(bytes)) };
}

export function packLines(lines: readonly string[], ts: Date): PackedChunk[] {
  if (lines.length === 0) return [];
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  return [{ stream: 'system', offset: null, bytes, codec: 0, chunk: bytes, ts }];
}

/** Where a job's log ends: kept in its row, moved by every append. */
type LogEnd = Pick<
  JobRow,
  'last_seq' | 'stdout_bytes' | 'stderr_bytes' | 'line_count' | 'stdout_open' | 'stderr_open'
>;

export const storedOffsets = (row: LogEnd): Offsets => ({
  stdout: row.stdout_bytes,
  stderr: row.stderr_bytes,
});

/**
 * Drops what is stored already and checks that the rest goes on exactly where the log ends.
 * @returns the chunks to store, or null when there is a gap: the sender must go back to `storedOffsets`
 */
export async function trimToEnd(row: LogEnd, chunks: readonly PackedChunk[]): Promise<PackedChunk[] | null> {
  const end = storedOffsets(row);
  const fresh: PackedChunk[] = [];
  for (const chunk of chunks) {
    const { stream, offset } = chunk;
    if (offset === null || (stream !== 'stdout' && stream !== 'stderr')) {
      fresh.push(chunk);
      continue;
    }
    if (offset > end[stream]) return null;
    const known = end[stream] - offset;
    if (known >= chunk.bytes.length) continue;
    if (known === 0) fresh.push(chunk);
    else {
      const rest = chunk.bytes.subarray(known);
      fresh.push({ ...chunk, offset: end[stream], bytes: rest, ...(await encodeChunk(rest)) });
    }
    end[stream] = offset + chunk.bytes.length;
  }
  return fresh;
}

const day = (ts: Date) => ts.toISOString().slice(0, 10);

export interface Log {
  /**
   * Stores chunks behind the end of a job's log, in the caller's transaction and under its lock on the row.
   * @returns the events, to be told after the commit
   */
  append(trx: Db, row: JobRow, chunks: readonly PackedChunk[]): Promise<JobEvent[]>;
  read(row: JobRow, afterSeq: number, limit: number): Promise<EventPage>;
  raw(row: JobRow, streams: readonly LogStream[]): Readable;
  /** Makes the partitions that `append` is going to need. Outside of its transaction: a rollback must not undo it. */
  ensurePartitions(chunks: readonly { ts: Date }[]): Promise<void>;
}

export function createLog(db: Db): Log {
  const knownDays = new Set<string>();

  /** No event is older than its job: reading relies on it to look only into the partitions since then. */
  function timeOf(row: JobRow, ts: Date): Date {
    return ts < row.created_at ? row.created_at : ts;
  }

  async function* rawChunks(row: JobRow, streams: readonly LogStream[]): AsyncGenerator<Buffer> {
    for (let afterSeq = 0; ;) {
      const events = await selectEvents(db, row, { afterSeq, limit: 1000, maxBytes: readBytes, streams });
      if (events.length === 0) return;
      for (const event of events) {
        yield await decodeChunk(event.codec, event.chunk);
        afterSeq = event.seq;
      }
    }
  }

  return {
    async append(trx, row, chunks) {
      if (chunks.length === 0) return [];
      const jobId = JobId.parse(row.id);
      const open = { stdout: row.stdout_open, stderr: row.stderr_open };
      const bytes: Record<SpoolStream, number> = storedOffsets(row);
      let seq = row.last_seq;
      let lines = row.line_count;
      const stored: NewEvent[] = [];
      const told: JobEvent[] = [];
      for (const chunk of chunks) {
        seq += 1;
        const ts = timeOf(row, chunk.ts);
        stored.push({
          seq,
          ts,
          stream: chunk.stream,
          streamOffset: chunk.offset ?? 0,
          size: chunk.bytes.length,
          codec: chunk.codec,
          chunk: chunk.chunk,
          linesBefore: lines,
        });
        told.push({ jobId, seq, stream: chunk.stream, chunk: decodeText(chunk.bytes), ts: ts.toISOString() });
        // A line begins with the first byte after a line end of its own stream.
        const spool = chunk.stream === 'stdout' || chunk.stream === 'stderr' ? chunk.stream : null;
        const ends = countNewlines(chunk.bytes);
        const endsOpen = chunk.bytes.at(-1) !== 0x0a;
        lines += ends + (endsOpen ? 1 : 0) - (spool && open[spool] ? 1 : 0);
        if (spool) {
          open[spool] = endsOpen;
          bytes[spool] += chunk.bytes.length;
        }
      }
      await insertEvents(trx, row.id, stored);
      await moveLogEnd(trx, row.id, {
        last_seq: seq,
        line_count: lines,
        stdout_bytes: bytes.stdout,
        stderr_bytes: bytes.stderr,
        stdout_open: open.stdout,
        stderr_open: open.stderr,
      });
      return told;
    },

    async read(row, afterSeq, limit) {
      const events = await selectEvents(db, row, { afterSeq, limit, maxBytes: readBytes });
      return { events: await Promise.all(events.map((event) => toEvent(row, event))), lastSeq: row.last_seq };
    },

    raw: (row, streams) => Readable.from(rawChunks(row, streams)),

    async ensurePartitions(chunks) {
      for (const needed of new Set(chunks.map((chunk) => day(chunk.ts)))) {
        if (knownDays.has(needed)) continue;
        await ensurePartition(db, needed);
        knownDays.add(needed);
      }
    },
  };
}

export async function toEvent(row: JobRow, event: StoredEvent): Promise<JobEvent> {
  const bytes = await decodeChunk(event.codec, event.chunk);
  return {
    jobId: JobId.parse(row.id),
    seq: event.seq,
    stream: event.stream,
    chunk: decodeText(bytes),
    ts: event.ts.toISOString(),
  };
}

function countNewlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) count += 1;
  return count;
}
