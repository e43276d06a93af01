import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RowHeights } from './row-heights.ts';

it('knows every position after any growth and changes', () => {
  const step = fc.oneof(
    fc.record({ grow: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ set: fc.nat(3000), to: fc.integer({ min: 1, max: 50 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const heights = new RowHeights(20);
      const model: number[] = [];
      for (const each of steps) {
        if ('grow' in each) {
          for (let row = 0; row < each.grow; row++) model.push(20);
          heights.setCount(model.length);
        } else if (model.length > 0) {
          const row = each.set % model.length;
          heights.set(row, each.to);
          model[row] = each.to;
        }
      }
      let top = 0;
      for (const [row, height] of model.entries()) {
        if (row % 17 === 0 || height !== 20) {
          expect(heights.top(row)).toBe(top);
          expect(heights.at(top)).toBe(row);
          expect(heights.at(top + height - 1)).toBe(row);
        }
        top += height;
      }
      expect(heights.total).toBe(top);
      if (model.length > 0) expect(heights.at(top + 100)).toBe(model.length - 1);
    }),
    { numRuns: 60 },
  );
});

it('has room for many million rows at once', () => {
  const heights = new RowHeights(20);
  heights.setCount(30_000_000);
  heights.set(500_000, 60);
  expect(heights.total).toBe(600_000_040);
  expect(heights.at(heights.top(7_777_777))).toBe(7_777_777);
});
