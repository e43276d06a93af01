import { expect, it } from 'vitest';
import { RowSelection } from './row-selection.svelte.ts';

const of = (order: string[]): RowSelection<string> => new RowSelection(() => order);
const chosen = (rows: RowSelection<string>): string => [...rows.selected].sort().join('');

it('the keyboard moves within the list and begins at the near end', () => {
  const rows = of(['a', 'b', 'c']);
  expect(rows.move(1, false)).toBe(0);
  expect(rows.move(99, false)).toBe(2);
  expect(rows.move(-1, false)).toBe(1);
  expect(rows.active).toBe('b');
  expect(of([]).move(1, false)).toBe(-1);
});

it('shift chooses everything from the row chosen last, in either direction', () => {
  const rows = of(['a', 'b', 'c', 'd', 'e']);
  rows.toggle('d');
  rows.extendTo('b');
  expect(chosen(rows)).toBe('bcd');
  rows.extendTo('e');
  expect(chosen(rows)).toBe('bcde');
});

it('shift and arrows choose as they go', () => {
  const rows = of(['a', 'b', 'c']);
  rows.move(1, false);
  rows.move(1, true);
  expect(chosen(rows)).toBe('ab');
  rows.toggle('a');
  expect(chosen(rows)).toBe('b');
});

it('all means all that are shown', () => {
  let order = ['a', 'b'];
  const rows = new RowSelection(() => order);
  rows.selectAll(true);
  expect(rows.isAll).toBe(true);
  order = ['a', 'b', 'c'];
  expect(rows.isAll).toBe(false);
  rows.selectAll(false);
  expect(rows.isAll).toBe(false);
  expect(chosen(rows)).toBe('');
});
