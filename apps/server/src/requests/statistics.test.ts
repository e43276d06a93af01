import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;

describe.skipIf(!isThere)('simulation requests', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  it('are found by a part of their commands, and counted by day', { timeout: 180_000 }, async () => {
    const { client } = server;
    const submit = async (commands: string, hold = false) =>
      (await client.call('submitRequest', { body: { vm_name: 'small-guest', commands, hold } })).uuid;
    const ran = await submit('echo the needle');
    const held = await submit('echo 100%', true);
    const found = async (text: string) => {
      const { requests } = await client.call('listRequests', { query: { text } });
      return requests.map(({ uuid }) => uuid);
    };
    expect(await found('NEEDLE')).toEqual([ran]);
    expect(await found('100%')).toEqual([held]);
    expect(await found('1%0')).toEqual([]);
    expect(await found('small-guest')).toEqual([held, ran]);

    const { timeline } = await until(
      'the end of the request',
      async () => {
        const request = await client.call('getRequest', { params: { requestId: ran }, query: { wait: 20 } });
        return request.status === 'done' && request;
      },
      { timeoutMs: 120_000, everyMs: 100 },
    );
    const between = (from: string | null, to: string | null) => Date.parse(to ?? '') - Date.parse(from ?? '');
    const { days, all } = await client.call('getRequestStatistics', { query: { days: 2 } });
    expect(all).toMatchObject({ counts: { done: 1, hold: 1, failed: 0, pending: 0 } });
    expect(all.log_bytes).toBeGreaterThan('the needle'.length);
    // One has both of them; that of the request is cut to milliseconds.
    for (const [figure, from, to] of [
      [all.queue_ms, timeline.queued_at, timeline.booting_at],
      [all.boot_ms, timeline.booting_at, timeline.ready_at],
    ] as const) {
      expect(figure?.p95).toBe(figure?.p50);
      expect(Math.abs((figure?.p50 ?? NaN) - Math.max(0, between(from, to)))).toBeLessThanOrEqual(1);
    }
    expect(days.map(({ day }) => day)).toContain(timeline.queued_at.slice(0, 10));
    await client.call('deleteRequest', { params: { requestId: held } });
    expect((await client.call('getRequestStatistics')).all.counts).toMatchObject({ hold: 0, cancelled: 1 });
  });
});
