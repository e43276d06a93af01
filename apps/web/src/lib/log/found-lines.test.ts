import { expect, it } from 'vitest';
import { FoundLines } from './found-lines.ts';

it('counts matches over lines', () => {
  const found = new FoundLines();
  found.add(3, 2);
  found.add(10, 1);
  found.add(500_000, 3);
  expect(found.count).toBe(6);
  expect([0, 1, 2, 3, 5].map((index) => found.at(index))).toEqual([
    { number: 3, nth: 0 },
    { number: 3, nth: 1 },
    { number: 10, nth: 0 },
    { number: 500_000, nth: 0 },
    { number: 500_000, nth: 2 },
  ]);
  expect(found.at(6)).toBeNull();
  expect(found.firstFrom(4)).toBe(2);
  expect(found.firstFrom(500_001)).toBe(6);
  expect(found.has(10)).toBe(true);
  expect(found.has(11)).toBe(false);
});

it('takes lines that come late where they belong, and those that come again instead of what they were', () => {
  const found = new FoundLines();
  found.add(10, 1);
  found.add(20, 2);
  found.add(3, 2);
  found.add(15, 1);
  found.add(10, 4);
  expect([found.count, found.lines]).toEqual([9, 4]);
  expect([1, 2, 5, 6, 7, 8].map((index) => found.at(index))).toEqual([
    { number: 3, nth: 1 },
    { number: 10, nth: 0 },
    { number: 10, nth: 3 },
    { number: 15, nth: 0 },
    { number: 20, nth: 0 },
    { number: 20, nth: 1 },
  ]);
  expect(found.indexOf({ number: 20, nth: 1 })).toBe(8);
  expect(found.firstFrom(11)).toBe(6);
});
