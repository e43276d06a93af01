import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { connect, migrate, startEmbeddedPostgres } from '@vmo/db';
import { createExecutionManager, createLocalStreamStrategy, createProcessTable } from '@vmo/execution';
import { processesOfJob, temporaryDirectory, until } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentName } from './assembled.test.support.ts';
import { freeJobs, owner, startCockpit, untilLogged, type Cockpit } from './harness.test.support.ts';

/** Writes numbered lines, slowly enough that something can happen meanwhile. */
const counting = (lines: number) =>
  `i=0; while [ $i -lt ${String(lines)} ]; do i=$((i+1)); echo "line $i"; [ $((i % 20)) -eq 0 ] && sleep 0.02; done; exit 5`;
const counted = (lines: number) =>
  Array.from({ length: lines }, (_, index) => `line ${String(index + 1)}\n`).join('');

describe('an agent that ends', () => {
  let cockpit: Cockpit;
  beforeAll(async () => {
    cockpit = await startCockpit({ cancelGraceMs: 300 });
  });
  afterAll(async () => {
    await cockpit[Symbol.asyncDispose]();
    expect(cockpit.bugs).toEqual([]);
  });

  it('lets its jobs go on, and the next one follows them, again and again', async () => {
    const { id } = await cockpit.run(counting(1_000));
    for (const line of [100, 300, 600]) {
      await untilLogged(cockpit, id, `line ${String(line)}\n`);
      await cockpit.startAgent();
    }
    expect(await cockpit.when(id)).toMatchObject({ status: 'failed', exitCode: 5 });
    expect((await cockpit.bytes(id)).toString()).toBe(counted(1_000));
    expect(await cockpit.systemLines(id)).toHaveLength(3);
  });

  it('finds what was cancelled while it was away', async () => {
    const { id } = await cockpit.run('echo ready; exec sleep 61');
    await untilLogged(cockpit, id, 'ready');
    await cockpit.stopAgent();
    await cockpit.jobs.cancel(owner, id);
    await cockpit.startAgent();
    expect(await cockpit.when(id)).toMatchObject({ status: 'cancelled', signal: 'SIGTERM' });
  });

  it('between taking a job and starting it leaves it to the next one', async () => {
    await cockpit.stopAgent();
    const { id } = await cockpit.run('echo ran');
    expect(await cockpit.apiOf(agentName).claim(freeJobs(1))).toHaveLength(1);
    await cockpit.startAgent();
    expect(await cockpit.when(id)).toMatchObject({ status: 'done' });
    expect((await cockpit.bytes(id)).toString()).toBe('ran\n');
  });

  it.each([1, 2, 3, 4])(
    'between starting a job and saying so leaves one run, which the next one finds (%i)',
    async (turn) => {
      await cockpit.stopAgent();
      const { id } = await cockpit.run(`echo ran; while [ ! -e go${String(turn)} ]; do sleep 0.02; done`);
      const [job] = await cockpit.apiOf(agentName).claim(freeJobs(1));
      const manager = createExecutionManager([
        createLocalStreamStrategy({ table: createProcessTable(), cgroups: null }),
      ]);
      const run = await manager.start('stream', {
        ...{ jobId: id, command: job?.command ?? '', cwd: cockpit.directory, env: { PATH: '/usr/bin:/bin' } },
        ...{
          cols: 80,
          rows: 24,
          host: null,
          vm: null,
          directory: join(cockpit.runsDirectory, id),
          notice: () => undefined,
        },
      });
      run.detach();
      await cockpit.startAgent();
      await untilLogged(cockpit, id, 'ran');
      await writeFile(join(cockpit.directory, `go${String(turn)}`), '');
      expect(await cockpit.when(id)).toMatchObject({ status: 'done' });
      expect((await cockpit.bytes(id)).toString()).toBe('ran\n');
    },
  );

  it('says that a job is lost whose run directory is gone, keeps what was stored, and leaves no process', async () => {
    const { id } = await cockpit.run('echo kept; setsid sleep 61 & exec sleep 62');
    await untilLogged(cockpit, id, 'kept');
    await cockpit.stopAgent();
    expect((await processesOfJob(id)).length).toBeGreaterThan(1);
    await rm(join(cockpit.runsDirectory, id), { recursive: true });
    await cockpit.startAgent();
    expect(await cockpit.when(id)).toMatchObject({
      status: 'lost',
      reason: expect.stringMatching(/^its run directory is gone; .*sleep \(/) as unknown,
    });
    expect((await cockpit.bytes(id)).toString()).toBe('kept\n');
    expect(await processesOfJob(id)).toEqual([]);
  });
});

it('nothing is lost or doubled when the database goes away under a flood', { timeout: 90_000 }, async () => {
  await using home = await temporaryDirectory();
  const postgres = await startEmbeddedPostgres({ directory: home.path });
  const db = connect(postgres.address);
  try {
    await migrate(db);
    await using cockpit = await startCockpit({ db });
    const lines = 6_000;
    const jobs = [await cockpit.run(counting(lines)), await cockpit.run(counting(lines))];
    const [first] = jobs;
    if (!first) throw new Error('no job');
    for (const percent of [10, 30, 50, 70]) {
      const line = `line ${String((lines * percent) / 100)}\n`;
      // Asked again by hand: while the database is away nobody tells of anything.
      await until(
        line,
        () =>
          cockpit.bytes(first.id).then(
            (log) => log.includes(line),
            () => false,
          ),
        {
          timeoutMs: 40_000,
        },
      );
      if (percent % 20 === 10 && percent !== 50)
        await sql`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()`
          .execute(db)
          .catch(() => undefined);
      else process.kill(postgres.pid, 'SIGQUIT'); // "immediate": as a crash
    }
    for (const { id } of jobs) {
      const job = await until(
        'the end',
        () =>
          cockpit.jobs.get(id).then(
            (found) => (found.finishedAt ? found : null),
            () => null,
          ),
        { timeoutMs: 60_000 },
      );
      expect(job).toMatchObject({ status: 'failed', exitCode: 5 });
      expect((await cockpit.bytes(id)).toString() === counted(lines)).toBe(true);
      const events = await cockpit.events(id);
      expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    }
    expect(cockpit.bugs).toEqual([]);
  } finally {
    await db.destroy();
    await postgres.stop();
  }
});
