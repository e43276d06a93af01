import { expect, it } from 'vitest';
import { bytesWords, readSize, uptimeWords } from './units.ts';

it('sizes are read as people write them', () => {
  expect(readSize('20 GiB')).toBe(20 * 1024 ** 3);
  expect(readSize('20')).toBe(20 * 1024 ** 3);
  expect(readSize('512m')).toBe(512 * 1024 ** 2);
  expect(readSize('1,5 TB')).toBe(1.5 * 1024 ** 4);
  expect(readSize('lots')).toBeNull();
  expect(readSize('0')).toBeNull();
});

it('sizes and times are written shortly', () => {
  expect(bytesWords(512)).toBe('512 B');
  expect(bytesWords(1536)).toBe('1.5 KiB');
  expect(bytesWords(20 * 1024 ** 3)).toBe('20 GiB');
  expect(uptimeWords(42_000)).toBe('0:42');
  expect(uptimeWords(3_909_000)).toBe('1:05:09');
  expect(uptimeWords(90 * 3_600_000)).toBe('3 d 18 h');
});
