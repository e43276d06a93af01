import {
  JobId,
  SpoolStream,
  canTransition,
  type JobEvent,
  type LogStream,
  type Offsets,
  type SpoolChunk,
} from '@vmo/contract';
import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { freeJobs, owner, startCockpit, type Cockpit } from './harness.test.support.ts';
import { createLog, packChunk } from './log.ts';
import { listPartitions } from './log-repository.ts';
import { findJob, lockJob } from './repository.ts';

let cockpit: Cockpit;

beforeAll(async () => {
  cockpit = await startCockpit({ withAgent: false });
});
afterAll(() => cockpit[Symbol.asyncDispose]());

async function takeJob() {
  const { id } = await cockpit.run('true');
  const [job] = await cockpit.apiOf('a').claim(freeJobs(1));
  if (job?.id !== id) throw new Error('another job was taken');
  const ref = { jobId: id, fence: job.fence };
  expect(await cockpit.apiOf('a').started(ref, new Date(), ['begun'])).toBe(true);
  return ref;
}

const nothing = { boot: Buffer.alloc(0), command: Buffer.alloc(0) };

const piece = (stream: SpoolStream, whole: Buffer, from: number, to: number): SpoolChunk => ({
  ...{ stream, offset: from, ts: new Date() },
  bytes: whole.subarray(from, to),
});

async function expectStored(jobId: JobId, whole: Record<SpoolStream, Buffer>): Promise<void> {
  for (const stream of SpoolStream.options)
    expect((await cockpit.bytes(jobId, stream)).equals(whole[stream])).toBe(true);
  const events = await cockpit.events(jobId);
  expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
  expect(await cockpit.jobs.get(jobId)).toMatchObject({
    lastSeq: events.length,
    logBytes: SpoolStream.options.reduce((sum, stream) => sum + whole[stream].length, 0),
  });
}

describe('append', () => {
  it('of one job that cannot be stored does not keep those of others from it that go with it', async () => {
    const log = createLog(cockpit.db);
    const rows = [];
    for (let index = 0; index < 3; index++) {
      const { jobId } = await takeJob();
      const row = await findJob(cockpit.db, jobId);
      if (row) rows.push(row);
    }
    const bad = rows[1];
    const packed = await packChunk(piece('stdout', Buffer.from('line\n'), 0, 5));
    await log.ensurePartitions([packed]);
    // The same job, event and time: the statement of all three fails.
    await cockpit.db
      .insertInto('job_events')
      .values({
        ...{ job_id: bad?.id ?? '', seq: (bad?.last_seq ?? 0) + 1, ts: packed.ts, stream: 'stdout' },
        ...{ chunk: Buffer.from('x'), codec: 0, stream_offset: 0, size: 1, lines_before: [0] },
      })
      .execute();
    const outcomes = await Promise.allSettled(
      [...rows.slice(0, 1), ...rows].map((row) => log.appendBehind(row, [packed])),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    const texts = await Promise.all(rows.map(({ id }) => cockpit.bytes(JobId.parse(id), 'stdout')));
    expect(texts.map(String)).toEqual(['line\n', '', 'line\n']);
  });

  it('of an agent whose clock is far ahead is stored as of now, where retention finds it', async () => {
    const ref = await takeJob();
    const chunk = {
      ...piece('stdout', Buffer.from('line\n'), 0, 5),
      ts: new Date(Date.now() + 365 * 86_400_000),
    };
    expect(await cockpit.apiOf('a').append(ref, [chunk])).toMatchObject({ status: 'accepted' });
    const event = (await cockpit.events(ref.jobId)).at(-1);
    expect(Math.abs(Date.parse(event?.ts ?? '') - Date.now())).toBeLessThan(5 * 60_000);
    const days = (await listPartitions(cockpit.db)).map(({ day }) => Date.parse(day));
    expect(Math.max(...days)).toBeLessThan(Date.now() + 7 * 86_400_000);
  });

  it('moves the end of a log without a new entry in any index of the jobs', async () => {
    const ref = await takeJob();
    const log = createLog(cockpit.db);
    const packed = await Promise.all(
      (['stdout', 'stderr'] as const).map((stream) => packChunk(piece(stream, Buffer.from('line\n'), 0, 5))),
    );
    await log.ensurePartitions(packed);
    await cockpit.db.transaction().execute(async (trx) => {
      const counted = async () => {
        const { rows } = await sql<{ updates: number; in_place: number }>`
          select n_tup_upd as updates, n_tup_hot_upd as in_place
          from pg_stat_xact_user_tables where relname = 'jobs'`.execute(trx);
        return rows[0] ?? { updates: 0, in_place: 0 };
      };
      const before = await counted();
      const row = await lockJob(trx, ref.jobId);
      if (!row) throw new Error('the job is gone');
      await log.append(trx, row, packed);
      expect(await counted()).toEqual({ updates: before.updates + 1, in_place: before.in_place + 1 });
    });
  });

  it('keeps the style that each stream has left on, and what an escape sequence has of it where it is cut', async () => {
    const ref = await takeJob();
    const whole = Buffer.from('\x1b[1;38;5;208mon\nx\x1b[4\x1b[0moff\nplain\n');
    // Within the first sequence, behind it, within one that comes to nothing, and within the last.
    const cuts = [0, 6, 14, 20, 23, whole.length];
    for (const [index, from] of cuts.slice(0, -1).entries())
      await cockpit.apiOf('a').append(ref, [piece('stdout', whole, from, cuts[index + 1] ?? 0)]);
    await cockpit.apiOf('a').append(ref, [piece('stderr', Buffer.from('\x1b[31mred\n'), 0, 9)]);
    const styles = (stream: LogStream, all: readonly JobEvent[]) =>
      all.filter((event) => event.stream === stream).map(({ style }) => style);
    const orange = '\x1b[0;1;38;5;208m';
    const events = await cockpit.events(ref.jobId);
    expect(styles('stdout', events)).toEqual(['', '\x1b[1;38', orange, `${orange}\x1b[4`, `${orange}\x1b[0`]);
    expect(styles('stderr', events)).toEqual(['']);
    const row = await findJob(cockpit.db, ref.jobId);
    expect(row?.styles).toEqual(['', '\x1b[0;38;5;1m', '', '', '']);
    // Where the middle of the log is left out, what comes next begins a line: nothing goes on with a sequence.
    const from = { stdout: whole.length, stderr: 9, boot: 0, command: 0 };
    await cockpit.apiOf('a').append(ref, [piece('stderr', Buffer.from('\x1b[31mred\n\x1b[3'), 9, 12)]);
    await cockpit.apiOf('a').cut(ref, { ...from, stderr: 12 }, { ...from, stderr: 20 }, ['left out']);
    await cockpit.apiOf('a').append(ref, [{ ...piece('stderr', Buffer.from('2mred\n'), 0, 6), offset: 20 }]);
    expect(styles('stderr', await cockpit.events(ref.jobId)).at(-1)).toBe('\x1b[0;38;5;1m');
  });

  it('stores every byte once, whatever is sent twice, overlaps, is missing or comes from another', async () => {
    const bytes = fc
      .uint8Array({ minLength: 1, maxLength: 3_000, size: 'max' })
      .map((list) => Buffer.from(list));
    const step = fc.record({
      stream: fc.constantFrom(...SpoolStream.options),
      back: fc.integer({ min: -40, max: 60 }),
      sizes: fc.array(fc.integer({ min: 1, max: 1_500 }), { minLength: 1, maxLength: 3 }),
      how: fc.constantFrom('once', 'once', 'twice', 'at once', 'stale', 'killed'),
    });
    await fc.assert(
      fc.asyncProperty(bytes, bytes, fc.array(step, { maxLength: 12 }), async (stdout, stderr, steps) => {
        const agentApi = cockpit.apiOf('a');
        const whole = { stdout, stderr, boot: stdout, command: stderr };
        const ref = await takeJob();
        const stored: Offsets = { stdout: 0, stderr: 0, boot: 0, command: 0 };
        for (const { stream, back, sizes, how } of steps) {
          const length = whole[stream].length;
          const from = Math.min(Math.max(stored[stream] - back, 0), length);
          const chunks: SpoolChunk[] = [];
          let to = from;
          for (const size of sizes) {
            if (to < length) chunks.push(piece(stream, whole[stream], to, Math.min(to + size, length)));
            to = Math.min(to + size, length);
          }
          if (how === 'stale') {
            expect(await agentApi.append({ ...ref, fence: ref.fence - 1 }, chunks)).toEqual({
              status: 'lease-lost',
            });
            continue;
          }
          const fits = chunks.length === 0 || from <= stored[stream];
          if (fits) stored[stream] = Math.max(stored[stream], chunks.length === 0 ? 0 : to);
          const answer = { status: fits ? 'accepted' : 'wrong-offset', offsets: { ...stored } };
          const calls = how === 'at once' ? 3 : how === 'once' ? 1 : 2;
          if (how === 'at once') {
            const answers = await Promise.all(
              Array.from({ length: calls }, () => agentApi.append(ref, chunks)),
            );
            for (const each of answers) expect(each).toEqual(answer);
          } else {
            // A sender that was killed before it heard the answer sends the same again.
            for (let call = 0; call < calls; call++)
              expect(await agentApi.append(ref, chunks)).toEqual(answer);
          }
        }
        for (const stream of SpoolStream.options) {
          const rest = piece(stream, whole[stream], stored[stream], whole[stream].length);
          await agentApi.append(ref, rest.bytes.length > 0 ? [rest] : []);
        }
        await expectStored(ref.jobId, whole);
      }),
      { numRuns: 40 },
    );
  });

  it('refuses a finish before everything is stored, and everything after it', async () => {
    const agentApi = cockpit.apiOf('a');
    const ref = await takeJob();
    const outcome = {
      ...{
        status: 'done' as const,
        exitCode: 0,
        signal: null,
        reason: null,
        verified: true,
        dead: false,
        startedAt: null,
      },
      ...{ finishedAt: new Date(), lines: ['exit 0'] },
    };
    const whole = Buffer.from('abc\n');
    const sizes = { stdout: 4, stderr: 0, boot: 0, command: 0 };
    const missing = { status: 'wrong-offset', offsets: { stdout: 0, stderr: 0, boot: 0, command: 0 } };
    expect(await agentApi.finish(ref, outcome, sizes)).toEqual(missing);
    await agentApi.append(ref, [piece('stdout', whole, 0, 4)]);
    const accepted = { status: 'accepted', offsets: sizes };
    for (let call = 0; call < 2; call++) expect(await agentApi.finish(ref, outcome, sizes)).toEqual(accepted);
    const late = [piece('stdout', Buffer.from('abc\nlate\n'), 4, 9)];
    expect(await agentApi.append(ref, late)).toEqual({ status: 'lease-lost' });
    await agentApi.note(ref, ['late']);
    expect(await agentApi.started(ref, new Date(), ['late'])).toBe(false);
    expect(await agentApi.finish({ ...ref, fence: 7 }, outcome, sizes)).toEqual({ status: 'lease-lost' });
    await expectStored(ref.jobId, { stdout: whole, stderr: Buffer.alloc(0), ...nothing });
  });

  it('knows nothing of a job that does not exist', async () => {
    const ref = { jobId: JobId.parse(newId()), fence: 0 };
    expect(await cockpit.apiOf('a').append(ref, [])).toEqual({ status: 'lease-lost' });
  });
});

it('a job only ever moves as the table of states allows, whatever is asked of it', async () => {
  const { cancel, get } = cockpit.jobs;
  const agentApi = cockpit.apiOf('a');
  const operation = fc.constantFrom(
    ...(['claim', 'started', 'release', 'append', 'note', 'cancel', 'hold'] as const),
    ...(['done', 'failed', 'cancelled', 'timed_out', 'lost'] as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 10 }), fc.boolean(), async (operations, stale) => {
      const { id: jobId } = await cockpit.run('true');
      let fence = 0;
      let before = await get(jobId);
      for (const what of operations) {
        const ref = { jobId, fence: stale && Math.random() < 0.3 ? fence - 1 : fence };
        const call = async () => {
          switch (what) {
            case 'claim':
              for (const job of await agentApi.claim(freeJobs(1000))) if (job.id === jobId) fence = job.fence;
              return;
            case 'started':
              return agentApi.started(ref, new Date(), ['started']);
            case 'release':
              return agentApi.release(ref, 'released');
            case 'append':
              return agentApi.append(ref, [piece('stdout', Buffer.from('x'), 0, 1)]);
            case 'note':
              return agentApi.note(ref, ['note']);
            case 'cancel':
              return cancel(owner, jobId);
            case 'hold':
              return;
            default:
              return agentApi.finish(
                ref,
                {
                  ...{
                    status: what,
                    exitCode: null,
                    signal: null,
                    reason: null,
                    verified: true,
                    dead: false,
                    startedAt: null,
                  },
                  ...{ finishedAt: new Date(), lines: [what] },
                },
                { stdout: before.logBytes, stderr: 0, boot: 0, command: 0 },
              );
          }
        };
        // What is not allowed is refused by an answer or an error; either way nothing may have changed.
        await call().catch(() => undefined);
        const after = await get(jobId);
        if (after.status !== before.status)
          expect(
            canTransition(before.status, after.status),
            `${before.status} → ${after.status} by ${what}`,
          ).toBe(true);
        if (ref.fence !== fence && what !== 'claim' && what !== 'cancel') expect(after).toEqual(before);
        before = after;
      }
      const events = await cockpit.events(jobId);
      expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    }),
    { numRuns: 60 },
  );
});
