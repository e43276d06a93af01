import { JobId } from '@vmo/contract';
import { expect, test } from 'vitest';
import { findInLog } from './find-in-log.ts';
import { createClient } from './rest.ts';
import { UnreachableError } from './unreachable.ts';

const jobId = JobId.parse('019f0000-0000-7000-8000-000000000001');

function clientOf(parts: readonly string[], seen: string[] = []) {
  const fake: typeof fetch = (input) => {
    seen.push(new URL(input instanceof Request ? input.url : input).search);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
        controller.close();
      },
    });
    return Promise.resolve(new Response(body, { headers: { 'content-type': 'application/x-ndjson' } }));
  };
  return createClient({ baseUrl: 'http://server', fetch: fake });
}

const options = { text: 'a b', regex: false, caseSensitive: true, streams: ['stdout', 'stderr'] as const };

test('rows come one by one, wherever the network cut them', async () => {
  const seen: string[] = [];
  const client = clientOf(
    [
      '{"type":"matches","lines":[[3,1],',
      '[7,2]]}\n{"type":"end","se',
      'q":9,"matches":3,"truncated":false,"longLines":0}\n',
    ],
    seen,
  );
  const rows = [];
  for await (const row of findInLog(client, jobId, options, new AbortController().signal)) rows.push(row);
  expect(rows).toEqual([
    {
      type: 'matches',
      lines: [
        [3, 1],
        [7, 2],
      ],
    },
    { type: 'end', seq: 9, matches: 3, truncated: false, longLines: 0 },
  ]);
  expect(seen).toEqual(['?text=a+b&regex=false&caseSensitive=true&streams=stdout%2Cstderr']);
});

test('an answer without an end is said to have broken off', async () => {
  const client = clientOf(['{"type":"matches","lines":[[3,1]]}\n']);
  const rows = findInLog(client, jobId, options, new AbortController().signal);
  await rows.next();
  await expect(rows.next()).rejects.toThrow(UnreachableError);
});
