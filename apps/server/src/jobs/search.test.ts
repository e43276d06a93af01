import { JobFilter } from '@vmo/contract';
import { testDatabase, type TestDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listJobs } from './repository.ts';

const count = 30_000;
let database: TestDatabase;

/** `job 1` is the oldest; every thousandth is a build, one of the oldest is about zebras. */
beforeAll(async () => {
  database = await testDatabase();
  await sql`
    insert into jobs (id, command, type, status, created_by)
    select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
      'job ' || n || case when n % 1000 = 0 then ' Build 50%' when n = 7 then ' zébra_x' else '' end,
      'stream', case when n % 2 = 0 then 'done' else 'failed' end, 'test'
    from generate_series(1, ${sql.lit(count)}) as n`.execute(database.db);
});
afterAll(() => database[Symbol.asyncDispose]());

async function find(filter: Partial<JobFilter>): Promise<number[]> {
  const rows = await listJobs(database.db, { limit: 50, ...filter });
  return rows.map(({ command }) => Number(command.split(' ')[1]));
}

const builds = Array.from({ length: 30 }, (_, at) => count - at * 1000);

it('finds what is among the newest jobs and what is not, newest first, each once', async () => {
  expect(await find({ q: 'bUILD' })).toEqual(builds);
  expect(await find({ q: 'Build', limit: 19 })).toEqual(builds.slice(0, 20));
  expect(await find({ q: 'zébra' })).toEqual([7]);
});

it.each(['50%', '%', 'ui'])('finds words without a trigram: %s', async (q) => {
  expect(await find({ q })).toEqual(builds);
});

it.each(['é', 'éB', 'a_'])('finds letters that only an old job has: %s', async (q) => {
  expect(await find({ q })).toEqual([7]);
});

it.each(['qx', 'q', '\\', 'job 1 Build'])('finds nothing where there is nothing: %s', async (q) => {
  expect(await find({ q })).toEqual([]);
});

it('keeps to the other filters, and to the page', async () => {
  expect(await find({ q: 'build', status: 'failed' })).toEqual([]);
  expect(await find({ q: 'zébra', status: 'failed' })).toEqual([7]);
  const [first] = await listJobs(database.db, { limit: 50, q: 'Build' });
  const before = JobFilter.parse({ before: first?.id }).before;
  expect(before).toBeDefined();
  if (before) expect(await find({ q: 'Build', before })).toEqual(builds.slice(1));
});
