import { Readable } from 'node:stream';
import type { Kysely } from 'kysely';
import { carryStyle, wholeStyle } from '@vmo/ansi';
import type { Database } from '@vmo/db';
import {
  JobId,
  type EventPage,
  type JobEvent,
  LogStream,
  type Offsets,
  type SpoolChunk,
} from '@vmo/contract';
import { decodeStored, decodeText, encodeChunk } from './codec.ts';
import { createGroupAppend } from './group-append.ts';
import { isSpool, storedOffsets } from './log-end.ts';
import {
  ensurePartition,
  insertEvents,
  leaveOut,
  moveLogEnd,
  type LogEndColumns,
  type NewEvent,
  type StoredEvent,
} from './log-repository.ts';
import type { JobRow } from './repository.ts';
import { readEvents } from './stored-events.ts';

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

/** Clocks of two hosts differ by less. */
const aheadMs = 60_000;

/** An agent whose clock is far ahead must not store output where retention comes only when that time has come. */
const notAhead = (ts: Date): Date => new Date(Math.min(ts.getTime(), Date.now() + aheadMs));

export async function packChunk(chunk: SpoolChunk): Promise<PackedChunk> {
  const bytes = Buffer.from(chunk.bytes.buffer, chunk.bytes.byteOffset, chunk.bytes.byteLength);
  return {
    stream: chunk.stream,
    offset: chunk.offset,
    bytes,
    ts: notAhead(chunk.ts),
    ...(await encodeChunk(bytes)),
  };
}

export function packLines(lines: readonly string[], ts: Date): PackedChunk[] {
  if (lines.length === 0) return [];
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  return [{ stream: 'system', offset: null, bytes, codec: 0, chunk: bytes, ts }];
}

type Bases = Pick<JobRow, 'stdout_base' | 'stderr_base' | 'boot_base' | 'command_base'>;

/** Where the output of the attempt that is under way begins in the stored log. */
export const attemptBase = (row: Bases): Offsets => ({
  stdout: row.stdout_base,
  stderr: row.stderr_base,
  boot: row.boot_base,
  command: row.command_base,
});

/**
 * Drops what is stored already and checks that the rest goes on exactly where the log ends.
 * @returns the chunks to store, or null when there is a gap: the sender must go back to `storedOffsets`
 */
export async function trimToEnd(
  row: LogEndColumns,
  chunks: readonly PackedChunk[],
): Promise<PackedChunk[] | null> {
  const end = storedOffsets(row);
  const fresh: PackedChunk[] = [];
  for (const chunk of chunks) {
    const { stream, offset } = chunk;
    if (offset === null || !isSpool(stream)) {
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

const streams = LogStream.options;
export const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);

/** The end of a log as this process left it, of a job whose agent has this fence. */
export type KnownEnd = LogEndColumns & Pick<JobRow, 'id' | 'fence' | 'created_at'> & Bases;

/** No event is older than its job: reading relies on it to look only into the partitions since then. */
function timeOf({ created_at: createdAt }: Pick<JobRow, 'created_at'>, ts: Date): Date {
  return ts < createdAt ? createdAt : ts;
}

/** What becomes of chunks behind the end of a log, and where it ends then. */
function planAppend(
  row: LogEndColumns & Pick<JobRow, 'id' | 'created_at'>,
  chunks: readonly PackedChunk[],
): { stored: NewEvent[]; told: JobEvent[]; end: LogEndColumns } {
  const jobId = JobId.parse(row.id);
  const open = {
    stdout: row.stdout_line,
    stderr: row.stderr_line,
    boot: row.boot_line,
    command: row.command_line,
  };
  const bytes = storedOffsets(row);
  const counts = [...row.line_counts];
  const styles = streams.map((_, index) => row.styles[index] ?? '');
  let seq = row.last_seq;
  let total = sum(counts);
  const stored: NewEvent[] = [];
  const told: JobEvent[] = [];
  for (const chunk of chunks) {
    const { stream } = chunk;
    seq += 1;
    const ts = timeOf(row, chunk.ts);
    const spool = isSpool(stream) ? stream : null;
    const continues = spool && open[spool];
    const at = streams.indexOf(stream);
    const text = decodeText(chunk.bytes);
    const carried = styles[at] ?? '';
    const style = continues === null ? wholeStyle(carried) : carried;
    styles[at] = carryStyle(style, text);
    stored.push({
      seq,
      ts,
      stream,
      streamOffset: chunk.offset ?? 0,
      size: chunk.bytes.length,
      codec: chunk.codec,
      chunk: chunk.chunk,
      linesBefore: [...counts],
      continues,
      style,
    });
    told.push({
      jobId,
      seq,
      stream,
      chunk: text,
      ts: ts.toISOString(),
      linesBefore: total,
      continues,
      style,
    });
    // A line begins with the first byte after a line end of its own stream.
    const endsOpen = chunk.bytes.at(-1) !== 0x0a;
    const begun = countNewlines(chunk.bytes) + (endsOpen ? 1 : 0) - (continues === null ? 0 : 1);
    counts[at] = (counts[at] ?? 0) + begun;
    total += begun;
    if (spool) {
      open[spool] = endsOpen ? (begun > 0 ? total : continues) : null;
      bytes[spool] += chunk.bytes.length;
    }
  }
  const end = {
    last_seq: seq,
    line_counts: counts,
    stdout_bytes: bytes.stdout,
    stderr_bytes: bytes.stderr,
    boot_bytes: bytes.boot,
    command_bytes: bytes.command,
    stdout_line: open.stdout,
    stderr_line: open.stderr,
    boot_line: open.boot,
    command_line: open.command,
    // Mostly none is left on: nothing is stored then.
    styles: styles.some((style) => style !== '') ? styles : [],
  };
  return { stored, told, end };
}

const day = (ts: Date) => ts.toISOString().slice(0, 10);

export interface LogRange {
  afterSeq: number;
  limit: number;
  offset: number;
  since?: Date | undefined;
  streams: readonly LogStream[];
}

export interface Log {
  /**
   * Stores chunks behind the end of a job's log, in the caller's transaction and under its lock on the row.
   * @returns the events, to be told after the commit
   */
  append(trx: Db, row: JobRow, chunks: readonly PackedChunk[]): Promise<JobEvent[]>;
  /**
   * As `append`, in a statement that may be shared with other jobs, for a log that is known to end `at` and is not empty
   * to add.
   * @returns where it ends now; null: it ends elsewhere, or the job is not the agent's any more, and nothing was stored
   */
  appendBehind(
    at: KnownEnd,
    chunks: readonly PackedChunk[],
  ): Promise<{ told: JobEvent[]; at: KnownEnd } | null>;
  /** Goes on at `to`: what lies between is left out, and `words` say so. As `append`. */
  cut(trx: Db, row: JobRow, to: Offsets, words: readonly PackedChunk[]): Promise<JobEvent[]>;
  /** At most `limit` events and about `maxBytes` of output, always at least one event where there is one. */
  read(row: JobRow, afterSeq: number, limit: number, maxBytes?: number): Promise<EventPage>;
  /** As `read`, of some streams, with `offset` passed over, and not older than `since`. */
  entries(row: JobRow, range: LogRange): Promise<JobEvent[]>;
  raw(row: JobRow, streams: readonly LogStream[]): Readable;
  /** Makes the partitions that `append` is going to need. Outside of its transaction: a rollback must not undo it. */
  ensurePartitions(chunks: readonly { ts: Date }[]): Promise<void>;
}

export function createLog(db: Db): Log {
  const knownDays = new Set<string>();
  const groupAppend = createGroupAppend(db);

  async function* rawChunks(row: JobRow, streams: readonly LogStream[]): AsyncGenerator<Buffer> {
    for (let afterSeq = 0; ;) {
      const events = await readEvents(db, row, { afterSeq, limit: 1000, maxBytes: readBytes, streams });
      if (events.length === 0) return;
      for (const event of events) {
        yield decodeStored(event);
        afterSeq = event.seq;
      }
    }
  }

  async function append(trx: Db, row: JobRow, chunks: readonly PackedChunk[]): Promise<JobEvent[]> {
    if (chunks.length === 0) return [];
    const { stored, told, end } = planAppend(row, chunks);
    await insertEvents(trx, row.id, stored);
    await moveLogEnd(trx, row.id, end);
    return told;
  }

  return {
    append,

    async appendBehind(at, chunks) {
      const { stored, told, end } = planAppend(at, chunks);
      if (!(await groupAppend({ at, events: stored, end }))) return null;
      return { told, at: { ...at, ...end } };
    },

    async cut(trx, row, to, words) {
      const events = await append(trx, row, words);
      await leaveOut(trx, row, to);
      return events;
    },

    async read(row, afterSeq, limit, maxBytes = readBytes) {
      const events = await readEvents(db, row, { afterSeq, limit, maxBytes });
      return { events: events.map((event) => toEvent(row, event)), lastSeq: row.last_seq };
    },

    async entries(row, range) {
      const events = await readEvents(db, row, { ...range, maxBytes: readBytes });
      return events.map((event) => toEvent(row, event));
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

export function toEvent(row: JobRow, event: StoredEvent): JobEvent {
  const bytes = decodeStored(event);
  return {
    jobId: JobId.parse(row.id),
    seq: event.seq,
    stream: event.stream,
    chunk: decodeText(bytes),
    ts: event.ts.toISOString(),
    linesBefore: sum(event.lines_before),
    continues: event.continues,
    style: event.style ?? '',
  };
}

function countNewlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) count += 1;
  return count;
}
