import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from '@vmo/db';
import type { Job, JobId } from '@vmo/contract';
import { noiseCommand, noiseDigests, type TestServer } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect } from 'vitest';
import type { Figures } from './figures.ts';
import { ended, reached, storedDigest, submit } from './jobs.ts';

export interface Load {
  readonly jobs: readonly [Job, ...Job[]];
  /** Lets every job write one round more. */
  permit(): Promise<void>;
  /** Waits for the end of all and compares everything that is stored with what was written. */
  verify(figures: Figures, timeoutMs?: number): Promise<void>;
}

export interface LoadOptions {
  jobs: number;
  /** Of each job, on both of its streams. */
  bytes: number;
  /** In so many rounds of `permit`; without, at `bytesPerSecond`. */
  rounds?: number;
  bytesPerSecond?: number;
}

/** Jobs with different output and different exit codes, all of them running when this resolves. */
export async function startLoad(server: TestServer, options: LoadOptions): Promise<Load> {
  const { bytes, rounds, bytesPerSecond } = options;
  const file = join(server.startDirectory, 'permits');
  await writeFile(file, '');
  const seeds = Array.from({ length: options.jobs }, (_, index) => index + 1);
  const exitCodeOf = (seed: number) => seed % 4;
  const jobs = await Promise.all(
    seeds.map((seed) =>
      submit(server, {
        command: noiseCommand({
          seed,
          bytes,
          exitCode: exitCodeOf(seed),
          ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
          ...(rounds === undefined ? {} : { permits: { file, rounds } }),
        }),
      }),
    ),
  );
  await Promise.all(jobs.map((job) => reached(server, job, 'running')));
  const [first, ...others] = jobs;
  if (!first) throw new Error('a load has at least one job');

  return {
    jobs: [first, ...others],
    permit: () => appendFile(file, '.'),
    async verify(figures, timeoutMs = 120_000) {
      let compared = 0;
      for (const [index, started] of jobs.entries()) {
        const seed = index + 1;
        const { id } = started;
        const job = await ended(server, started, timeoutMs);
        expect(job).toMatchObject({
          exitCode: exitCodeOf(seed),
          status: exitCodeOf(seed) === 0 ? 'done' : 'failed',
        });
        const stored = {
          stdout: await storedDigest(server, id, 'stdout'),
          stderr: await storedDigest(server, id, 'stderr'),
        };
        expect(stored).toEqual(noiseDigests(seed, bytes));
        compared += stored.stdout.bytes + stored.stderr.bytes;
      }
      figures['bytes compared'] = compared;
      Object.assign(
        figures,
        await countGaps(
          server,
          jobs.map(({ id }) => id),
        ),
      );
      expect(figures).toMatchObject({ gaps: 0, repeats: 0 });
    },
  };
}

/** Numbers that are missing between 1 and the last event, and numbers that are there twice. */
async function countGaps(
  server: TestServer,
  jobIds: readonly JobId[],
): Promise<{ gaps: number; repeats: number }> {
  const db = connect(server.database, { poolSize: 1 });
  try {
    const { rows } = await sql<{ last: number; all: number; different: number }>`
      select last_seq as last, count(*)::int as all, count(distinct seq)::int as different
      from jobs join job_events on job_id = jobs.id
      where jobs.id = any(${jobIds}::uuid[])
      group by jobs.id`.execute(db);
    expect(rows).toHaveLength(jobIds.length);
    return {
      gaps: rows.reduce((sum, row) => sum + row.last - row.different, 0),
      repeats: rows.reduce((sum, row) => sum + row.all - row.different, 0),
    };
  } finally {
    await db.destroy();
  }
}
