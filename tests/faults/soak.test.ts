import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { memoryOf, openFilesOf, processesOfJob, startTestServer, until, zombiesOf } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong, slopePerHour, stopwatch } from './support/figures.ts';
import { ended, storedText, submit } from './support/jobs.ts';

/** `VMO_TEST_SOAK_HOURS` sets the length of the long form. */
const longHours = Number(process.env.VMO_TEST_SOAK_HOURS ?? 1);
const batch = 10;

it('F22: many small jobs leave no memory, no open file, no process and no control group behind', async (context) => {
  const figures = figuresOf(context);
  const limitMs = isLong ? longHours * 3_600_000 : 60_000;
  const mostJobs = isLong ? Infinity : 150;
  await using server = await startTestServer({ embedded: true });
  const samples: { at: number; value: number; files: number }[] = [];
  const elapsed = stopwatch();
  let last: string[] = [];
  let count = 0;
  let zombies = 0;
  let leftOver = 0;
  while (count < mostJobs && elapsed() < limitMs) {
    const jobs = await Promise.all(
      Array.from({ length: batch }, (_, n) =>
        submit(server, { command: `echo job ${count + n}; exit ${n}` }),
      ),
    );
    for (const [n, job] of jobs.entries()) {
      expect(await ended(server, job)).toMatchObject({ exitCode: n });
      expect(await storedText(server, job.id, 'stdout')).toBe(`job ${count + n}\n`);
    }
    for (const { id } of jobs) leftOver += (await processesOfJob(id)).length;
    count += jobs.length;
    last = jobs.map(({ id }) => id);
    zombies += (await zombiesOf(server.pid)).length;
    samples.push({
      at: elapsed(),
      value: await memoryOf(server.pid),
      files: await openFilesOf(server.pid),
    });
  }
  // Caches fill and the garbage collector finds its size in the first third.
  const steady = samples.slice(Math.floor(samples.length / 3));
  const slope = slopePerHour(steady);
  const files = steady.map((sample) => sample.files);
  const atFirst = Math.min(...files.slice(0, 3));
  // What is closed a moment after a job's end may still be open when a sample is taken: at rest it is not.
  const isFlat = await until('the open files to be as few as at first', async () => {
    return (await openFilesOf(server.pid)) <= atFirst + 5;
  }).catch(() => false);
  const runs = (await readdir(join(server.dataDirectory, 'runs'), { withFileTypes: true })).filter((entry) =>
    entry.isDirectory(),
  );
  const groups = last.filter(
    (id) => existsSync(`/sys/fs/cgroup/vmo/${id}`) || existsSync(`/sys/fs/cgroup/unified/vmo/${id}`),
  );
  Object.assign(figures, {
    jobs: count,
    minutes: (elapsed() / 60_000).toFixed(1),
    memory: `${steady[0]?.value.toFixed(0) ?? ''} to ${steady.at(-1)?.value.toFixed(0) ?? ''} MB (PSS)`,
    slope: `${slope.toFixed(0)} MB/h${isLong ? '' : ' (of a minute: says little)'}`,
    files: `${files.join(' ')}, ${await openFilesOf(server.pid)} at rest`,
    zombies,
    'processes left': leftOver,
    'run directories': runs.length,
    'control groups left': groups.length,
  });
  expect(runs).toHaveLength(count);
  expect({ zombies, leftOver, groups }).toEqual({ zombies: 0, leftOver: 0, groups: [] });
  expect(isFlat).toBe(true);
  expect((steady.at(-1)?.value ?? NaN) - (steady[0]?.value ?? NaN)).toBeLessThan(30);
  if (isLong) expect(slope).toBeLessThan(10);
});
