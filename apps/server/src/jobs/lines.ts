import { carryStyle, wholeStyle } from '@vmo/ansi';
import { LogStream, type LinePage, type LinesQuery, type LogLine } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import { decodeStored, decodeText } from './codec.ts';
import { findSeqOfLine } from './lines-repository.ts';
import type { StoredEvent } from './log-repository.ts';
import type { JobRow } from './repository.ts';
import { readEvents } from './stored-events.ts';

/** Stored output that one answer reads, at most: a line that is cut by it says so. */
const maxReadBytes = 8 * 1024 * 1024;
const pageBytes = 512 * 1024;
const pageEvents = 500;

export type LinesRequest = z.output<typeof LinesQuery>;

const newline = 0x0a;

/** A line while it is put together. */
interface Growing {
  line: Omit<LogLine, 'text' | 'cut' | 'open'>;
  parts: Buffer[];
  bytes: number;
  cut: boolean;
  ended: boolean;
}

/** Puts lines together from events that follow one another. */
class Assembly {
  readonly lines: Growing[] = [];
  /** Position of the first line that was taken. */
  first: number | null = null;
  readonly #open = new Map<string, Growing | null>();
  /** What each stream carries on, see `carryStyle`. */
  readonly #styles = new Map<string, string>();
  readonly #request: LinesRequest;
  readonly #visible: readonly number[];
  readonly #wants: (position: number, number: number) => boolean;

  constructor(
    request: LinesRequest,
    visible: readonly number[],
    wants: (position: number, number: number) => boolean,
  ) {
    this.#request = request;
    this.#visible = visible;
    this.#wants = wants;
  }

  isComplete(): boolean {
    return this.lines.length >= this.#request.limit && this.lines.every((line) => line.ended || line.cut);
  }

  add(event: StoredEvent, bytes: Buffer): void {
    const { stream } = event;
    const carried = event.style ?? this.#styles.get(stream) ?? '';
    this.#styles.set(stream, event.continues === null ? wholeStyle(carried) : carried);
    let position = this.#visible.reduce((total, index) => total + (event.lines_before[index] ?? 0), 0);
    let number = event.lines_before.reduce((total, count) => total + count, 0);
    let at = 0;
    if (event.continues !== null) {
      const end = bytes.indexOf(newline);
      this.#grow(stream, end === -1 ? bytes : bytes.subarray(0, end), end !== -1);
      at = end === -1 ? bytes.length : end + 1;
    }
    while (at < bytes.length) {
      const end = bytes.indexOf(newline, at);
      const text = bytes.subarray(at, end === -1 ? bytes.length : end);
      position += 1;
      number += 1;
      this.#begin(event, position, number);
      this.#grow(stream, text, end !== -1);
      at = end === -1 ? bytes.length : end + 1;
    }
  }

  #begin(event: StoredEvent, position: number, number: number): void {
    const isWanted = this.lines.length < this.#request.limit && this.#wants(position, number);
    if (!isWanted) {
      this.#open.set(event.stream, null);
      return;
    }
    this.first ??= position;
    const growing: Growing = {
      line: {
        number,
        stream: LogStream.parse(event.stream),
        ts: event.ts.toISOString(),
        style: this.#styles.get(event.stream) ?? '',
      },
      parts: [],
      bytes: 0,
      cut: false,
      ended: false,
    };
    this.lines.push(growing);
    this.#open.set(event.stream, growing);
  }

  #grow(stream: string, bytes: Buffer, ends: boolean): void {
    // Styles go on over line ends, so those of lines before the first one count as well.
    const carried = this.#styles.get(stream) ?? '';
    const style = carryStyle(carried, bytes.toString('latin1'));
    this.#styles.set(stream, ends ? wholeStyle(style) : style);
    const growing = this.#open.get(stream);
    if (ends) this.#open.delete(stream);
    if (!growing) return;
    const room = this.#request.lineBytes - growing.bytes;
    if (bytes.length > room) growing.cut = true;
    const part = bytes.subarray(0, Math.max(room, 0));
    if (part.length > 0) growing.parts.push(part);
    growing.bytes += part.length;
    growing.ended = ends;
  }
}

/** Lines of a stored log, wherever they are, in about the time that it takes to read them. */
export async function readLines(db: Kysely<Database>, row: JobRow, request: LinesRequest): Promise<LinePage> {
  const streams = request.streams ?? LogStream.options;
  const visible = streams.map((stream) => LogStream.options.indexOf(stream));
  const count = visible.reduce((total, index) => total + (row.line_counts[index] ?? 0), 0);
  const lineCount = row.line_counts.reduce((total, each) => total + each, 0);
  const from = request.last === undefined ? (request.from ?? 1) : Math.max(1, count - request.last + 1);
  const limit = request.last ?? request.limit;
  const { number } = request;
  const assembly = new Assembly({ ...request, limit }, visible, (position, each) =>
    number === undefined ? position >= from : each >= number,
  );
  const page = { count, lineCount, lastSeq: row.last_seq };

  const seq =
    number === undefined
      ? await findSeqOfLine(db, row, streams, from - 1)
      : await findSeqOfLine(db, row, LogStream.options, number - 1);
  let read = 0;
  for (let afterSeq = (seq ?? row.last_seq + 1) - 1; read < maxReadBytes && !assembly.isComplete();) {
    const events = await readEvents(db, row, {
      afterSeq,
      limit: pageEvents,
      maxBytes: pageBytes,
      ...(request.streams && { streams }),
    });
    if (events.length === 0) break;
    for (const event of events) {
      afterSeq = event.seq;
      const bytes = decodeStored(event);
      read += bytes.length;
      assembly.add(event, bytes);
      if (assembly.isComplete()) break;
    }
    if (afterSeq >= row.last_seq) break;
  }
  const open = new Set([row.stdout_line, row.stderr_line, row.boot_line, row.command_line]);
  return {
    ...page,
    from: assembly.first ?? from,
    lines: assembly.lines.map(({ line, parts, cut, ended }) => {
      const isOpen = !ended && open.has(line.number);
      return { ...line, text: toText(parts, cut), cut: cut || (!ended && !isOpen), open: isOpen };
    }),
  };
}

/** Cut at bytes, a line may end within a character: what is left of it is not shown as a fault of the output. */
function toText(parts: readonly Buffer[], cut: boolean): string {
  const text = decodeText(parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts));
  return cut ? text.replace(/\ufffd{1,3}$/, '') : text;
}
