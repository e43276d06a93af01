import { describe, expect, it } from 'vitest';
import { compileQuery, findInText, Matches } from './matches.ts';

const find = (text: string, wanted: string, regex = false, caseSensitive = false): number[] | string => {
  const expression = compileQuery({ text: wanted, regex, caseSensitive });
  return expression instanceof RegExp ? findInText(expression, text) : expression.error;
};

describe('a query', () => {
  it('takes every character for itself unless it is a pattern', () => {
    expect(find('a.b*c (a.b*c)', 'a.b*c')).toEqual([0, 5, 7, 12]);
    expect(find('aXb', 'a.b')).toEqual([]);
    expect(find('aXb', 'a.b', true)).toEqual([0, 3]);
    expect(find('x[y]-{z}/\\', '[y]-{z}/\\')).toEqual([1, 10]);
  });

  it('minds the case when asked to', () => {
    expect(find('Error ERROR', 'error')).toEqual([0, 5, 6, 11]);
    expect(find('Error ERROR', 'Error', false, true)).toEqual([0, 5]);
  });

  it('says what is wrong with a pattern', () => {
    expect(find('', '(', true)).toBe('Unterminated group');
  });

  it('finds nothing where a pattern matches the empty text', () => {
    expect(find('aab', 'a*', true)).toEqual([0, 2]);
    expect(find('bbb', 'x*', true)).toEqual([]);
  });
});

it('keeps matches in order while rows are searched again', () => {
  const matches = new Matches();
  matches.setRow(3, [0, 1, 5, 6]);
  matches.setRow(7, [2, 4]);
  matches.setRow(5, [1, 2]);
  expect(matches.count).toBe(4);
  expect([0, 1, 2, 3].map((index) => matches.at(index)?.row)).toEqual([3, 3, 5, 7]);
  expect(matches.firstFrom(4)).toBe(2);
  matches.setRow(3, [9, 10]);
  matches.setRow(5, []);
  expect(matches.at(0)).toEqual({ row: 3, start: 9, end: 10 });
  expect(matches.count).toBe(2);
  expect(matches.at(2)).toBeNull();
});
