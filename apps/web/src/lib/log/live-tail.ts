import { LogStream, type JobEvent, type LinePage, type LogLine } from '@vmo/contract';
import {
  carryStyle,
  chunkIsSpecial,
  compact,
  isSpecial,
  needsCells,
  plainStyle,
  scanStyle,
  type Style,
} from '@vmo/ansi';
import { columnsOf, styleOf, type LineStore, type StoredLine } from './line-store.ts';

/** A redrawn line is compacted when it passes this, and then whenever it has doubled. */
const firstCompaction = 8 * 1024;
/** Characters that are kept of a line while it is being written; the rest is asked for when somebody wants it. */
export const mostOfLiveLine = 64 * 1024;

/** What a stream is in the middle of. */
interface Open {
  /** Its unfinished line and where that is; null: there is none, or it is not here. */
  line: StoredLine | null;
  position: number;
  /** Style at `scanned`. */
  style: Style;
  /** How far the unfinished line has been searched for styles. */
  scanned: number;
  /** Characters of it that are not shown. */
  hidden: number;
  /** Length at which it is compacted again. */
  compactAt: number;
  /** The last event of the stream. */
  lastSeq: number;
}

const streams = LogStream.options;

/** Makes lines of the events that come while a job runs, at the end of a store. */
export class LiveTail {
  /** The last event that is known: taken, left out, or in the page that it began with. */
  seq = 0;
  readonly #store: LineStore;
  readonly #open = new Map<LogStream, Open>(
    streams.map((stream) => [
      stream,
      {
        line: null,
        position: 0,
        style: plainStyle,
        scanned: 0,
        hidden: 0,
        compactAt: firstCompaction,
        lastSeq: 0,
      },
    ]),
  );
  /** Events up to this one were left out: what was unfinished then may have gone on. */
  #leftOutTo = 0;

  /** @param page The first page of the store; what comes next continues after its `lastSeq`. */
  constructor(store: LineStore, page: LinePage) {
    this.#store = store;
    store.count = page.count;
    store.lineCount = page.lineCount;
    this.seq = page.lastSeq;
    store.put(page);
    this.#adopt(page);
  }

  /** Takes over a page that was asked for. */
  put(page: LinePage): void {
    this.#store.put(page, (line) => this.#isCurrent(line, page.lastSeq));
    this.#adopt(page);
  }

  /** An unfinished line is as the events left it: none of its stream came after the page, and none is in it already. */
  #isCurrent(line: LogLine, lastSeq: number): boolean {
    const last = Math.max(this.#leftOutTo, this.#open.get(line.stream)?.lastSeq ?? 0);
    return last <= lastSeq && lastSeq <= this.seq;
  }

  #adopt(page: LinePage): void {
    for (const [index, { stream, open: isOpen }] of page.lines.entries()) {
      const open = this.#open.get(stream);
      const position = page.from + index;
      const line = this.#store.at(position);
      if (!isOpen || !open || !line || open.line === line || line.seq !== page.lastSeq) continue;
      const scan = scanStyle(line.raw, 0, line.style);
      Object.assign(open, {
        line,
        position,
        style: scan.style,
        scanned: scan.next,
        hidden: scan.hidden,
        compactAt: firstCompaction,
      });
    }
  }

  /** Events up to this one will not come, or are too many to be taken. */
  leaveOut(toSeq: number): void {
    if (toSeq <= this.seq) return;
    this.seq = this.#leftOutTo = toSeq;
    for (const open of this.#open.values()) {
      this.#letGo(open);
    }
  }

  #letGo(open: Open): void {
    if (open.line) this.#store.forget(open.position);
    this.#close(open);
  }

  append(event: JobEvent): void {
    const open = this.#open.get(event.stream);
    if (!open || event.seq <= this.seq) return;
    const store = this.#store;
    const { chunk, stream, seq } = event;
    this.seq = open.lastSeq = seq;
    store.lineCount = Math.max(store.lineCount, event.linesBefore);
    // With all streams shown, numbers are positions, whatever was left out before.
    if (store.streams === null) store.count = Math.max(store.count, event.linesBefore);
    const isShown = store.shows(stream);
    const special = isShown && chunkIsSpecial(chunk);
    const ts = Date.parse(event.ts);
    if (open.line?.number !== event.continues) this.#close(open);
    // Let go meanwhile, or replaced by a longer version, which is out of date now.
    else if (store.at(open.position) !== open.line) this.#letGo(open);
    let number = event.linesBefore;
    let goesOn = event.continues !== null;
    if (!open.line || open.line.cut) {
      // What this line has left on is not known from what is here of it.
      const line = goesOn ? (chunk.split('\n', 1)[0] ?? '') : '';
      open.style = styleOf(carryStyle(event.style, line));
    }
    for (let at = 0; at < chunk.length;) {
      const feed = chunk.indexOf('\n', at);
      const end = feed === -1 ? chunk.length : feed;
      if (!goesOn) number++;
      if (isShown) {
        const text = at === 0 && end === chunk.length ? chunk : chunk.slice(at, end);
        if (!goesOn) this.#begin(open, { number, stream, ts, style: open.style, seq });
        if (open.line) this.#add(open, text, special, seq);
      }
      goesOn = false;
      if (feed !== -1) this.#close(open);
      at = end + 1;
    }
    // The cockpit's own words: an event is a line, whether it ends in a line feed or not.
    if (stream === 'system') this.#close(open);
    store.lineCount = Math.max(store.lineCount, number);
  }

  #begin(open: Open, start: Omit<StoredLine, 'raw' | 'columns' | 'cut'>): void {
    const store = this.#store;
    const position = store.streams === null ? start.number : store.count + 1;
    store.count = Math.max(store.count, position);
    open.line = { ...start, raw: '', columns: 0, cut: false };
    open.position = position;
    store.set(position, open.line);
  }

  #add(open: Open, text: string, special: boolean, seq: number): void {
    const { line, position } = open;
    if (!line) return;
    if (line.cut) {
      this.#store.change(position, line.raw, line.columns + text.length, seq);
      return;
    }
    let raw = line.raw === '' ? text : line.raw + text;
    if (open.scanned === line.raw.length && (!special || !isSpecial(text))) open.scanned += text.length;
    else raw = this.#scan(open, raw, line.style);
    const columns = columnsOf(raw, open.hidden);
    if (raw.length > mostOfLiveLine) {
      raw = raw.slice(0, mostOfLiveLine);
      line.cut = true;
    }
    this.#store.change(position, raw, columns, seq);
  }

  /** Follows the styles through what is new. @returns the line, shorter when it was redrawn often. */
  #scan(open: Open, raw: string, start: Style): string {
    const scan = scanStyle(raw, open.scanned, open.style);
    open.style = scan.style;
    open.scanned = scan.next;
    open.hidden += scan.hidden;
    if (raw.length <= open.compactAt || !needsCells(raw)) return raw;
    // A sequence that the next chunk completes stays as it is.
    const shorter = compact(raw.slice(0, open.scanned), start);
    const short = shorter + raw.slice(open.scanned);
    open.scanned = shorter.length;
    open.hidden = scanStyle(shorter, 0, plainStyle).hidden;
    open.compactAt = short.length * 2 + firstCompaction;
    return short;
  }

  #close(open: Open): void {
    open.line = null;
    open.scanned = 0;
    open.hidden = 0;
    open.compactAt = firstCompaction;
  }
}
