import { tokenize, type Mark, markOfControl, markOfString } from './escapes.ts';
import { applySgr, plainStyle, sameStyle, sgrOf, type Style } from './style.ts';

/** A piece of a line in one style; with `mark`, it stands for something that is not text and is not copied. */
export interface Span {
  text: string;
  style: Style;
  mark?: string;
}

interface Cell extends Span {
  /** What a mark was made of. */
  source?: string;
}

/** A cursor that jumps far out costs this many cells at most. */
const farthest = 4096;

const zeroWidth = /^(?:\p{M}|[\u200b-\u200d]|[\ufe00-\ufe0f])$/u;

/** Terminal columns of a character. Ranges: East Asian Width W and F, and the emoji blocks. */
function width(character: string): 0 | 1 | 2 {
  const point = character.codePointAt(0) ?? 0;
  if (point < 0x300) return 1;
  if (zeroWidth.test(character)) return 0;
  if (point < 0x1100) return 1;
  return point <= 0x115f ||
    (point >= 0x2e80 && point <= 0xa4cf) ||
    (point >= 0xac00 && point <= 0xd7a3) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0xfe30 && point <= 0xfe6f) ||
    (point >= 0xff00 && point <= 0xff60) ||
    (point >= 0xffe0 && point <= 0xffe6) ||
    (point >= 0x1f300 && point <= 0x1faff) ||
    (point >= 0x20000 && point <= 0x3fffd)
    ? 2
    : 1;
}

export interface Row {
  cells: Cell[];
  column: number;
  style: Style;
}

/** Lines whose cursor moves within the line: progress bars and the like. A return at the very end moves nothing. */
const moves = /[\b]|\r(?!\r*$)|\x1b\[[\d;?]*[CDGJKPX`]/;

export function needsCells(raw: string): boolean {
  return moves.test(raw);
}

/** Plays a raw line on one terminal row without a right edge. */
export function play(raw: string, start: Style): Row {
  const cells: Cell[] = [];
  let column = 0;
  let style = start;
  const blank = (): Cell => ({ text: ' ', style: plainStyle });
  /** A wide character across this border is gone: its halves become blank. */
  const split = (at: number): void => {
    if (cells[at]?.text !== '') return;
    cells[at - 1] = blank();
    cells[at] = blank();
  };
  const put = (cell: Cell, columns: 1 | 2): void => {
    while (cells.length < column) cells.push(blank());
    split(column);
    split(column + columns);
    cells[column] = cell;
    if (columns === 2) cells[column + 1] = { text: '', style: cell.style };
    column += columns;
  };
  const goTo = (target: number): void => {
    column = Math.max(0, Math.min(target, Math.max(farthest, cells.length)));
  };
  const putMark = (mark: Mark | null, source: string): void => {
    if (mark) put({ text: mark.text, style, mark: mark.title, source }, 1);
  };
  const erase = (from: number, to: number): void => {
    split(from);
    split(to);
    if (to >= cells.length) cells.length = Math.min(cells.length, from);
    else for (let at = from; at < to; at++) cells[at] = blank();
  };
  tokenize(raw, {
    text: (from, to) => {
      for (const character of raw.slice(from, to)) {
        if (character === '\t') {
          goTo((Math.floor(column / 8) + 1) * 8);
          continue;
        }
        const columns = width(character);
        if (columns !== 0) put({ text: character, style }, columns);
        else {
          const before = cells[column - 1]?.text === '' ? cells[column - 2] : cells[column - 1];
          if (before && before.mark === undefined && before.text.length < 32) before.text += character;
        }
      }
    },
    csi: (params, final) => {
      const first = Number(params.split(';')[0]) || 0;
      const count = Math.max(1, first);
      if (final === 'm') style = applySgr(style, params);
      else if (final === 'C') goTo(column + count);
      else if (final === 'D') goTo(column - count);
      else if (final === 'G' || final === '`') goTo(count - 1);
      else if (final === 'X') erase(column, column + count);
      else if (final === 'P') {
        split(column);
        split(column + count);
        cells.splice(column, count);
      }
      // Erase below, seen from one row, is erase to its end; the other forms of J would hide other lines.
      else if ((final === 'K' || final === 'J') && first === 0) erase(column, Infinity);
      else if (final === 'K' && first === 1) erase(0, column + 1);
      else if (final === 'K' && first === 2) erase(0, Infinity);
    },
    string: (introducer, content) => {
      putMark(markOfString(introducer, content), `\x1b${introducer}${content}\x1b\\`);
    },
    control: (sequence) => {
      if (sequence === '\r') column = 0;
      else if (sequence === '\b') column = Math.max(0, column - 1);
      else putMark(markOfControl(sequence), sequence);
    },
  });
  return { cells, column, style };
}

/** Cells as spans; blank cells at the end stay, as a terminal keeps them. */
export function spansOf(cells: readonly Cell[]): Span[] {
  const spans: Span[] = [];
  for (const cell of cells) {
    const last = spans.at(-1);
    if (cell.mark !== undefined) spans.push({ text: cell.text, style: cell.style, mark: cell.mark });
    else if (last && last.mark === undefined && sameStyle(last.style, cell.style)) last.text += cell.text;
    else spans.push({ text: cell.text, style: cell.style });
  }
  return spans;
}

/**
 * A shorter raw line that plays to the same row, cursor and style: a progress bar that was redrawn ten thousand
 * times costs as much as one drawing.
 */
export function compact(raw: string, start: Style): string {
  const row = play(raw, start);
  let text = '';
  let style: Style | null = null;
  for (const cell of row.cells) {
    if (!style || !sameStyle(style, cell.style)) text += sgrOf((style = cell.style));
    text += cell.source ?? cell.text;
  }
  return `${text}\r${row.column > 0 ? `\x1b[${String(row.column)}C` : ''}${sgrOf(row.style)}`;
}
