import { createClient } from '@vmo/client';
import { expect, it, vi } from 'vitest';
import { blockLines, LineStore } from './line-store.ts';
import { LineLoader } from './line-loader.svelte.ts';
import { FakeLog, jobId } from './testing.ts';

const line = (index: number): number => index * blockLines + 1;

/** A loader on a log of ten blocks, whose requests are answered by hand. */
function setUp({ removed = 0 } = {}) {
  const log = new FakeLog();
  log.write('stdout', 'x\n'.repeat(blockLines * 10));
  const store = new LineStore();
  store.count = blockLines * 10;
  const pageFrom = (from: number) => {
    const first = Math.max(from, removed + 1);
    return log.page(first, Math.max(0, from + blockLines - first));
  };
  const requests: { from: number; aborted: () => boolean; answer: (status?: number) => void }[] = [];
  const client = createClient({
    baseUrl: 'http://server',
    fetch: (input, init) =>
      new Promise((resolve, reject) => {
        const from = Number(new URL(input instanceof Request ? input.url : input).searchParams.get('from'));
        init?.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
        requests.push({
          from,
          aborted: () => init?.signal?.aborted ?? false,
          answer: (status = 200) => resolve(Response.json(pageFrom(from), { status })),
        });
      }),
  });
  const loader = new LineLoader({ client, jobId, store, streams: null, onPage: (page) => store.put(page) });
  return { store, loader, requests };
}

it('asks for whole blocks, the most wanted first, and only a few at once', async () => {
  const { store, loader, requests } = setUp();
  loader.need([line(5), line(5) + 1, line(6), line(4), line(3)]);
  expect(requests.map(({ from }) => from)).toEqual([line(5), line(6), line(4)]);
  requests[0]?.answer();
  await vi.waitFor(() => expect(requests).toHaveLength(4));
  expect(requests[3]?.from).toBe(line(3));
  expect(store.at(line(5))).toMatchObject({ number: line(5), raw: 'x' });
  loader.stop();
});

it('gives up what was scrolled past', async () => {
  const { loader, requests } = setUp();
  loader.need([line(1)]);
  loader.need([line(8)]);
  expect(requests[0]?.aborted()).toBe(true);
  await vi.waitFor(() => expect(requests.map(({ from }) => from)).toEqual([line(1), line(8)]));
  loader.stop();
});

it('waits for calm when told to', async () => {
  const { loader, requests } = setUp();
  loader.need([line(1)], 60);
  await new Promise((resolve) => setTimeout(resolve, 30));
  loader.need([line(2)], 60);
  expect(requests).toHaveLength(0);
  await vi.waitFor(() => expect(requests.map(({ from }) => from)).toEqual([line(2)]));
  loader.stop();
});

it('says what failed, does not repeat it by itself, and tries again when asked', async () => {
  const { store, loader, requests } = setUp();
  loader.need([line(2)]);
  requests[0]?.answer(500);
  await vi.waitFor(() => expect(loader.errorAt(line(2) + 7)).toBeInstanceOf(Error));
  loader.need([line(2)]);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(requests).toHaveLength(1);
  loader.load(line(2));
  expect(loader.errorAt(line(2))).toBeNull();
  requests[1]?.answer();
  await vi.waitFor(() => expect(store.at(line(2))).not.toBeNull());
  loader.stop();
});

it('does not ask again for what is not kept any more', async () => {
  const { store, loader, requests } = setUp({ removed: 300 });
  loader.need([line(0), line(1)]);
  for (const request of requests) request.answer();
  await vi.waitFor(() => expect(store.at(301)).not.toBeNull());
  expect(store.isAbsent(1)).toBe(true);
  expect(store.isAbsent(300)).toBe(true);
  loader.need([line(0), line(1)]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(requests).toHaveLength(2);
  loader.stop();
});
