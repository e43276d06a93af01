import type { JobFilter } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import { sql } from 'kysely';
import type { Bench, Part } from './bench.ts';
import { startServer } from './jobs.ts';
import { withDatabase } from './limits.ts';

const jobCount = 1_000_000;

/**
 * A million finished jobs of some years, with the commands of people who build software. The secondary indexes are
 * made again after the rows, as it is quicker; what is asked afterwards sees the same tables.
 */
async function fill(server: TestServer): Promise<void> {
  await withDatabase(server, async (db) => {
    const { rows: indexes } = await sql<{ name: string; definition: string }>`
      select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition
      from pg_index i where i.indrelid = 'jobs'::regclass and not i.indisprimary`.execute(db);
    for (const { name } of indexes) await sql`drop index ${sql.raw(name)}`.execute(db);
    await sql`
      insert into jobs (id, command, type, status, created_at, started_at, finished_at, exit_code, cwd, created_by,
                        agent, fence, last_seq, stdout_bytes, line_counts, marks_seq)
      select
        -- As ours: the time first, so that ids are in order of creation.
        (lpad(to_hex(1600000000000 + n::bigint * 100000), 12, '0') || '7' || substr(md5(n::text), 1, 3)
          || '8' || substr(md5(n::text), 4, 15))::uuid,
        case
          when n % 100000 = 77777 then 'sh deploy-zebra.sh --to node' || n
          when n % 10 < 5 then (array['make build', 'make test', 'make lint', 'make -j8 all', 'make clean'])[n % 5 + 1]
            || ' BOARD=rev' || n % 40 || ' SEED=' || hashint4(n::int)
          when n % 10 < 7 then 'pytest -x tests/test_' || (array['boot', 'flash', 'net', 'power'])[n % 4 + 1]
            || '_' || n % 500 || '.py -k "case_' || n % 9000 || '"'
          when n % 10 < 9 then './scripts/run_' || (array['simulation', 'regression', 'synthesis'])[n % 3 + 1]
            || '.sh --seed ' || hashint4(n::int) || ' --out /tmp/run-' || n
          else 'ssh lab-' || n % 60 || ' sudo reboot'
        end,
        (array['stream', 'stream', 'stream', 'terminal', 'ssh'])[n % 5 + 1],
        case when n % 50 = 0 then 'cancelled' when n % 12 = 0 then 'failed' when n = 500 then 'lost' else 'done' end,
        to_timestamp(1600000000 + n * 100), to_timestamp(1600000000 + n * 100), to_timestamp(1600000060 + n * 100),
        case when n % 12 = 0 then 2 else 0 end, '/home/dev/project-' || n % 30, 'dev', 'local', 1, 12, 40000, '{500,0,0,0,0}', 12
      from generate_series(1, ${sql.lit(jobCount)}) as n`.execute(db);
    for (const { definition } of indexes) await sql.raw(definition).execute(db);
    await sql`vacuum (analyze) jobs`.execute(db);
  });
}

const questions: readonly { name: string; filter: Partial<JobFilter> }[] = [
  { name: 'newest', filter: {} },
  { name: 'q of a rare word (`zebra`)', filter: { q: 'zebra' } },
  { name: 'q of a common word (`make`)', filter: { q: 'make' } },
  { name: 'q of a word in one job of 200 (`--seed 12`)', filter: { q: '--seed 12' } },
  { name: 'q that matches nothing (`qwertyuiop`)', filter: { q: 'qwertyuiop' } },
  { name: 'q that matches nothing, of common parts (`make simulation`)', filter: { q: 'make simulation' } },
  { name: 'q of one letter that is in many (`m`)', filter: { q: 'm' } },
  { name: 'q of one letter that is in none (`%`)', filter: { q: '%' } },
  { name: 'q of two letters that are in many (`ma`)', filter: { q: 'ma' } },
  { name: 'q of two letters that are in ten jobs (`zb`)', filter: { q: 'zb' } },
  { name: 'q of two letters that are in none (`qx`)', filter: { q: 'qx' } },
  { name: 'status failed', filter: { status: 'failed' } },
  { name: 'status lost (one job, old)', filter: { status: 'lost' } },
  { name: 'status running (none)', filter: { status: 'running' } },
  { name: 'type ssh', filter: { type: 'ssh' } },
  { name: 'type vm (none)', filter: { type: 'vm' } },
  { name: 'status failed and q of a common word', filter: { status: 'failed', q: 'make' } },
  { name: 'status lost and q of a common word', filter: { status: 'lost', q: 'make' } },
];

/** At least five answers, then as many as fit into the time. */
async function ask(count: number, seconds: number, question: () => Promise<unknown>): Promise<number[]> {
  const values: number[] = [];
  const until = performance.now() + seconds * 1000;
  while (values.length < 5 || (values.length < count && performance.now() < until)) {
    const begin = performance.now();
    await question();
    values.push(performance.now() - begin);
  }
  return values;
}

async function history({ add }: Bench): Promise<void> {
  await using server = await startServer();
  await fill(server);
  const bare = await ask(200, 5, () => server.client.call('health'));
  for (const { name, filter } of questions) {
    const question = () => server.client.call('listJobs', { query: { limit: 50, ...filter } });
    await question();
    add({
      name: `GET /jobs with 1,000,000 jobs: ${name}`,
      unit: 'ms',
      how: 'a page of 50 from a Node client, one after another',
      values: await ask(200, 4, question),
      targets: [{ share: 0.99, atMost: 20 }],
      limits: [{ name: 'GET /healthz', values: bare }],
    });
  }
}

export const historyPart: Part = { name: 'history', limitSeconds: 240, measure: history };
