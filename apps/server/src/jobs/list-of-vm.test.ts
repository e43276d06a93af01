import { JobId, VmId } from '@vmo/contract';
import { testDatabase, type TestDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listJobs } from './repository.ts';

let database: TestDatabase;
const vmId = VmId.parse('01970000-0000-7000-8000-0000000000aa');

/** Of 20,000 jobs 130 are runs of one machine, most of them among the oldest. */
beforeAll(async () => {
  database = await testDatabase();
  await sql`
    insert into jobs (id, command, type, status, created_by, vm_id)
    select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'job ' || n,
      case when n <= 129 or n = 20000 then 'vm' else 'stream' end, 'done', 'test',
      case when n <= 129 or n = 20000 then ${vmId}::uuid end
    from generate_series(1, 20000) as n`.execute(database.db);
  await sql`analyze jobs`.execute(database.db);
});
afterAll(() => database[Symbol.asyncDispose]());

it('all runs of a machine are read page by page, newest first, however old they are', async () => {
  const seen: number[] = [];
  for (let before: JobId | undefined; ;) {
    const rows = await listJobs(database.db, { limit: 50, vmId, ...(before && { before }) });
    const page = rows.slice(0, 50);
    seen.push(...page.map(({ command }) => Number(command.split(' ')[1])));
    if (rows.length <= 50) break;
    before = JobId.parse(page.at(-1)?.id);
  }
  expect(seen).toEqual([20_000, ...Array.from({ length: 129 }, (_, at) => 129 - at)]);
});

it('a page of the runs of a machine is read off an index, in order', async () => {
  const { rows } = await sql<{ 'QUERY PLAN': string }>`
    explain select * from jobs where vm_id = ${vmId} order by id desc limit 51`.execute(database.db);
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).toContain('Index Scan Backward using idx_jobs_vm');
  expect(plan).not.toContain('Sort');
});
