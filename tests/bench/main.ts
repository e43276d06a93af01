import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isFinal, type Job, type JobSubmission } from '@vmo/contract';
import { startTestServer, type TestServer } from '@vmo/testkit';
import { percentile, table, type Figure } from './figures.ts';
import { measureInsertLimit } from './limits.ts';
import { openPage, readStamps, watchStamps } from './page.ts';

const figures: Figure[] = [];
const add = (figure: Figure) => {
  figures.push(figure);
  console.error(`${figure.name}: ${percentile(figure.values, 0.5).toFixed(1)} ${figure.unit}`);
};

async function run(server: TestServer, submission: JobSubmission): Promise<Job> {
  const { job } = await server.client.call('submitJob', { body: submission });
  return ended(server, job);
}

async function ended(server: TestServer, { id }: Job): Promise<Job> {
  for (;;) {
    const { job } = await server.client.call('getJob', { params: { jobId: id } });
    if (isFinal(job.status)) return job;
    await delay(20);
  }
}

/** A job that writes its own clock, `count` lines with `everyMs` between them. */
const stamps = (count: number, everyMs: number) =>
  `exec "${process.execPath}" -e 'let n = 0; const t = setInterval(() => { require("fs").writeSync(1, "@@" + (performance.timeOrigin + performance.now()).toFixed(3) + "\\n"); if (++n === ${String(count)}) clearInterval(t); }, ${String(everyMs)})'`;

/** Proportional set size in MB: shared pages are counted once over all processes. */
async function pssOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${String(pid)}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
}

async function pssOfJobs(ids: ReadonlySet<string>): Promise<number> {
  let sum = 0;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    const job = /(?:^|\0)VMO_JOB_ID=([^\0]+)/.exec(environment)?.[1];
    const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
    // The wrapper is ours; the command itself is the job's own business.
    if (job !== undefined && ids.has(job) && command.includes('wrapper-')) sum += await pssOf(Number(pid));
  }
  return sum;
}

async function latencyInChromium(server: TestServer): Promise<void> {
  const { browser, page } = await openPage(server);
  try {
    const { job } = await server.client.call('submitJob', { body: { command: stamps(200, 100) } });
    await page.goto(`${server.url}/?job=${job.id}`);
    await page.locator('[data-row]').first().waitFor();
    await watchStamps(page);
    await ended(server, job);
    await delay(200);
    add({
      name: 'write(2) in the job → text in the DOM',
      unit: 'ms',
      how: '10 lines/s, the line carries its time, a MutationObserver in the page reads it',
      values: await readStamps(page),
    });
  } finally {
    await browser.close();
  }
}

async function submitToFirstByte(server: TestServer): Promise<void> {
  const connection = server.connect();
  const values: number[] = [];
  try {
    for (let round = 0; round < 50; round++) {
      const begin = performance.now();
      const first = Promise.withResolvers<number>();
      const done = Promise.withResolvers<undefined>();
      const stop = [
        connection.on('job:log', ({ stream }) => {
          if (stream === 'stdout') first.resolve(performance.now() - begin);
        }),
        connection.on('job:done', () => {
          done.resolve(undefined);
        }),
      ];
      await connection.command('execute-command', { command: 'echo x' });
      values.push(await first.promise);
      await done.promise;
      stop.forEach((off) => {
        off();
      });
    }
  } finally {
    connection.close();
  }
  add({
    name: 'submit → first output byte at the client',
    unit: 'ms',
    how: 'execute-command over the socket, `echo x`, one after another',
    values,
  });
}

async function throughput(server: TestServer): Promise<void> {
  const megabytes = 200;
  const line =
    'cc -O2 -Wall -Iinclude -c src/module_NNNN.c -o build/module_NNNN.o  # some more words of a build log';
  const command = `yes '${line}' | head -c ${String(megabytes)}000000`;
  const { browser, page } = await openPage(server);
  const values: number[] = [];
  try {
    for (let round = 0; round < 5; round++) {
      const { job } = await server.client.call('submitJob', { body: { command } });
      await page.goto(`${server.url}/?job=${job.id}`);
      const { durationMs, logBytes, createdAt } = await ended(server, job);
      if (logBytes !== megabytes * 1_000_000)
        throw new Error(`stored ${String(logBytes)} bytes, ran ${String(durationMs)} ms`);
      values.push(megabytes / ((Date.now() - Date.parse(createdAt)) / 1000));
    }
  } finally {
    await browser.close();
  }
  const chunk = Buffer.from(`${line}\n`.repeat(1 + 65_536 / line.length)).subarray(0, 65_536);
  add({
    name: `${String(megabytes)} MB job until all is stored, one browser following`,
    unit: 'MB/s',
    how: 'from the submit to the final state',
    values,
    limit: {
      name: 'single-connection insert of the same 64 KiB chunks, default compression',
      values: await measureInsertLimit(server, chunk),
    },
  });
  add({
    name: 'the same for random bytes (50 MB, stored raw)',
    unit: 'MB/s',
    how: 'head -c 50000000 /dev/urandom',
    values: await repeated(3, async () => {
      const begin = Date.now();
      await run(server, { command: 'head -c 50000000 /dev/urandom' });
      return 50 / ((Date.now() - begin) / 1000);
    }),
    limit: {
      name: 'single-connection insert, random chunks',
      values: await measureInsertLimit(server, randomBytes(65_536)),
    },
  });
}

async function repeated(times: number, measure: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let round = 0; round < times; round++) values.push(await measure());
  return values;
}

async function memory(server: TestServer): Promise<void> {
  await delay(2_000);
  add({
    name: 'server memory, idle, without Postgres (PSS)',
    unit: 'MB',
    how: '/proc/<pid>/smaps_rollup',
    values: [await pssOf(server.pid)],
  });
  const before = await pssOf(server.pid);
  const jobs = await Promise.all(
    Array.from(
      { length: 50 },
      async () => (await server.client.call('submitJob', { body: { command: 'exec sleep 600' } })).job,
    ),
  );
  const ids = new Set(jobs.map(({ id }) => id as string));
  while (
    (await server.client.call('listJobs', { query: { status: 'running', limit: 500 } })).jobs.length <
    jobs.length
  )
    await delay(100);
  await delay(1_000);
  const wrappers = await pssOfJobs(ids);
  const grown = Math.max((await pssOf(server.pid)) - before, 0);
  for (const { id } of jobs) await server.client.call('cancelJob', { body: { jobId: id } });
  await Promise.all(jobs.map((job) => ended(server, job)));
  add({
    name: 'memory per concurrent job (PSS of wrapper + growth of the server)',
    unit: 'MB',
    how: '50 jobs of `sleep`',
    values: [(wrappers + grown) / jobs.length],
  });
}

async function restarts(server: TestServer): Promise<void> {
  const values = await repeated(5, async () => {
    await server.stop();
    const begin = performance.now();
    await server.restart();
    return (performance.now() - begin) / 1000;
  });
  add({
    name: 'start until ready, installed and built, embedded Postgres included',
    unit: 's',
    how: 'node apps/server/src/main.ts',
    values,
  });
}

await using server = await startTestServer({ embedded: true, env: { VMO_MAX_CONCURRENT_JOBS: '60' } });
await latencyInChromium(server);
await submitToFirstByte(server);
await memory(server);
await throughput(server);
await restarts(server);

const directory = join(import.meta.dirname, '..', '..', '.cache', 'bench');
await mkdir(directory, { recursive: true });
const machine = { cores: cpus().length, model: cpus()[0]?.model ?? '', node: process.version };
await writeFile(
  join(directory, 'figures.json'),
  JSON.stringify({ at: new Date().toISOString(), machine, figures }, null, 2),
);
console.log(table(figures));
console.log(
  `\n${String(machine.cores)} cores, ${machine.model}, Node ${machine.node}. All samples: .cache/bench/figures.json`,
);
