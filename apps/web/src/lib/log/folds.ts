import type { LogMarks } from '@vmo/contract';

export type Group = LogMarks['groups'][number];

/** Lines that have no row, by number: first and last. */
export interface FoldedRange {
  from: number;
  to: number;
}

/** What folded groups hide: all of their lines but the first. One that has not ended yet cannot be folded. */
export function foldedRanges(groups: readonly Group[], isFolded: (start: number) => boolean): FoldedRange[] {
  const ranges: FoldedRange[] = [];
  let hiddenTo = 0;
  for (const { start, end } of groups) {
    if (end === null || end <= start || start <= hiddenTo || !isFolded(start)) continue;
    ranges.push({ from: start + 1, to: end });
    hiddenTo = end;
  }
  return ranges;
}

/** Which row (from 0) a position (from 1) is in, where some positions have none. */
export class RowMap {
  readonly #ranges: readonly FoldedRange[];
  /** Positions hidden by the ranges before each one. */
  readonly #hiddenBefore: number[] = [];
  readonly #hidden: number = 0;

  /** @param ranges In order, without overlaps. */
  constructor(ranges: readonly FoldedRange[]) {
    this.#ranges = ranges;
    for (const { from, to } of ranges) {
      this.#hiddenBefore.push(this.#hidden);
      this.#hidden += to - from + 1;
    }
  }

  /** Rows of this many positions. */
  rows(positions: number): number {
    return positions - this.#hidden;
  }

  /** Index of the last range for which `isBefore` holds, which it does for the first ones only; -1: none. */
  #last(isBefore: (range: FoldedRange, index: number) => boolean): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const range = this.#ranges[middle];
      if (range && isBefore(range, middle)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The row of a position; that of the line that stands for it, when it is folded away. */
  rowOf(position: number): number {
    const index = this.#last(({ from }) => from <= position);
    const range = this.#ranges[index];
    if (!range) return position - 1;
    const before = this.#hiddenBefore[index] ?? 0;
    if (position <= range.to) return range.from - 2 - before;
    return position - 1 - before - (range.to - range.from + 1);
  }

  positionAt(row: number): number {
    const index = this.#last(({ from }, at) => from - 1 - (this.#hiddenBefore[at] ?? 0) <= row);
    const range = this.#ranges[index];
    if (!range) return row + 1;
    return row + 1 + (this.#hiddenBefore[index] ?? 0) + (range.to - range.from + 1);
  }
}
