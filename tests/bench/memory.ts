import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { repeated } from './figures.ts';
import { cancelAll, startServer, submit, untilRunning } from './jobs.ts';

const jobCount = 100;

const contentOf = (path: string): Promise<string> => readFile(path, 'latin1').catch(() => ''); // it has just ended

/** Proportional set size in MB: shared pages are counted once over all processes. */
async function pssOf(pid: number): Promise<number> {
  return Number(/^Pss:\s+(\d+)/m.exec(await contentOf(`/proc/${String(pid)}/smaps_rollup`))?.[1] ?? 0) / 1024;
}

const processes = async (): Promise<number[]> =>
  (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);

/** The server and what it has started, but for Postgres. */
async function pssOfServer({ pid }: TestServer): Promise<number> {
  let sum = await pssOf(pid);
  for (const other of await processes()) {
    const [, command = '', parent] =
      /^\d+ \((.*)\) \S (\d+)/s.exec(await contentOf(`/proc/${String(other)}/stat`)) ?? [];
    if (Number(parent) === pid && command !== 'postgres') sum += await pssOf(other);
  }
  return sum;
}

/** Of the wrappers of these jobs. They are ours; the command itself is the job's own business. */
async function pssOfWrappers(ids: ReadonlySet<string>): Promise<number> {
  let sum = 0;
  for (const pid of await processes()) {
    const job = /(?:^|\0)VMO_JOB_ID=([^\0]+)/.exec(await contentOf(`/proc/${String(pid)}/environ`))?.[1];
    if (job === undefined || !ids.has(job)) continue;
    if ((await contentOf(`/proc/${String(pid)}/cmdline`)).includes('wrapper-')) sum += await pssOf(pid);
  }
  return sum;
}

async function pssOfBareNode(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await delay(500);
  const size = await pssOf(child.pid ?? 0);
  child.kill('SIGKILL');
  return size;
}

async function perJob(server: TestServer): Promise<number> {
  const before = await pssOf(server.pid);
  const jobs = await Promise.all(
    Array.from({ length: jobCount }, () => submit(server, { command: 'exec sleep 600' })),
  );
  await untilRunning(server, jobCount);
  await delay(1_000);
  const wrappers = await pssOfWrappers(new Set(jobs.map(({ id }) => id)));
  const grown = Math.max((await pssOf(server.pid)) - before, 0);
  await cancelAll(server, jobs);
  return (wrappers + grown) / jobCount;
}

async function memory({ add }: Bench): Promise<void> {
  await using server = await startServer();
  add({
    name: 'server memory, idle, without Postgres (PSS)',
    unit: 'MB',
    how: '/proc/<pid>/smaps_rollup two seconds after each start, of the server and its children',
    values: await repeated(5, async () => {
      await server.restart();
      await delay(2_000);
      return pssOfServer(server);
    }),
    targets: [{ share: 1, atMost: 120 }],
    limits: [{ name: 'Node that does nothing', values: await repeated(5, pssOfBareNode) }],
  });
  add({
    name: 'memory per concurrent job (PSS)',
    unit: 'MB',
    how: `wrappers and growth of the server for ${String(jobCount)} jobs of \`sleep\`, by their number`,
    values: await repeated(5, async () => {
      await server.restart(); // else the heap of the round before hides the growth
      await delay(1_000);
      return perJob(server);
    }),
    targets: [{ share: 1, atMost: 3 }],
  });
}

export const memoryPart: Part = { name: 'memory', limitSeconds: 150, measure: memory };
