import { JobId, type JobEvent } from '@vmo/contract';
import { PacketType } from 'socket.io-parser';
import { describe, expect, it } from 'vitest';
import { LiveTails } from './live-tails.ts';
import { ackWindow } from './log-delivery.ts';
import { parser } from './parser.ts';

const jobId = JobId.parse('01970c4e-7a01-7abc-8def-0123456789ab');

const event = (seq: number, chunk = 'x'): JobEvent => ({
  ...{
    jobId,
    seq,
    chunk,
    stream: 'stdout',
    ts: '2026-01-01T00:00:00Z',
    linesBefore: 0,
    continues: null,
    style: '',
  },
});

const seqs = (tails: LiveTails, afterSeq: number, limit = 100, maxUnits = ackWindow) =>
  tails.read(jobId, afterSeq, limit, maxUnits)?.events.map(({ seq }) => seq);

describe('the live tails', () => {
  it('keep nothing of a job that nobody follows', () => {
    const tails = new LiveTails();
    tails.appended(jobId, [event(1)]);
    tails.hold(jobId);
    expect(seqs(tails, 0)).toBeUndefined();
    tails.appended(jobId, [event(2)]);
    tails.hold(jobId);
    tails.release(jobId);
    expect(seqs(tails, 1)).toEqual([2]);
    tails.release(jobId);
    expect(seqs(tails, 1)).toBeUndefined();
  });

  it('answer what they have whole, and nothing where something is missing', () => {
    const tails = new LiveTails();
    tails.hold(jobId);
    tails.appended(jobId, [event(5), event(6)]);
    tails.appended(jobId, [event(7)]);
    expect(seqs(tails, 3)).toBeUndefined();
    expect(seqs(tails, 4)).toEqual([5, 6, 7]);
    expect(tails.read(jobId, 5, 1, 100)).toEqual({ events: [event(6)], lastSeq: 7 });
    expect(seqs(tails, 7)).toBeUndefined();
    tails.appended(jobId, [event(10)]);
    expect(seqs(tails, 6)).toBeUndefined();
    expect(seqs(tails, 9)).toEqual([10]);
  });

  it('give one event however large, and else no more than fits', () => {
    const tails = new LiveTails();
    tails.hold(jobId);
    tails.appended(jobId, [event(1, 'x'.repeat(100)), event(2, 'x'.repeat(100)), event(3)]);
    expect(seqs(tails, 0, 100, 10)).toEqual([1]);
    expect(seqs(tails, 0, 100, 200)).toEqual([1, 2]);
  });

  it('hold the newest that fit into a window', () => {
    const tails = new LiveTails();
    tails.hold(jobId);
    for (let seq = 1; seq <= 10; seq++) tails.appended(jobId, [event(seq, 'x'.repeat(ackWindow / 4))]);
    expect(seqs(tails, 5)).toBeUndefined();
    expect(seqs(tails, 6)).toEqual([7, 8, 9, 10]);
    tails.appended(jobId, [event(11, 'x'.repeat(ackWindow + 1))]);
    expect(seqs(tails, 10)).toBeUndefined();
  });
});

it('output is encoded once for all sockets, and what else is sent each time', () => {
  const encoder = new parser.Encoder();
  const packet = (name: string, data: object) => ({
    type: PacketType.EVENT,
    nsp: '/jobs',
    data: [name, data],
  });
  const output = event(1, 'one line\n');
  expect(encoder.encode(packet('job:log', output))).toEqual([
    `2/jobs,${JSON.stringify(['job:log', output])}`,
  ]);
  expect(encoder.encode(packet('job:log', output))).toBe(encoder.encode(packet('job:log', output)));
  const row = { id: jobId, status: 'running' };
  encoder.encode(packet('job:status', row));
  row.status = 'done';
  expect(encoder.encode(packet('job:status', row))).toEqual([expect.stringContaining('"done"')]);
});
