import fc from 'fast-check';
import { expect, it } from 'vitest';
import { newId } from './ids.ts';

it('is a UUID of version 7 that carries its time', () => {
  const now = Date.now() + 1_000;
  const id = newId(now);
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(now);
});

it('sorts by creation, also within a millisecond and when the clock is set back', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5, max: 5 }), { maxLength: 50 }), (steps) => {
      let now = Date.now() + 2_000;
      const ids = steps.map((step) => newId((now += step)));
      expect(ids).toEqual([...ids].sort());
      expect(new Set(ids).size).toBe(ids.length);
    }),
  );
  const flood = Array.from({ length: 20_000 }, () => newId(0));
  expect(flood).toEqual([...new Set(flood)].sort());
});
