import { CodedError, finalJobStatuses, JobId, type Job, type RunOutcome } from '@vmo/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { agentName } from './assembled.test.support.ts';
import { freeJobs, owner, startCockpit, type Cockpit } from './harness.test.support.ts';

let cockpit: Cockpit;

beforeAll(async () => {
  cockpit = await startCockpit({ cancelGraceMs: 300 });
});

afterAll(async () => {
  await cockpit[Symbol.asyncDispose]();
  expect(cockpit.bugs).toEqual([]);
});

const isRefusal = (error: unknown) => error instanceof CodedError && error.code === 'JOB_ALREADY_FINISHED';

/** Runs `work` for each, a few at a time. */
async function forEachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}

/** Rows that an agent which is not there has, as if it had started them. */
async function insertRunning(count: number): Promise<JobId[]> {
  const ids = Array.from({ length: count }, () => JobId.parse(newId()));
  await cockpit.db
    .insertInto('jobs')
    .values(
      ids.map((id) => ({
        ...{ id, command: 'true', type: 'stream', status: 'running', created_by: 'owner', agent: 'nobody' },
        ...{ fence: 1, started_at: new Date(), env: '{}' },
      })),
    )
    .execute();
  return ids;
}

it('100 submissions with one idempotency key at once make one job and one audit row', async () => {
  const answers = await Promise.all(
    Array.from({ length: 100 }, () =>
      cockpit.jobs.submit(owner, { command: 'true', idempotencyKey: 'the key' }),
    ),
  );
  expect(new Set(answers.map(({ job }) => job.id)).size).toBe(1);
  expect(answers.filter(({ created }) => created)).toHaveLength(1);
  const [first] = answers;
  if (!first) throw new Error('no answer');
  expect(await cockpit.audits(first.job.id, 'job.submit')).toBe(1);
  expect((await cockpit.jobs.list({ limit: 500 })).jobs).toHaveLength(1);
  await cockpit.when(first.job.id);
  // Another person's key is another key.
  const other = await cockpit.jobs.submit(
    { ...owner, name: 'other' },
    { command: 'true', idempotencyKey: 'the key' },
  );
  expect(other.created).toBe(true);
  await cockpit.when(other.job.id);
});

describe('cancel against finish', () => {
  it('makes one final state and at most one audit row, 1,000 times', { timeout: 60_000 }, async () => {
    const outcome: RunOutcome = {
      ...{
        status: 'done',
        exitCode: 0,
        signal: null,
        reason: null,
        verified: true,
        dead: false,
        startedAt: null,
      },
      ...{ finishedAt: new Date(), lines: ['exit 0 after 0.00 s'] },
    };
    const sizes = { stdout: 0, stderr: 0, boot: 0, command: 0 };
    let refused = 0;
    await forEachOf(await insertRunning(1_000), 4, async (jobId) => {
      const ref = { jobId, fence: 1 };
      const [cancelled, , finished] = await Promise.allSettled([
        cockpit.jobs.cancel(owner, jobId),
        Math.random() < 0.5 ? cockpit.jobs.cancel(owner, jobId) : null,
        cockpit.apiOf('nobody').finish(ref, outcome, sizes),
        Math.random() < 0.5
          ? cockpit.apiOf('nobody').finish(ref, { ...outcome, status: 'cancelled' }, sizes)
          : null,
      ]);
      expect(finished).toEqual({ status: 'fulfilled', value: { status: 'accepted', offsets: sizes } });
      const job = await cockpit.jobs.get(jobId);
      expect(['done', 'cancelled']).toContain(job.status);
      const asked = job.cancelRequested;
      if (!asked) refused += 1;
      expect(cancelled.status === 'rejected' ? isRefusal(cancelled.reason) : asked).toBe(true);
      expect(await cockpit.audits(jobId, 'job.cancel')).toBe(asked ? 1 : 0);
      expect(await cockpit.systemLines(jobId)).toEqual([
        ...(asked ? ['cancel requested by owner'] : []),
        'exit 0 after 0.00 s',
      ]);
      expect(job.lastSeq).toBe(asked ? 2 : 1);
    });
    // Both orders must have happened, or this has shown nothing.
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(1_000);
  });

  it('agrees with the log when real processes end as they are cancelled', async () => {
    const finals = new Map<string, number>();
    const stop = cockpit.bus.on('job:changed', (job) => {
      if (finalJobStatuses.includes(job.status)) finals.set(job.id, (finals.get(job.id) ?? 0) + 1);
    });
    const agrees: Record<string, RegExp> = {
      done: /^exit 0 after /,
      cancelled:
        /^(SIG[A-Z]+, )?exit \d+ after |^cancelled (by owner )?before it started$|^ended before the command began$/,
    };
    await forEachOf(
      Array.from({ length: 40 }, (_, index) => index),
      3,
      async (index) => {
        const { id } = await cockpit.run(`sleep 0.0${String(index % 10)}`);
        if (index % 4 > 0) await cockpit.when(id, ({ status }) => status !== 'pending');
        const asked: Job | null = await cockpit.jobs.cancel(owner, id).catch((error: unknown) => {
          if (isRefusal(error)) return null;
          throw error;
        });
        const job = await cockpit.when(id);
        expect(job.cancelRequested).toBe(asked !== null);
        const lines = await cockpit.systemLines(id);
        expect(lines.at(-1)).toMatch(agrees[job.status] ?? /nothing else/);
        expect(await cockpit.audits(id, 'job.cancel')).toBe(asked ? 1 : 0);
        expect(finals.get(id)).toBe(1);
      },
    );
    stop();
  });

  it('of a job that is being taken leaves it cancelled', async () => {
    await cockpit.stopAgent();
    for (let round = 0; round < 40; round++) {
      const { id } = await cockpit.run('true');
      const [cancelled, claimed] = await Promise.all([
        cockpit.jobs.cancel(owner, id),
        cockpit.apiOf('racer').claim(freeJobs(1)),
      ]);
      expect(cancelled.cancelRequested).toBe(true);
      const job = await cockpit.jobs.get(id);
      expect(job.status).toBe(claimed.length === 1 ? 'acknowledged' : 'cancelled');
      expect(await cockpit.audits(id, 'job.cancel')).toBe(1);
    }
    await cockpit.startAgent();
    expect(await cockpit.apiOf(agentName).assigned()).toEqual([]);
  });
});
