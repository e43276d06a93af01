import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  isRunning,
  seededRandom,
  startTestPostgres,
  startTestServer,
  until,
  type TestServer,
} from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong, spread, stopwatch } from './support/figures.ts';
import { followSeq } from './support/follow.ts';
import { becomesReady, readiness, runDirectory, trySubmit } from './support/jobs.ts';
import { startLoad, type Load } from './support/load.ts';

async function postmasterOf(server: TestServer): Promise<number | null> {
  const path = join(server.dataDirectory, 'postgres', 'data', 'postmaster.pid');
  return Number((await readFile(path, 'utf8').catch(() => '')).split('\n')[0]) || null;
}

async function spoolBytes(server: TestServer, { jobs }: Load): Promise<number> {
  const files = jobs.flatMap(({ id }) =>
    ['stdout', 'stderr'].map((name) => join(runDirectory(server, id), name)),
  );
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

// F3 waits for a minute: the short form of F2 fits into it. In the long form, each has the machine for itself.
const beside = isLong ? it : it.concurrent;

beside(
  'F2: a Postgres that is stopped at once, again and again, costs no byte and no process',
  async (context) => {
    const figures = figuresOf(context);
    const rounds = isLong ? 100 : 20;
    const random = seededRandom(2);
    await using server = await startTestServer({ embedded: true });
    const { pid } = server;
    const load = await startLoad(server, { jobs: 8, bytes: 20_000_000, rounds });
    using reader = followSeq(server, load.jobs[0]);
    const ready: number[] = [];
    const answers = new Map<number, number>();
    for (let round = 0; round < rounds; round++) {
      await load.permit();
      await delay(200 + 500 * random());
      const postmaster = await until('a postmaster', () => postmasterOf(server));
      process.kill(postmaster, 'SIGQUIT');
      const elapsed = stopwatch();
      await until(
        'another postmaster',
        async () => {
          const status = await trySubmit(server);
          answers.set(status, (answers.get(status) ?? 0) + 1);
          const now = await postmasterOf(server);
          return now !== null && now !== postmaster && (await readiness(server)).status === 200;
        },
        { timeoutMs: 60_000 },
      );
      ready.push(elapsed());
      figures.stops = round + 1;
      figures['ready again'] = spread(ready);
      figures['new jobs'] = [...answers].map(([status, count]) => `${status}×${count}`).join(' ');
    }
    await load.verify(figures);
    await reader.done;
    expect(reader.disorder).toBe(0);
    expect([...answers.keys()].filter((status) => status !== 201 && status !== 503)).toEqual([]);
    expect(answers.get(503)).toBeGreaterThan(0);
    expect(server.pid).toBe(pid);
    expect(await isRunning(pid)).toBe(true);
  },
);

beside(
  'F3: while Postgres is gone the spool grows, and the log catches up when it is back',
  async (context) => {
    const figures = figuresOf(context);
    const awaySeconds = isLong ? 600 : 60;
    const bytesPerSecond = isLong ? 500_000 : 125_000;
    await using postgres = await startTestPostgres();
    await using server = await startTestServer({ embedded: true, env: { DATABASE_URL: postgres.url } });
    const { pid } = server;
    const load = await startLoad(server, {
      jobs: 4,
      bytes: (awaySeconds + 5) * bytesPerSecond,
      bytesPerSecond,
    });
    using reader = followSeq(server, load.jobs[0]);

    await postgres.stop();
    const away = stopwatch();
    figures['Postgres gone'] = `${awaySeconds} s`;
    const down = await until('/readyz to say that the database is down', async () => {
      const answer = await readiness(server);
      return answer.status === 503 && answer;
    });
    figures['told after'] = `${(away() / 1000).toFixed(2)} s`;
    expect(JSON.parse(down.text)).toMatchObject({ status: 'not ready', database: 'down' });
    using late = followSeq(server, load.jobs[0]);
    const before = await spoolBytes(server, load);
    await delay(awaySeconds * 1000 - away());
    const spooled = (await spoolBytes(server, load)) - before;
    figures['spool grew by'] = `${(spooled / 1e6).toFixed(1)} MB`;
    // Half of what the jobs write by themselves: the machine may be busy.
    expect(spooled).toBeGreaterThan((load.jobs.length * bytesPerSecond * awaySeconds) / 2);
    const still = await readiness(server);
    expect(still.status).toBe(503);
    expect(JSON.parse(still.text)).toMatchObject({ database: 'down', unstoredJobs: load.jobs.length });
    expect(await trySubmit(server)).toBe(503);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);

    await postgres.start();
    const back = stopwatch();
    await becomesReady(server);
    await load.verify(figures, 60_000);
    figures['all stored after'] = `${(back() / 1000).toFixed(1)} s`;
    await Promise.all([reader.done, late.done]);
    expect(late).toMatchObject({ events: reader.events, disorder: 0 });
    expect(back()).toBeLessThan(60_000);
    expect(reader.disorder).toBe(0);
    expect(server.pid).toBe(pid);
    expect(await isRunning(pid)).toBe(true);
  },
);
