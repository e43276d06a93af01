import { createClient } from '@vmo/client';
import type { FindRow } from '@vmo/contract';
import { expect, it, onTestFinished, vi } from 'vitest';
import { countWords, Finder, shortfallWords } from './finder.svelte.ts';
import { jobId } from './testing.ts';

/** A finder whose searches are answered with these rows, one list after the other; a live job has ended at the last. */
function finderOf(answers: FindRow[][], live = false) {
  const asked: URLSearchParams[] = [];
  const client = createClient({
    baseUrl: 'http://server',
    fetch: (input) => {
      asked.push(new URL(input instanceof Request ? input.url : input).searchParams);
      const rows = answers[asked.length - 1] ?? [];
      return Promise.resolve(new Response(rows.map((row) => `${JSON.stringify(row)}\n`).join('')));
    },
  });
  const finder = new Finder({
    client,
    jobId,
    streams: () => null,
    isLive: () => live && asked.length + 1 < answers.length,
  });
  return { finder, asked };
}
const query = { text: 'a', regex: false, caseSensitive: false };

it('begins at the reader, goes round, and counts all', async () => {
  const { finder } = finderOf([
    [
      { type: 'matches', lines: [[3, 2]] },
      { type: 'progress', seq: 5, lastSeq: 10, matches: 2 },
      { type: 'matches', lines: [[900_000, 1]] },
      { type: 'end', seq: 10, matches: 3, truncated: false, longLines: 0 },
    ],
  ]);
  finder.search(query, 100);
  await vi.waitFor(() => expect(finder.searching).toBe(false));
  expect(countWords(finder)).toBe('3 of 3');
  finder.step(1);
  expect(finder.currentMatch).toEqual({ number: 3, nth: 0 });
  finder.step(-1);
  expect(finder.currentMatch).toEqual({ number: 900_000, nth: 0 });
});

it('stays at its match when a line that took long to end is found before it', async () => {
  const { finder } = finderOf(
    [
      [
        { type: 'matches', lines: [[9, 2]] },
        { type: 'end', seq: 10, matches: 2, truncated: false, longLines: 0 },
      ],
      [
        { type: 'matches', lines: [[7, 1]] },
        { type: 'end', seq: 12, matches: 1, truncated: false, longLines: 0 },
      ],
    ],
    true,
  );
  finder.search(query, 1);
  await vi.waitFor(() => expect(countWords(finder)).toBe('1 of 2'));
  finder.step(1);
  await vi.waitFor(() => expect(countWords(finder)).toBe('3 of 3'), 5000);
  expect(finder.currentMatch).toEqual({ number: 9, nth: 1 });
  finder.step(-1);
  finder.step(-1);
  expect(finder.currentMatch).toEqual({ number: 7, nth: 0 });
});

it('goes on where it ended while the job writes, and once more when it has ended', async () => {
  const { finder, asked } = finderOf(
    [
      [{ type: 'end', seq: 10, matches: 0, truncated: false, longLines: 0 }],
      [
        { type: 'matches', lines: [[7, 1]] },
        { type: 'end', seq: 12, matches: 1, truncated: false, longLines: 0 },
      ],
    ],
    true,
  );
  finder.search(query, 1);
  await vi.waitFor(() => expect(countWords(finder)).toBe('1 of 1'), 5000);
  expect(asked.map((each) => each.get('afterSeq'))).toEqual(['0', '10']);
  finder.stop();
});

it('says what the server says, and what is wrong with a pattern before it is asked', async () => {
  const { finder, asked } = finderOf([
    [{ type: 'error', code: 'TOO_SLOW', message: 'This pattern takes too long.' }],
  ]);
  finder.search({ ...query, text: '(', regex: true }, 1);
  expect(finder.error).toBe('Unterminated group');
  expect(asked).toHaveLength(0);
  finder.search({ ...query, text: '(a+)+b', regex: true }, 1);
  await vi.waitFor(() => expect(finder.error).toBe('This pattern takes too long.'));
});

it('ends with the words of the server also in a log that grows, and keeps what was found before', async () => {
  const { finder, asked } = finderOf(
    [
      [
        { type: 'matches', lines: [[3, 1]] },
        { type: 'end', seq: 10, matches: 1, truncated: false, longLines: 0 },
      ],
      [{ type: 'error', code: 'PATTERN_TOO_SLOW', message: 'This pattern takes too long.' }],
      [],
    ],
    true,
  );
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  finder.search({ ...query, regex: true }, 1);
  await vi.waitFor(() => expect(finder.error).toBe('This pattern takes too long.'), 5000);
  expect(finder.searching).toBe(false);
  expect(finder.found.count).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
  expect(asked).toHaveLength(2);
});

it('says which matches it lists, and of which lines it knows only the beginning', async () => {
  const { finder } = finderOf([
    [
      { type: 'matches', lines: [[3, 2]] },
      { type: 'end', seq: 10, matches: 214_000, truncated: true, longLines: 1 },
    ],
  ]);
  finder.search(query, 1);
  await vi.waitFor(() => expect(finder.searching).toBe(false));
  expect(countWords(finder)).toBe('1 of 2+');
  expect(shortfallWords(finder)).toBe(
    'There are 214,000 matches, too many to go to each: the first 2 are listed. ' +
      'Of one line longer than 1 MiB only the beginning was searched.',
  );
});

it('marks words wherever they stand, patterns only where the server found them', async () => {
  const { finder } = finderOf([
    [
      { type: 'matches', lines: [[2, 2]] },
      { type: 'end', seq: 1, matches: 2, truncated: false, longLines: 0 },
    ],
  ]);
  finder.search({ ...query, text: 'a+', regex: true }, 1);
  await vi.waitFor(() => expect(finder.searching).toBe(false));
  expect(finder.rangesIn(2, 'aa b \x1b[31ma', false, 4000)).toEqual([
    { start: 0, end: 2, current: true },
    { start: 5, end: 6, current: false },
  ]);
  expect(finder.rangesIn(3, 'aa', false, 4000)).toEqual([]);
  expect(finder.rangesIn(2, 'aa', true, 4000)).toEqual([]);
  finder.search(query, 1);
  expect(finder.rangesIn(3, 'xA', false, 4000)).toHaveLength(1);
  finder.stop();
});
