import { describe, expect, it } from 'vitest';
import { compileQuery, findInText } from './query.ts';

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
