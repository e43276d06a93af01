import { LogStream } from '@vmo/contract';
import { compact, needsCells } from './cells.ts';
import { chunkIsSpecial, isSpecial, scanStyle } from './escapes.ts';
import { maxPlayed } from './render-line.ts';
import { plainStyle, type Style, StyleTable } from './style.ts';

const streams = LogStream.options;

/** A piece of output as the model takes it; `ts` in milliseconds since 1970. */
export interface Piece {
  stream: LogStream;
  chunk: string;
  ts: number;
}

/** What a stream is in the middle of. */
interface Open {
  /** Its unfinished line, or -1. */
  line: number;
  /** Style at `scanned`. */
  style: Style;
  /** How far the unfinished line has been searched for styles. */
  scanned: number;
  hidden: number;
  /** Length of the unfinished line at which it is compacted again. */
  compactAt: number;
}

/** A redrawn line is compacted when it passes this, and then whenever it has doubled. */
const firstCompaction = 8 * 1024;
/** Lines that stay longer than this after compaction are not redrawn any more; they only grow. */
const lastCompaction = maxPlayed - 96 * 1024;

function grown<T extends Uint8Array | Uint32Array | Float64Array>(array: T, make: (length: number) => T): T {
  const bigger = make(array.length * 2);
  bigger.set(array);
  return bigger;
}

/**
 * Lines made of pieces of several streams.
 *
 * A line's index is given by the order of its first byte across all streams and never changes; a line stays open
 * while other streams write theirs. Raw text is kept (mostly slices of the chunks, so that a short line costs some
 * 40 bytes beyond its text); what it looks like is worked out when it is shown, from the style that it begins with.
 */
export class LogLines {
  readonly styles = new StyleTable();
  readonly #raw: string[] = [];
  #stream = new Uint8Array(1024);
  #start = new Uint32Array(1024);
  #columns = new Uint32Array(1024);
  #ts = new Float64Array(1024);
  readonly #open: Open[] = streams.map(() => ({
    line: -1,
    style: plainStyle,
    scanned: 0,
    hidden: 0,
    compactAt: firstCompaction,
  }));
  /** Lines that existed before and have changed since somebody last looked. */
  readonly #changed = new Set<number>();
  #widest = 0;
  #characters = 0;

  get count(): number {
    return this.#raw.length;
  }

  /** Columns of the widest line, at least; escape sequences are not counted. */
  get widest(): number {
    return this.#widest;
  }

  /** Characters kept. */
  get characters(): number {
    return this.#characters;
  }

  raw(line: number): string {
    return this.#raw[line] ?? '';
  }

  stream(line: number): LogStream {
    return streams[this.#stream[line] ?? 0] ?? 'stdout';
  }

  startStyle(line: number): Style {
    return this.styles.style(this.#start[line] ?? 0);
  }

  /** Characters that the line shows, about. */
  columns(line: number): number {
    return this.#columns[line] ?? 0;
  }

  /** When its first byte was read, in milliseconds since 1970. */
  ts(line: number): number {
    return this.#ts[line] ?? 0;
  }

  isOpen(line: number): boolean {
    return this.#open.some((open) => open.line === line);
  }

  /** Lines that got more text since the last call, apart from those that were new then. */
  takeChanged(): number[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  append({ stream, chunk, ts }: Piece): void {
    const number = streams.indexOf(stream);
    const open = this.#open[number];
    if (!open) return;
    this.#characters += chunk.length;
    const special = chunkIsSpecial(chunk);
    let at = 0;
    for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', at)) {
      this.#add(open, number, at === end ? '' : chunk.slice(at, end), ts, special);
      this.#close(open);
      at = end + 1;
    }
    if (at < chunk.length) this.#add(open, number, at === 0 ? chunk : chunk.slice(at), ts, special);
    // The cockpit's own words: an event is a line, whether it ends in a line feed or not.
    if (stream === 'system') this.#close(open);
  }

  #add(open: Open, stream: number, text: string, ts: number, special: boolean): void {
    let line = open.line;
    if (line === -1) {
      line = this.#push(text, stream, ts, open.style);
      open.line = line;
    } else {
      this.#raw[line] = this.raw(line) + text;
      this.#changed.add(line);
    }
    const plainSoFar = open.scanned === this.raw(line).length - text.length;
    if (plainSoFar && (!special || !isSpecial(text))) open.scanned += text.length;
    else this.#scan(open, line);
    const columns = this.#shownColumns(this.raw(line), open.hidden);
    this.#columns[line] = columns;
    if (columns > this.#widest) this.#widest = columns;
  }

  /** Of a redrawn line, the longest drawing. */
  #shownColumns(raw: string, hidden: number): number {
    const all = raw.length - hidden;
    if (hidden === 0 || raw.length > maxPlayed || !raw.includes('\r')) return all;
    let longest = 0;
    for (const drawing of raw.split('\r')) longest = Math.max(longest, drawing.length);
    return Math.min(all, longest);
  }

  #scan(open: Open, line: number): void {
    const scan = scanStyle(this.raw(line), open.scanned, open.style);
    open.style = scan.style;
    open.scanned = scan.next;
    open.hidden += scan.hidden;
    const raw = this.raw(line);
    if (raw.length <= open.compactAt || raw.length > maxPlayed || !needsCells(raw)) return;
    // A sequence that the next chunk completes stays as it is.
    const shorter = compact(raw.slice(0, open.scanned), this.startStyle(line));
    const short = shorter + raw.slice(open.scanned);
    this.#characters += short.length - raw.length;
    this.#raw[line] = short;
    open.scanned = shorter.length;
    open.hidden = scanStyle(shorter, 0, plainStyle).hidden;
    open.compactAt =
      short.length > lastCompaction ? Infinity : Math.min(short.length * 2 + firstCompaction, lastCompaction);
  }

  #close(open: Open): void {
    open.line = -1;
    open.scanned = 0;
    open.hidden = 0;
    open.compactAt = firstCompaction;
  }

  #push(text: string, stream: number, ts: number, style: Style): number {
    const line = this.#raw.push(text) - 1;
    if (line === this.#stream.length) {
      this.#stream = grown(this.#stream, (length) => new Uint8Array(length));
      this.#start = grown(this.#start, (length) => new Uint32Array(length));
      this.#columns = grown(this.#columns, (length) => new Uint32Array(length));
      this.#ts = grown(this.#ts, (length) => new Float64Array(length));
    }
    this.#stream[line] = stream;
    this.#start[line] = this.styles.id(style);
    this.#ts[line] = ts;
    return line;
  }
}
