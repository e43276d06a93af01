import fc from 'fast-check';
import { expect, it } from 'vitest';
import { foldedRanges, RowMap, type Group } from './folds.ts';

const group = (start: number, end: number | null, depth = 0): Group => ({
  start,
  end,
  name: 'x',
  kind: 'group',
  depth,
});

it('hides all lines of a folded group but its first; groups in it go with it, an unfinished one stays', () => {
  const groups = [group(2, 10), group(4, 6, 1), group(12, 13), group(20, null)];
  expect(foldedRanges(groups, () => true)).toEqual([
    { from: 3, to: 10 },
    { from: 13, to: 13 },
  ]);
  expect(foldedRanges(groups, (start) => start === 4)).toEqual([{ from: 5, to: 6 }]);
});

it('finds the row of every line and the line of every row', () => {
  const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(sizes, (pieces) => {
      const ranges: { from: number; to: number }[] = [];
      let last = 0;
      for (const [shown, hidden] of pieces) {
        ranges.push({ from: last + shown + 1, to: last + shown + hidden });
        last += shown + hidden;
      }
      const map = new RowMap(ranges);
      const shown = Array.from({ length: last + 5 }, (_, index) => index + 1).filter(
        (position) => !ranges.some(({ from, to }) => position >= from && position <= to),
      );
      expect(map.rows(last + 5)).toBe(shown.length);
      for (const [row, position] of shown.entries()) {
        expect(map.positionAt(row)).toBe(position);
        expect(map.rowOf(position)).toBe(row);
      }
      for (const { from, to } of ranges) expect(map.rowOf(to)).toBe(map.rowOf(from - 1));
    }),
  );
});
