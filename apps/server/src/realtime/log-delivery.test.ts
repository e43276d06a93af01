import type { EventPage, JobDone, JobEvent } from '@vmo/contract';
import { JobId } from '@vmo/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ackWindow, LogDelivery, tailEvents } from './log-delivery.ts';

const jobId = JobId.parse('01970c4e-7a01-7abc-8def-0123456789ab');
const done: JobDone = { jobId, status: 'done', exitCode: 0, signal: null };
const quarter = 'x'.repeat(ackWindow / 4);

/** A stored log and one reader of it; each step is under the test's control. */
function createReader() {
  const stored: JobEvent[] = [];
  const received: (number | 'done' | { from: number; to: number })[] = [];
  const reads: (() => void)[] = [];
  let room = ackWindow;
  const wanted: number[] = [];
  let failing = false;
  let reading: Promise<unknown> = Promise.resolve();
  const errors: unknown[] = [];

  const delivery = new LogDelivery({
    read: (afterSeq, limit, maxBytes) => {
      wanted.push(maxBytes);
      const page = new Promise<EventPage>((resolve, reject) => {
        reads.push(() => {
          if (failing) reject(new Error('the database is away'));
          else
            resolve({
              events: stored.filter(({ seq }) => seq > afterSeq).slice(0, limit),
              lastSeq: stored.length,
            });
        });
      });
      reading = page.catch(() => undefined);
      return page;
    },
    room: () => room,
    send: ({ seq }) => received.push(seq),
    skip: ({ fromSeq, toSeq }) => received.push({ from: fromSeq, to: toSeq }),
    done: () => received.push('done'),
    onError: (error) => errors.push(error),
  });

  return {
    delivery,
    received,
    wanted,
    errors,
    store(text = 'x'): JobEvent {
      const event: JobEvent = {
        jobId,
        seq: stored.length + 1,
        stream: 'stdout',
        chunk: text,
        ts: '2026-01-01T00:00:00Z',
        linesBefore: 0,
        continues: null,
        style: '',
      };
      stored.push(event);
      return event;
    },
    append(text?: string) {
      delivery.appended([this.store(text)]);
    },
    finish() {
      delivery.finished(done, stored.length);
    },
    open(now: boolean, bytes = ackWindow) {
      room = now ? bytes : 0;
      if (now) delivery.wake();
    },
    fail(now: boolean) {
      failing = now;
    },
    /** Answers one read that is waiting. */
    async answer() {
      reads.shift()?.();
      await reading;
      await Promise.resolve();
    },
    /** Answers reads until none comes any more. */
    async settle() {
      while (reads.length > 0) await this.answer();
    },
    get lastSeq() {
      return stored.length;
    },
  };
}

const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, index) => from + index);

describe('the delivery of a log', () => {
  it('sends history first, then live events, then the end', async () => {
    const reader = createReader();
    reader.store();
    reader.store();
    reader.delivery.start(0, 2);
    reader.append();
    await reader.settle();
    reader.append();
    reader.finish();
    await reader.settle();
    expect(reader.received).toEqual([1, 2, 3, 4, 'done']);
  });

  it('sends nothing before it is started, and misses nothing of that time', async () => {
    const reader = createReader();
    reader.store();
    reader.append();
    reader.finish();
    expect(reader.received).toEqual([]);
    reader.delivery.start(0, 1);
    await reader.settle();
    expect(reader.received).toEqual([1, 2, 'done']);
  });

  it('begins after the event that the reader has', async () => {
    const reader = createReader();
    for (let n = 0; n < 5; n++) reader.store();
    reader.delivery.start(3, 5);
    await reader.settle();
    expect(reader.received).toEqual([4, 5]);
  });

  it('keeps nothing for a socket that takes nothing, and sends everything once it does', async () => {
    const reader = createReader();
    reader.delivery.start(0, 0);
    reader.open(false);
    for (let n = 0; n < 20; n++) reader.append(quarter);
    reader.finish();
    await reader.settle();
    expect(reader.received).toEqual([]);
    reader.open(true);
    await reader.settle();
    expect(reader.received).toEqual([...upTo(20), 'done']);
  });

  it('reads no more from the database than the socket takes', async () => {
    const reader = createReader();
    reader.open(true, 1_000);
    for (let n = 0; n < 3; n++) reader.store();
    reader.delivery.start(0, 3);
    await reader.settle();
    expect(reader.received).toEqual([1, 2, 3]);
    expect(reader.wanted).toEqual([1_000]);
  });

  it('lets a reader that acknowledges owe no more than the window', async () => {
    const reader = createReader();
    reader.delivery.start(0, 0);
    reader.delivery.acknowledged(0);
    for (let n = 0; n < 6; n++) reader.append(quarter);
    await reader.settle();
    expect(reader.received).toEqual([1, 2, 3, 4]);
    reader.delivery.acknowledged(2);
    await reader.settle();
    expect(reader.received).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('tells a reader that acknowledges what it missed, and goes on with the newest', async () => {
    const reader = createReader();
    reader.delivery.start(0, 0);
    reader.delivery.acknowledged(0);
    for (let n = 0; n < 40; n++) reader.append(quarter);
    reader.finish();
    reader.delivery.acknowledged(4);
    await reader.settle();
    const resumed = 40 - tailEvents + 1;
    expect(reader.received.slice(0, 6)).toEqual([1, 2, 3, 4, { from: 5, to: resumed - 1 }, resumed]);
    for (let n = 0; n < 10; n++) {
      reader.delivery.acknowledged(40);
      await reader.settle();
    }
    expect(reader.received.slice(5)).toEqual([...upTo(40, resumed), 'done']);
  });

  it('never skips history', async () => {
    const reader = createReader();
    for (let n = 0; n < 30; n++) reader.store(quarter);
    reader.delivery.start(0, 30);
    reader.delivery.acknowledged(0);
    for (let n = 0; n < 30; n++) {
      await reader.settle();
      reader.delivery.acknowledged(n);
    }
    await reader.settle();
    expect(reader.received).toEqual(upTo(30));
  });

  it('sends nothing after it is closed, also when a read was under way', async () => {
    const reader = createReader();
    reader.store();
    reader.delivery.start(0, 1);
    reader.delivery.close();
    await reader.settle();
    reader.append();
    expect(reader.received).toEqual([]);
  });

  it('tries again when the database was away', async () => {
    const reader = createReader();
    reader.store();
    reader.fail(true);
    reader.delivery.start(0, 1);
    await reader.settle();
    expect(reader.errors).toHaveLength(1);
    reader.fail(false);
    await expect.poll(async () => (await reader.settle(), reader.received), { timeout: 10_000 }).toEqual([1]);
    reader.delivery.close();
  });

  it('ends at once when the events have expired', async () => {
    const reader = createReader();
    reader.delivery.start(0, 100);
    reader.delivery.finished(done, 100);
    await reader.settle();
    expect(reader.received).toEqual(['done']);
  });

  const step = fc.oneof(
    fc.record({ kind: fc.constant('append' as const), size: fc.constantFrom(1, 60_000, ackWindow / 3) }),
    fc.record({ kind: fc.constant('open' as const), now: fc.boolean() }),
    fc.record({ kind: fc.constant('ack' as const), back: fc.nat(5) }),
    fc.record({ kind: fc.constant('answer' as const) }),
  );

  it('has no gap and no repeat whatever the order of things, with skips for those who acknowledge', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(30),
        fc.boolean(),
        fc.array(step, { maxLength: 60 }),
        async (history, acknowledges, steps) => {
          const reader = createReader();
          for (let n = 0; n < history; n++) reader.store('x'.repeat(50_000));
          reader.delivery.start(0, history);
          for (const taken of steps) {
            if (taken.kind === 'append') reader.append('x'.repeat(taken.size));
            else if (taken.kind === 'open') reader.open(taken.now);
            else if (taken.kind === 'answer') await reader.answer();
            else if (acknowledges) {
              const last = reader.received.findLast((entry) => typeof entry === 'number') ?? 0;
              reader.delivery.acknowledged(Math.max(0, last - taken.back));
            }
          }
          reader.finish();
          reader.open(true);
          for (let n = 0; reader.received.at(-1) !== 'done'; n++) {
            expect(n).toBeLessThan(100);
            await reader.settle();
            if (acknowledges) reader.delivery.acknowledged(reader.lastSeq);
          }
          let next = 1;
          for (const entry of reader.received.slice(0, -1)) {
            if (typeof entry === 'number') {
              expect(entry).toBe(next);
              next += 1;
            } else if (entry !== 'done') {
              expect(acknowledges && entry.from === next && entry.from > history).toBe(true);
              next = entry.to + 1;
            }
          }
          expect(next).toBe(reader.lastSeq + 1);
          expect(reader.received.filter((entry) => entry === 'done')).toHaveLength(1);
        },
      ),
      { numRuns: 300 },
    ));
});
