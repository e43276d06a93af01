import { LogStream, type SpoolStream } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { findSeqOfLine } from '../lines-repository.ts';
import { isSpool } from '../log-end.ts';
import type { StoredEvent } from '../log-repository.ts';
import type { JobRow } from '../repository.ts';
import { readEvents } from '../stored-events.ts';
import { maxSearchedBytes } from './line-walker.ts';

const pageEvents = 10_000;

/** The number of the line that a stream's stored output ends in the middle of; null: it ends with one. */
const openLine = (row: JobRow, stream: SpoolStream): number | null =>
  ({ stdout: row.stdout_line, stderr: row.stderr_line, boot: row.boot_line, command: row.command_line })[
    stream
  ];

/**
 * Lines that had not ended with an event, for a search that goes on behind it: their beginnings, as the search comes to
 * what they go on with.
 */
export class OpenLines {
  readonly #db: Kysely<Database>;
  readonly #row: JobRow;
  readonly #afterSeq: number;
  /** Streams of which nothing has come yet. */
  readonly #unseen: Set<LogStream>;

  constructor(db: Kysely<Database>, row: JobRow, afterSeq: number, streams: readonly LogStream[]) {
    this.#db = db;
    this.#row = row;
    this.#afterSeq = afterSeq;
    this.#unseen = new Set(afterSeq === 0 ? [] : streams);
  }

  /** The beginnings of the lines that these events go on with. */
  async *before(events: readonly StoredEvent[]): AsyncGenerator<StoredEvent[]> {
    if (this.#unseen.size === 0) return;
    for (const { stream, continues } of events) {
      if (!this.#unseen.delete(stream)) continue;
      if (continues !== null) yield* this.#beginning(stream, continues);
    }
  }

  /** Nothing more comes: lines that nothing went on with, and that are the last of their streams. */
  async *rest(): AsyncGenerator<StoredEvent[]> {
    for (const stream of this.#unseen) {
      const line = isSpool(stream) ? openLine(this.#row, stream) : null;
      if (line !== null) yield* this.#beginning(stream, line);
    }
    this.#unseen.clear();
  }

  /** As far as it is searched: with the lines that end in its first event, it can be twice as long. */
  async *#beginning(stream: LogStream, line: number): AsyncGenerator<StoredEvent[]> {
    const first = await findSeqOfLine(this.#db, this.#row, LogStream.options, line - 1);
    if (first === null) return;
    const range = { limit: pageEvents, maxBytes: maxSearchedBytes, streams: [stream] };
    for (let seq = first - 1, bytes = 0; bytes < 2 * maxSearchedBytes;) {
      const page = await readEvents(this.#db, this.#row, { ...range, afterSeq: seq });
      const events = page.filter((event) => event.seq <= this.#afterSeq);
      const last = events.at(-1);
      if (last) yield events;
      if (!last || events.length < page.length) return;
      seq = last.seq;
      bytes += events.reduce((total, { chunk }) => total + chunk.length, 0);
    }
  }
}
