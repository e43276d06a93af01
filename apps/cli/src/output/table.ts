import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';

/** One column of a list; its value as text for every form of output, and painted for a table. */
export interface Column<T> {
  title: string;
  value: (row: T) => string;
  paint?: (text: string, row: T) => string;
  /** Gives way first where the line is too narrow; others only when these have. */
  isFlexible?: boolean;
  isRight?: boolean;
}

const gap = '  ';
/** A flexible column keeps so much, whatever the terminal's width. */
const minFlexible = 8;

/**
 * One line, and nothing that a terminal would obey: names, commands and reasons were written by others, and reach a
 * table as they are.
 */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\n\r\t]+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu, '');
}

const segmenter = new Intl.Segmenter();

/** Cuts to this many columns of a terminal, between characters as people see them. */
export function cut(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of segmenter.segment(text)) {
    const next = stringWidth(segment);
    if (used + next > width - 1) break;
    kept += segment;
    used += next;
  }
  return `${kept}…`;
}

function pad(text: string, width: number, isRight: boolean): string {
  const blanks = ' '.repeat(Math.max(0, width - stringWidth(text)));
  return isRight ? blanks + text : text + blanks;
}

/** Takes from the widest of them, a column at a time, until it fits or nothing more can be taken. */
function shrink(widths: number[], which: readonly number[], total: number, least: number): void {
  const sum = () => widths.reduce((all, width) => all + width, gap.length * (widths.length - 1));
  while (sum() > total) {
    const widest = which.reduce<number | null>(
      (best, index) => (best === null || (widths[index] ?? 0) > (widths[best] ?? 0) ? index : best),
      null,
    );
    if (widest === null || (widths[widest] ?? 0) <= least) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
}

/**
 * Lines of a table with a head.
 * @param width Columns of the terminal; null: as wide as it gets, for a pipe
 */
export function tableLines<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  width: number | null,
  paintHead: (text: string) => string,
): string[] {
  const cells = rows.map((row) => columns.map(({ value }) => oneLine(value(row))));
  const widths = columns.map(({ title }, index) =>
    Math.max(stringWidth(title), ...cells.map((line) => stringWidth(line[index] ?? ''))),
  );
  if (width !== null) {
    const all = columns.map((_, index) => index);
    const flexible = all.filter((index) => columns[index]?.isFlexible === true);
    shrink(widths, flexible, width, minFlexible);
    shrink(widths, all, width, 3);
  }
  const line = (texts: readonly string[], paint: (text: string, index: number) => string) =>
    texts
      .map((text, index) => {
        const shown = cut(text, widths[index] ?? 0);
        const padded = pad(shown, widths[index] ?? 0, columns[index]?.isRight === true);
        // Blanks stay outside of the colour; none at the end of a line.
        return padded.replace(shown, () => paint(shown, index));
      })
      .join(gap)
      .trimEnd();
  return [
    line(
      columns.map(({ title }) => title),
      (text) => paintHead(text),
    ),
    ...rows.map((row, at) =>
      line(cells[at] ?? [], (text, index) => columns[index]?.paint?.(text, row) ?? text),
    ),
  ];
}

/** As RFC 4180 says, with a head; lines end with LF, as everything else here. */
export function csvLines<T>(columns: readonly Column<T>[], rows: readonly T[]): string[] {
  const field = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [
    columns.map(({ title }) => field(title.toLowerCase().replaceAll(' ', '_'))).join(','),
    ...rows.map((row) => columns.map(({ value }) => field(value(row))).join(',')),
  ];
}
