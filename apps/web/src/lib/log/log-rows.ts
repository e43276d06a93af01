import type { JobEvent, LogStream } from '@vmo/contract';
import { LogLines, type Piece } from './log-lines.ts';

/** An unbroken run of events, and the gap before it. */
interface Segment {
  readonly id: number;
  readonly lines: LogLines;
  /** First and next event. */
  firstSeq: number;
  nextSeq: number;
  /**
   * The events themselves, kept while a gap is open before them: only when it is filled is it known which line their
   * first bytes belong to, and so they are taken again.
   */
  kept: Piece[];
  /** Lines that pass the filter; null: all. */
  shown: Uint32Array | null;
  shownCount: number;
  /** Lines looked at for `shown`. */
  filtered: number;
  /** While another segment is being taken in: the lines before it, which alone are shown until that is done. */
  frozenAt: number | null;
}

export interface LineRow {
  kind: 'line';
  key: string;
  lines: LogLines;
  /** Index within `lines`. */
  line: number;
  /** Counts from 1; null while events before it are missing. */
  number: number | null;
}

/** Events that this browser does not have. */
export interface GapRow {
  kind: 'gap';
  key: string;
  fromSeq: number;
  toSeq: number;
}

export type LogRow = LineRow | GapRow;

/** Names a line for as long as the page is open, whatever is filtered or filled in. */
export interface LineRef {
  segment: number;
  line: number;
}

/** More islands than this between gaps are given up, all but the first and the last. */
const maxSegments = 6;

/** Index of the first of `count` ascending values that is not below `value`. */
function firstAtLeast(values: Uint32Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The rows that a log shows: lines that pass the filter, and gaps. Rows are addressed by index from 0. */
export class LogRows {
  readonly #segments: Segment[] = [];
  readonly #moved = new Map<number, LineRef>();
  #hidden: ReadonlySet<LogStream> = new Set();
  #nextId = 0;
  #merging: { into: Segment; from: Segment; at: number } | null = null;
  /** Changes when row indices stop meaning what they meant. */
  generation = 0;

  /** @param firstSeq The first event that will come; when it is not 1, the log begins with a gap. */
  constructor(firstSeq = 1) {
    this.#segments.push(this.#segment(1));
    if (firstSeq > 1) this.#segments.push(this.#segment(firstSeq));
  }

  #segment(firstSeq: number): Segment {
    return {
      id: this.#nextId++,
      lines: new LogLines(),
      firstSeq,
      nextSeq: firstSeq,
      kept: [],
      shown: null,
      shownCount: 0,
      filtered: 0,
      frozenAt: null,
    };
  }

  get #first(): Segment {
    const first = this.#segments[0];
    if (!first) throw new Error('a log has a first segment');
    return first;
  }

  get #last(): Segment {
    return this.#segments.at(-1) ?? this.#first;
  }

  /** The event that must come next. */
  get nextSeq(): number {
    return this.#last.nextSeq;
  }

  /** Columns of the widest line. */
  get widest(): number {
    return Math.max(...this.#segments.map(({ lines }) => lines.widest));
  }

  /** All lines, whether they pass the filter or not. */
  get lineCount(): number {
    return this.#segments.reduce((sum, { lines, frozenAt }) => sum + (frozenAt ?? lines.count), 0);
  }

  /** Row count. */
  get count(): number {
    let sum = this.#segments.length - 1;
    for (const segment of this.#segments) sum += this.#rowsOf(segment);
    return sum;
  }

  #rowsOf(segment: Segment): number {
    const lines = segment.frozenAt ?? segment.lines.count;
    if (!segment.shown) return lines;
    return segment.frozenAt === null
      ? segment.shownCount
      : firstAtLeast(segment.shown, segment.shownCount, lines);
  }

  /** Takes the next event; one that is known already changes nothing, and what is missing before it becomes a gap. */
  append(event: Pick<JobEvent, 'seq' | 'stream' | 'chunk' | 'ts'>): void {
    if (event.seq < this.nextSeq) return;
    if (event.seq > this.nextSeq) this.skip(event.seq - 1);
    const segment = this.#last;
    const piece = { stream: event.stream, chunk: event.chunk, ts: Date.parse(event.ts) };
    segment.lines.append(piece);
    segment.nextSeq = event.seq + 1;
    if (segment !== this.#first) segment.kept.push(piece);
    this.#filterNew(segment);
  }

  /** Events up to this one will not come by themselves. */
  skip(toSeq: number): void {
    if (toSeq < this.nextSeq) return;
    const last = this.#last;
    // Nothing came since the last gap: it grows.
    if (last !== this.#first && last.lines.count === 0 && last !== this.#merging?.from)
      last.firstSeq = last.nextSeq = toSeq + 1;
    else this.#segments.push(this.#segment(toSeq + 1));
    if (this.#segments.length > maxSegments && !this.#merging) {
      this.#segments.splice(1, this.#segments.length - 2);
      this.generation++;
    }
    this.#filterAll();
  }

  /** The first gap; null: there is none. */
  get gap(): { fromSeq: number; toSeq: number } | null {
    const second = this.#segments[1];
    if (!second || this.#first.nextSeq >= second.firstSeq) return null;
    return { fromSeq: this.#first.nextSeq, toSeq: second.firstSeq - 1 };
  }

  /** Takes an event of the first gap. When it was the last one, `merge` closes the gap. */
  fill(event: Pick<JobEvent, 'seq' | 'stream' | 'chunk' | 'ts'>): void {
    const first = this.#first;
    const { gap } = this;
    if (event.seq !== gap?.fromSeq) return;
    first.lines.append({ stream: event.stream, chunk: event.chunk, ts: Date.parse(event.ts) });
    first.nextSeq = event.seq + 1;
    this.#filterNew(first);
  }

  /**
   * Takes what follows a filled gap into the lines before it, until `pause` says so.
   *
   * @returns true when there is nothing left to do.
   */
  merge(pause: () => boolean): boolean {
    const first = this.#first;
    const second = this.#segments[1];
    if (!second || first.nextSeq < second.firstSeq) return true;
    if (!this.#merging) {
      first.frozenAt = first.lines.count;
      this.#merging = { into: first, from: second, at: 0 };
    }
    const merging = this.#merging;
    for (; merging.at < second.kept.length; merging.at++) {
      const piece = second.kept[merging.at];
      if (piece) first.lines.append(piece);
      if (pause()) {
        merging.at++;
        return false;
      }
    }
    // Lines that were begun before the gap and ended after it are one now; counted from the end, none has moved.
    this.#moved.set(second.id, { segment: first.id, line: first.lines.count - second.lines.count });
    first.nextSeq = second.nextSeq;
    first.frozenAt = null;
    this.#segments.splice(1, 1);
    this.#merging = null;
    this.#filterNew(first);
    this.generation++;
    return this.#segments[1] === undefined || this.gap !== null;
  }

  /** Shows all lines but those of these streams. */
  setHidden(hidden: ReadonlySet<LogStream>): void {
    this.#hidden = hidden;
    for (const segment of this.#segments) {
      segment.shown = null;
      segment.shownCount = 0;
      segment.filtered = 0;
    }
    this.#filterAll();
    this.generation++;
  }

  #filterAll(): void {
    for (const segment of this.#segments) this.#filterNew(segment);
  }

  #filterNew(segment: Segment): void {
    if (this.#hidden.size === 0) return;
    const { lines } = segment;
    let shown = segment.shown ?? new Uint32Array(1024);
    for (; segment.filtered < lines.count; segment.filtered++) {
      if (this.#hidden.has(lines.stream(segment.filtered))) continue;
      if (segment.shownCount === shown.length) {
        const bigger = new Uint32Array(shown.length * 2);
        bigger.set(shown);
        shown = bigger;
      }
      shown[segment.shownCount++] = segment.filtered;
    }
    segment.shown = shown;
  }

  /** The row at an index below `count`. */
  at(index: number): LogRow {
    let rest = index;
    for (const [number, segment] of this.#segments.entries()) {
      if (number > 0) {
        if (rest === 0) {
          const fromSeq = this.#segments[number - 1]?.nextSeq ?? 1;
          return { kind: 'gap', key: `gap:${String(segment.id)}`, fromSeq, toSeq: segment.firstSeq - 1 };
        }
        rest--;
      }
      const rows = this.#rowsOf(segment);
      if (rest < rows) {
        const line = segment.shown?.[rest] ?? rest;
        return {
          kind: 'line',
          key: `${String(segment.id)}:${String(line)}`,
          lines: segment.lines,
          line,
          number: segment === this.#first ? line + 1 : null,
        };
      }
      rest -= rows;
    }
    throw new RangeError(`no row ${String(index)} of ${String(this.count)}`);
  }

  /** Raw text of a row; null: a gap. Cheaper than `at`, for work on all rows. */
  raw(index: number): string | null {
    const segment = this.#seek(index);
    return segment ? segment.lines.raw(segment.shown?.[this.#sought] ?? this.#sought) : null;
  }

  /** Columns of a row, about; 0 for a gap. */
  columns(index: number): number {
    const segment = this.#seek(index);
    return segment ? segment.lines.columns(segment.shown?.[this.#sought] ?? this.#sought) : 0;
  }

  #sought = 0;

  /** The segment of a row, with the row's place in it in `#sought`; null: a gap. */
  #seek(index: number): Segment | null {
    let rest = index;
    for (let number = 0; number < this.#segments.length; number++) {
      const segment = this.#segments[number];
      if (!segment) break;
      if (number > 0 && rest-- === 0) return null;
      const rows = this.#rowsOf(segment);
      if (rest < rows) {
        this.#sought = rest;
        return segment;
      }
      rest -= rows;
    }
    return null;
  }

  /** A name for the line at or after this row; null: only a gap or nothing is there. */
  refAt(index: number): LineRef | null {
    if (index < 0 || index >= this.count) return null;
    const row = this.at(index);
    if (row.kind === 'gap') return this.refAt(index + 1);
    const segment = this.#segments.find(({ lines }) => lines === row.lines);
    return segment ? { segment: segment.id, line: row.line } : null;
  }

  /** Row of a line, or of the next one that is shown when the filter hides it; null when its segment was given up. */
  indexOf(ref: LineRef): number | null {
    let { segment: id, line } = ref;
    for (let moved = this.#moved.get(id); moved; moved = this.#moved.get(id)) {
      id = moved.segment;
      line = Math.max(0, line + moved.line);
    }
    let before = 0;
    for (const segment of this.#segments) {
      const rows = this.#rowsOf(segment);
      if (segment.id === id) {
        if (!segment.shown) return before + Math.min(line, Math.max(0, rows - 1));
        return before + Math.min(firstAtLeast(segment.shown, rows, line), Math.max(0, rows - 1));
      }
      before += rows + 1;
    }
    return null;
  }

  /** Row of the line with this number (from 1); null: not there (yet), or hidden by the filter. */
  indexOfNumber(number: number): number | null {
    const first = this.#first;
    if (number < 1 || number > first.lines.count) return null;
    const index = this.indexOf({ segment: first.id, line: number - 1 });
    if (index === null || index >= this.count) return null;
    const row = this.at(index);
    return row.kind === 'line' && row.number === number ? index : null;
  }

  /** Lines shown that changed since the last call, as rows. */
  takeChanged(): number[] {
    const rows: number[] = [];
    for (const segment of this.#segments) {
      for (const line of segment.lines.takeChanged()) {
        if (this.#hidden.has(segment.lines.stream(line))) continue;
        const index = this.indexOf({ segment: segment.id, line });
        if (index !== null && index < this.count) rows.push(index);
      }
    }
    return rows;
  }
}
