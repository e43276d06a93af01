import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RowHeights } from './row-heights.ts';

it('knows every position after any pushes and changes', () => {
  const step = fc.oneof(
    fc.record({ push: fc.integer({ min: 1, max: 50 }) }),
    fc.record({ set: fc.nat(3000), to: fc.integer({ min: 1, max: 50 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heights = new RowHeights();
      const model: number[] = [];
      for (const each of steps) {
        if ('push' in each) {
          heights.push(each.push);
          model.push(each.push);
        } else if (model.length > 0) {
          const row = each.set % model.length;
          heights.set(row, each.to);
          model[row] = each.to;
        }
      }
      let top = 0;
      for (const [row, height] of model.entries()) {
        expect(heights.top(row)).toBe(top);
        expect(heights.at(top)).toBe(row);
        expect(heights.at(top + height - 1)).toBe(row);
        top += height;
      }
      expect(heights.total).toBe(top);
      if (model.length > 0) expect(heights.at(top + 100)).toBe(model.length - 1);
    }),
  );
});

it('grows past its first size', () => {
  const heights = new RowHeights();
  for (let row = 0; row < 5000; row++) heights.push(1 + (row % 3));
  expect(heights.total).toBe(heights.top(4999) + heights.height(4999));
  expect(heights.at(heights.top(4321))).toBe(4321);
});
