import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Job } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { buildLog, inChunks } from './build-log.ts';
import { median, repeated } from './figures.ts';
import { ended, ownDirectory, run, startServer, submit } from './jobs.ts';
import { insertSpeed } from './limits.ts';
import { withPage } from './page.ts';

const execute = promisify(execFile);
const rounds = 5;

/** A command that writes `file` so many times, and its own run time in ms into another one. */
const timedCat = (file: string, times: number, timeFile: string) =>
  `a=$(date +%s%N); cat ${`'${file}' `.repeat(times)}; b=$(date +%s%N); echo $(((b - a) / 1000)) >'${timeFile}'`;

const readTime = async (timeFile: string): Promise<number> => Number(await readFile(timeFile, 'utf8')) / 1000;

interface Watched {
  /** Milliseconds of the command as a job, and writing to a plain file. */
  job: number[];
  plain: number[];
  /** MB/s from the submit until everything is stored, and of plain inserts right after it. */
  stored: number[];
  inserted: number[];
}

/** @throws when what is stored of the job's output is not the file, so many times */
async function checkStored(server: TestServer, { id }: Job, file: Buffer, times: number): Promise<void> {
  const expected = createHash('sha256');
  for (let time = 0; time < times; time++) expected.update(file);
  const stored = createHash('sha256');
  const { body } = await server.client.download('getLog', {
    params: { jobId: id },
    query: { stream: 'stdout' },
  });
  for await (const piece of body ?? []) stored.update(piece);
  if (stored.digest('hex') !== expected.digest('hex'))
    throw new Error('what is stored is not what was written');
}

/** The same bytes by turns as a job that a browser follows, into a plain file, and as single inserts. */
async function compare(
  server: TestServer,
  directory: string,
  load: { file: string; times: number; inserts: readonly Buffer[]; follow(job: string): Promise<unknown> },
): Promise<Watched> {
  const result: Watched = { job: [], plain: [], stored: [], inserted: [] };
  const timeFile = join(directory, 'time');
  const plainFile = join(directory, 'plain');
  const file = await readFile(load.file);
  const bytes = file.length * load.times;
  for (let round = 0; round < rounds; round++) {
    await execute('/bin/sh', ['-c', `exec >>'${plainFile}'; ${timedCat(load.file, load.times, timeFile)}`]);
    result.plain.push(await readTime(timeFile));
    await rm(plainFile);
    const begin = performance.now();
    const job = await submit(server, { command: timedCat(load.file, load.times, timeFile) });
    await load.follow(job.id);
    const { logBytes } = await ended(server, job);
    result.stored.push(bytes / 1e6 / ((performance.now() - begin) / 1000));
    if (logBytes !== bytes) throw new Error(`stored ${String(logBytes)} of ${String(bytes)} bytes`);
    if (round === rounds - 1) await checkStored(server, job, file, load.times);
    result.job.push(await readTime(timeFile));
    if (load.inserts.length > 0) result.inserted.push(await insertSpeed(server, load.inserts));
  }
  return result;
}

function addSlowDown({ add }: Bench, words: string, { job, plain }: Watched): void {
  add({
    name: `\`cat\` of ${words}: its own run time, as a multiple of writing to a plain file`,
    unit: '×',
    how: 'the command times itself, by turns as a job that Chromium follows and into a plain file on the same disk',
    values: job.map((ms) => ms / median(plain)),
    targets: [{ share: 0.5, atMost: 1.2 }],
    limits: [{ name: '(slowest/median of the plain file)', values: [Math.max(...plain) / median(plain)] }],
  });
}

async function throughput(bench: Bench): Promise<void> {
  await using server = await startServer();
  const directory = await ownDirectory(server);
  const file = join(directory, 'build.log');
  const log = buildLog(50_000_000);
  const chunks = inChunks(log);
  await withPage(server, async (page) => {
    const follow = (job: string) => page.goto(`${server.url}/?job=${job}`);
    await writeFile(file, log);
    const large = await compare(server, directory, { file, times: 10, inserts: chunks, follow });
    bench.add({
      name: '500 MB job until all is stored, one browser following',
      unit: 'MB/s',
      how: '`cat` of a build log, from the submit to the final state',
      values: large.stored,
      limits: [
        {
          name: 'single-connection insert of its 64 KiB chunks, default compression',
          values: large.inserted,
        },
        { name: 'plain file write', values: large.plain.map((ms) => 500 / (ms / 1000)) },
      ],
    });
    bench.add({
      name: 'the same as a share of single-connection insert',
      unit: '×',
      how: 'each run by the insert right after it, so that a noisy machine hits both',
      values: large.stored.map((speed, round) => speed / (large.inserted[round] ?? NaN)),
      targets: [
        { share: 0.5, atLeast: 0.6 },
        { share: 0.5, atLeast: 1 },
      ],
    });
    addSlowDown(bench, '500 MB', large);
    await writeFile(file, log.subarray(0, 48_000_000));
    addSlowDown(bench, '48 MB', await compare(server, directory, { file, times: 1, inserts: [], follow }));
  });
  const random = inChunks(randomBytes(50_000_000));
  bench.add({
    name: '50 MB of random bytes until all is stored',
    unit: 'MB/s',
    how: '`head -c 50000000 /dev/urandom`, nobody follows; they cannot be compressed',
    values: await repeated(rounds, async () => {
      const begin = performance.now();
      await run(server, { command: 'head -c 50000000 /dev/urandom' });
      return 50 / ((performance.now() - begin) / 1000);
    }),
    limits: [
      {
        name: 'single-connection insert of random chunks',
        values: await repeated(3, () => insertSpeed(server, random)),
      },
    ],
  });
}

export const throughputPart: Part = { name: 'throughput', limitSeconds: 600, measure: throughput };
