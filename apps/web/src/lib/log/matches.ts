/** What is looked for. */
export interface FindQuery {
  text: string;
  regex: boolean;
  caseSensitive: boolean;
}

/** A query as an expression; words for the person when the pattern is wrong. */
export function compileQuery(query: FindQuery): RegExp | { error: string } {
  const flags = query.caseSensitive ? 'g' : 'gi';
  const source = query.regex ? query.text : query.text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  try {
    return new RegExp(source, flags);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { error: words.replace(/^Invalid regular expression: /, '').replace(/^\/[\s\S]*\/\w*: /, '') };
  }
}

/** More matches than this in one line are not counted. */
const maxPerLine = 1000;

/** Start and end of each match in a text, flat. Empty matches are none. */
export function findInText(expression: RegExp, text: string): number[] {
  const found: number[] = [];
  expression.lastIndex = 0;
  for (
    let match = expression.exec(text);
    match !== null && found.length < maxPerLine * 2;
    match = expression.exec(text)
  ) {
    if (match[0] === '') expression.lastIndex++;
    else found.push(match.index, match.index + match[0].length);
  }
  return found;
}

export interface Match {
  row: number;
  start: number;
  end: number;
}

/** Finding stops counting here. */
export const maxMatches = 100_000;

/** Matches in order of row and position. */
export class Matches {
  readonly #rows: number[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  get count(): number {
    return this.#rows.length;
  }

  get full(): boolean {
    return this.count >= maxMatches;
  }

  at(index: number): Match | null {
    const row = this.#rows[index];
    return row === undefined ? null : { row, start: this.#starts[index] ?? 0, end: this.#ends[index] ?? 0 };
  }

  /** Index of the first match in this row or after it. */
  firstFrom(row: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#rows[middle] ?? 0) < row) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Replaces what was found in a row; `found` as `findInText` gives it. */
  setRow(row: number, found: readonly number[]): void {
    const from = this.firstFrom(row);
    const until = this.#rows[from] === row ? this.firstFrom(row + 1) : from;
    if (from === until && found.length === 0) return;
    const starts = found.filter((_, index) => index % 2 === 0);
    const ends = found.filter((_, index) => index % 2 === 1);
    this.#rows.splice(from, until - from, ...starts.map(() => row));
    this.#starts.splice(from, until - from, ...starts);
    this.#ends.splice(from, until - from, ...ends);
  }
}
