import { expect, it } from 'vitest';
import { createNewest } from './newest.ts';

it('shows an answer that is late, and none behind a newer one', () => {
  const newest = createNewest();
  const [first, second, third] = [newest.ask(), newest.ask(), newest.ask()];
  expect(first()).toBe(true);
  expect(third()).toBe(true);
  expect(second()).toBe(false);
});

it('shows nothing of before once another question is asked', () => {
  const newest = createNewest();
  const before = newest.ask();
  newest.forget();
  const after = newest.ask();
  expect(before()).toBe(false);
  expect(after()).toBe(true);
});
