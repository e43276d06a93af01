import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench, Part } from './bench.ts';
import { ended, now, ownDirectory, startServer, storedDigest, submit, writer } from './jobs.ts';
import { socketRoundTrips } from './limits.ts';

const everyMs = 100;

/** Many jobs write at once; one client follows them all. */
async function load(
  { add }: Bench,
  jobCount: number,
  bytesPerSecond: number,
  seconds: number,
): Promise<void> {
  await using server = await startServer();
  const directory = await ownDirectory(server);
  const connection = server.connect();
  const values: number[] = [];
  const echo = await socketRoundTrips(server);
  // So that all of them begin together when they all have started.
  const at = Date.now() + 2_000 + jobCount * 150;
  const bytes = (bytesPerSecond * everyMs) / 1000;
  const jobs = await Promise.all(
    Array.from({ length: jobCount }, (_, index) =>
      submit(server, {
        command: writer({
          count: (seconds * 1000) / everyMs,
          everyMs,
          bytes,
          at,
          digest: join(directory, String(index)),
        }),
      }),
    ),
  );
  for (const { id } of jobs) {
    connection.followJob({
      jobId: id,
      onEvents: (events) => {
        for (const { chunk } of events)
          for (const [, stamp] of chunk.matchAll(/@@([\d.]+) /g)) values.push(now() - Number(stamp));
      },
    });
  }
  let lost = 0;
  // What asks meanwhile how far they are would be part of the load.
  await delay(at + seconds * 1000 - Date.now());
  for (const [index, job] of jobs.entries()) {
    const { logBytes } = await ended(server, job);
    lost += Math.abs(bytes * ((seconds * 1000) / everyMs) - logBytes);
    const written = await readFile(join(directory, String(index)), 'utf8');
    if (written !== (await storedDigest(server, job))) lost = Math.max(lost, 1);
  }
  await delay(200);
  connection.close();
  const words = `${String(jobCount)} jobs, each ${String(bytesPerSecond / 1000)} kB/s for ${String(seconds)} s`;
  add({
    name: `${words}: write(2) → socket client`,
    unit: 'ms',
    how: 'each line carries its time; one Node client follows all jobs',
    values,
    targets: [{ share: 0.99, atMost: 100 }],
    limits: [echo],
  });
  add({
    name: `${words}: bytes lost`,
    unit: 'bytes',
    how: 'SHA-256 of what each job wrote against what is stored',
    values: [lost],
    targets: [{ share: 1, atMost: 0 }],
  });
}

async function loads(bench: Bench): Promise<void> {
  const seconds = bench.long ? 60 : 20;
  await load(bench, 5, 1_000, seconds);
  await load(bench, 50, 20_000, seconds);
}

export const loadPart: Part = { name: 'load', limitSeconds: 300, measure: loads };
