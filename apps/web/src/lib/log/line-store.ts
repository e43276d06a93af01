import type { LinePage, LogLine, LogStream } from '@vmo/contract';
import { isSpecial, needsCells, plainStyle, scanStyle, type Style } from '@vmo/ansi';

/** Lines that are asked for, kept and let go together. */
export const blockLines = 256;
/** What is kept at most; beyond it, what was out of sight for the longest goes. */
const mostLines = 160_000;
const mostCharacters = 24 * 1024 * 1024;

export interface StoredLine {
  readonly number: number;
  readonly stream: LogStream;
  /** When its first byte was read, in milliseconds since 1970. */
  readonly ts: number;
  /** The style that it begins with. */
  readonly style: Style;
  raw: string;
  /** Characters that it shows, about. */
  columns: number;
  /** There is more of it than `raw`. */
  cut: boolean;
  /** It is as it was after this event. */
  seq: number;
}

interface Block {
  readonly lines: (StoredLine | undefined)[];
  loaded: number;
  characters: number;
  /** When it was last in sight: larger is later. */
  seen: number;
  /** Positions that were asked for, and of which the server has no lines (any more). */
  readonly absent: Set<number>;
}

const styles = new Map<string, Style>();
const mostStyles = 4096;

/** The style that an escape sequence leads to. */
export function styleOf(prefix: string): Style {
  if (prefix === '') return plainStyle;
  let style = styles.get(prefix);
  if (!style) {
    if (styles.size >= mostStyles) styles.clear();
    styles.set(prefix, (style = scanStyle(prefix, 0, plainStyle).style));
  }
  return style;
}

/** Characters that a raw line shows, about; of a redrawn one, those of its longest drawing. */
export function columnsOf(raw: string, hidden: number): number {
  const all = raw.length - hidden;
  if (hidden === 0 || !raw.includes('\r')) return all;
  let longest = 0;
  for (const drawing of raw.split('\r')) longest = Math.max(longest, drawing.length);
  return Math.min(all, longest);
}

function storedLine(line: LogLine, seq: number): StoredLine {
  const { number, stream, text, cut } = line;
  const hidden = isSpecial(text) && !needsCells(text) ? scanStyle(text, 0, plainStyle).hidden : 0;
  return {
    number,
    stream,
    ts: Date.parse(line.ts),
    style: styleOf(line.style),
    raw: text,
    columns: columnsOf(text, hidden),
    cut,
    seq,
  };
}

/**
 * The lines of a log that this browser has, of however many there are. A line is addressed by its position (from 1)
 * among the lines that are shown; with all streams shown, that is its number.
 */
export class LineStore {
  readonly streams: ReadonlySet<LogStream> | null;
  readonly #blocks = new Map<number, Block>();
  /** Positions that there are. */
  count = 0;
  /** Lines of the whole log, whatever their stream. */
  lineCount = 0;
  /** Streams of lines that were ever here. */
  readonly seen = new Set<LogStream>();
  #lines = 0;
  #characters = 0;
  #clock = 0;
  #widest = 0;

  /** @param streams Those whose lines are positions; null: all. */
  constructor(streams: ReadonlySet<LogStream> | null = null) {
    this.streams = streams;
  }

  /** Lines and characters that are kept. */
  get lines(): number {
    return this.#lines;
  }

  get characters(): number {
    return this.#characters;
  }

  /** Columns of the widest line that was ever here. */
  get widest(): number {
    return this.#widest;
  }

  shows(stream: LogStream): boolean {
    return this.streams === null || this.streams.has(stream);
  }

  #blockAt(position: number): Block | undefined {
    return this.#blocks.get(Math.floor((position - 1) / blockLines));
  }

  at(position: number): StoredLine | null {
    return this.#blockAt(position)?.lines[(position - 1) % blockLines] ?? null;
  }

  /** The server was asked for it and has it no more. */
  isAbsent(position: number): boolean {
    return this.at(position) === null && (this.#blockAt(position)?.absent.has(position) ?? false);
  }

  set(position: number, line: StoredLine): void {
    const block = this.#makeBlock(Math.floor((position - 1) / blockLines));
    const at = (position - 1) % blockLines;
    const before = block.lines[at];
    if (!before) {
      block.loaded++;
      this.#lines++;
    }
    block.lines[at] = line;
    this.seen.add(line.stream);
    this.#weigh(block, line.raw.length - (before?.raw.length ?? 0));
    this.#note(line);
  }

  /** A line that is here got another text. */
  change(position: number, raw: string, columns: number, seq: number): void {
    const block = this.#blockAt(position);
    const line = block?.lines[(position - 1) % blockLines];
    if (!block || !line) return;
    this.#weigh(block, raw.length - line.raw.length);
    line.raw = raw;
    line.columns = columns;
    line.seq = seq;
    this.#note(line);
  }

  #note({ columns }: StoredLine): void {
    if (columns > this.#widest) this.#widest = columns;
  }

  #weigh(block: Block, characters: number): void {
    block.characters += characters;
    this.#characters += characters;
  }

  /** What is here of this line may be out of date: it is asked for again when it comes into sight. */
  forget(position: number): void {
    const block = this.#blockAt(position);
    const at = (position - 1) % blockLines;
    const line = block?.lines[at];
    if (!block || !line) return;
    block.lines[at] = undefined;
    block.loaded--;
    this.#lines--;
    this.#weigh(block, -line.raw.length);
  }

  /** Takes over what is not here yet. @param isUsable Says it of an unfinished line: it may have gone on since. */
  put(page: LinePage, isUsable: (line: LogLine) => boolean = () => true): void {
    for (const [index, line] of page.lines.entries()) {
      const position = page.from + index;
      if (position > this.count || this.at(position) || (line.open && !isUsable(line))) continue;
      this.set(position, storedLine(line, page.lastSeq));
    }
  }

  /** More of a line whose text was cut. */
  replace(position: number, line: LogLine, seq: number): void {
    const here = this.at(position);
    if (!here || line.text.length > here.raw.length || !line.cut) this.set(position, storedLine(line, seq));
  }

  /** These positions of one block, `to` among them, were asked for, and the answer held none of them. */
  noteAbsent(from: number, to: number): void {
    const block = this.#makeBlock(Math.floor((from - 1) / blockLines));
    for (let position = from; position <= to; position++) block.absent.add(position);
  }

  #makeBlock(index: number): Block {
    let block = this.#blocks.get(index);
    if (!block) {
      block = { lines: [], loaded: 0, characters: 0, seen: this.#clock, absent: new Set() };
      this.#blocks.set(index, block);
    }
    return block;
  }

  /** Blocks with some of these positions that are not here, in their order. */
  missing(positions: Iterable<number>): number[] {
    const found = new Set<number>();
    for (const position of positions) {
      if (position < 1 || position > this.count || this.at(position) !== null) continue;
      if (!this.isAbsent(position)) found.add(Math.floor((position - 1) / blockLines));
    }
    return [...found];
  }

  /** Positions that are not here in a row, upwards from this one. */
  gapAbove(position: number): number {
    let at = position;
    while (at > 0 && this.at(at) === null) {
      const index = Math.floor((at - 1) / blockLines);
      const block = this.#blocks.get(index);
      at = block && block.loaded > 0 ? at - 1 : index * blockLines;
    }
    return position - at;
  }

  /** The position of the line with this number; null: not here, or not shown. */
  positionOf(number: number): number | null {
    if (this.streams === null) return number >= 1 && number <= this.count ? number : null;
    const position = this.positionFrom(number);
    return position !== null && this.at(position)?.number === number ? position : null;
  }

  /** The position of the first line that is here and has this number or a higher one. */
  positionFrom(number: number): number | null {
    let best: number | null = null;
    for (const [index, { lines }] of this.#blocks) {
      for (const [at, line] of lines.entries()) {
        if (!line || line.number < number) continue;
        const position = index * blockLines + at + 1;
        if (best === null || position < best) best = position;
        break;
      }
    }
    return best;
  }

  /** These positions are in sight; the rest may go when there is too much. */
  see(positions: readonly number[]): void {
    this.#clock++;
    for (const position of positions) {
      const block = this.#blockAt(position);
      if (block) block.seen = this.#clock;
    }
    if (this.#lines > mostLines || this.#characters > mostCharacters) this.#evict();
  }

  /** Down to nine tenths, so that it is not begun anew with every line. */
  #evict(): void {
    const oldestFirst = [...this.#blocks].sort(([, a], [, b]) => a.seen - b.seen);
    for (const [index, block] of oldestFirst) {
      if (this.#lines <= mostLines * 0.9 && this.#characters <= mostCharacters * 0.9) return;
      if (block.seen === this.#clock || (index + 1) * blockLines >= this.count) continue;
      this.#blocks.delete(index);
      this.#lines -= block.loaded;
      this.#characters -= block.characters;
    }
  }
}
