import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { testDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { owner, startCockpit, untilLogged } from './harness.test.support.ts';
import { ensurePartition, listPartitions } from './log-repository.ts';
import { keepPartitions } from './retention.ts';

const dayMs = 86_400_000;

it('makes the partitions around today and drops only those that are older than the limit', async () => {
  await using database = await testDatabase();
  const { db } = database;
  const now = Date.parse('2026-03-31T23:59:59Z');
  const days = async () => (await listPartitions(db)).map(({ day }) => day);
  for (const day of ['2025-12-31', '2026-02-28', '2026-03-01', '2026-03-02']) await ensurePartition(db, day);
  expect((await keepPartitions(db, 30, now)).days).toEqual(['2025-12-31', '2026-02-28']);
  const kept = ['2026-03-01', '2026-03-02', '2026-03-30', '2026-03-31', '2026-04-01'];
  expect(await days()).toEqual(kept);
  expect((await keepPartitions(db, 30, now)).days).toEqual([]);
  // Several servers may do so at once.
  await Promise.all(Array.from({ length: 5 }, () => keepPartitions(db, 30, now + dayMs)));
  expect(await days()).toEqual([...kept.slice(1), '2026-04-02']);
});

it('a job keeps its row when its log goes, and says that it has expired', async () => {
  await using cockpit = await startCockpit();
  const { id } = await cockpit.run('echo gone soon');
  const { id: younger } = await cockpit.run('echo stays');
  await cockpit.when(id);
  await cockpit.when(younger);
  // As if the first one had run forty days ago.
  const old = new Date(Date.now() - 40 * dayMs);
  await ensurePartition(cockpit.db, old.toISOString().slice(0, 10));
  await sql`update jobs set created_at = ${old} where id = ${id}`.execute(cockpit.db);
  await sql`update job_events set ts = ${old} where job_id = ${id}`.execute(cockpit.db);
  expect((await cockpit.jobs.logUsage()).days.length).toBeGreaterThan(1);

  expect(await cockpit.jobs.expireLogs(owner)).toMatchObject({
    days: [old.toISOString().slice(0, 10)],
    jobs: 1,
  });
  expect(await cockpit.jobs.get(id)).toMatchObject({
    status: 'done',
    logState: 'expired',
    command: 'echo gone soon',
  });
  expect(await cockpit.jobs.get(younger)).toMatchObject({ logState: 'verified' });
  expect((await cockpit.events(id)).length).toBe(0);
  expect((await buffer(await cockpit.jobs.rawLog(id, ['stdout']))).toString()).toBe('');
  expect((await cockpit.jobs.lines(id, { limit: 10, lineBytes: 100 })).lines).toEqual([]);
});

it('a job that runs for longer than its log is kept is compared from where the log begins', async () => {
  await using cockpit = await startCockpit();
  const { id } = await cockpit.run('echo old; while [ ! -e on ]; do sleep 0.02; done; echo new');
  await untilLogged(cockpit, id, 'old');
  const old = new Date(Date.now() - 40 * dayMs);
  await ensurePartition(cockpit.db, old.toISOString().slice(0, 10));
  await sql`update jobs set created_at = ${old} where id = ${id}`.execute(cockpit.db);
  await sql`update job_events set ts = ${old} where job_id = ${id}`.execute(cockpit.db);
  expect(await cockpit.jobs.expireLogs(owner)).toMatchObject({ jobs: 1 });
  await writeFile(join(cockpit.directory, 'on'), '');
  expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'expired' });
  expect((await cockpit.bytes(id, 'stdout')).toString()).toBe('new\n');
  expect((await cockpit.systemLines(id)).join('\n')).not.toContain('somebody');
  expect(await cockpit.isVerified(id)).toBe(true);
});

it('a table of somebody else beneath the log is left alone', async () => {
  await using database = await testDatabase();
  const { db } = database;
  await sql`create table foreign_rows partition of job_events for values from ('2001-01-01') to ('2001-02-01')`.execute(
    db,
  );
  expect((await keepPartitions(db, 30)).days).toEqual([]);
  const { rows } = await sql<{
    name: string | null;
  }>`select to_regclass('foreign_rows')::text as name`.execute(db);
  expect(rows).toEqual([{ name: 'foreign_rows' }]);
});
