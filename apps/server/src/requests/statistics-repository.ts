import { JobStatus, type RequestFigures, type RequestStatistics } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { sql, type Kysely } from 'kysely';
import { z } from 'zod';

const Milliseconds = z.tuple([z.number(), z.number()]).nullable();
const Row = z.object({
  /** null: of all days. */
  day: z.string().nullable(),
  counts: z.record(JobStatus, z.int()),
  queue_ms: Milliseconds,
  boot_ms: Milliseconds,
  log_bytes: z.coerce.number(),
});

/** Name and value of each, for one object. */
const countsByStatus = JobStatus.options.flatMap((status) => [
  sql`${status}::text`,
  sql`count(*) filter (where status = ${status})`,
]);

const toPercentiles = (pair: z.output<typeof Milliseconds>) =>
  pair === null ? null : { p50: Math.round(pair[0]), p95: Math.round(pair[1]) };

const toFigures = (row: z.output<typeof Row>): RequestFigures => ({
  counts: row.counts,
  queue_ms: toPercentiles(row.queue_ms),
  boot_ms: toPercentiles(row.boot_ms),
  log_bytes: row.log_bytes,
});

/** How the requests of the last so many days (UTC) went, by the day on which they were submitted. */
export async function readStatistics(db: Kysely<Database>, days: number): Promise<RequestStatistics> {
  const { rows } = await sql`
    select
      day,
      jsonb_build_object(${sql.join(countsByStatus)}) as counts,
      percentile_cont(array[0.5, 0.95]) within group (order by queue_ms) as queue_ms,
      percentile_cont(array[0.5, 0.95]) within group (order by boot_ms) as boot_ms,
      coalesce(sum(log_bytes), 0) as log_bytes
    from (
      select
        to_char(jobs.created_at at time zone 'UTC', 'YYYY-MM-DD') as day,
        jobs.status,
        -- Clocks of agents differ a little from that of the database: nothing takes less than no time. Null stays null.
        case when jobs.started_at is not null then
          greatest(extract(epoch from jobs.started_at - jobs.created_at) * 1000, 0)::float8
        end as queue_ms,
        case when job_plans.progress->>'readyAt' is not null and jobs.started_at is not null then
          greatest(extract(epoch from (job_plans.progress->>'readyAt')::timestamptz - jobs.started_at) * 1000, 0)::float8
        end as boot_ms,
        jobs.stdout_bytes + jobs.stderr_bytes + jobs.boot_bytes + jobs.command_bytes - jobs.cut_bytes as log_bytes
      from requests
      join jobs on jobs.id = requests.id
      join job_plans on job_plans.job_id = requests.id
      where jobs.created_at >= (date_trunc('day', now() at time zone 'UTC') - make_interval(days => ${days - 1}))
        at time zone 'UTC'
    ) as one
    group by grouping sets ((day), ())
    order by day nulls last`.execute(db);
  const read = z.array(Row).parse(rows);
  const all = read.find(({ day }) => day === null);
  if (!all) throw new Error('there is a row of all days, also where there are no requests');
  const byDay = read.flatMap((row) => (row.day === null ? [] : { day: row.day, ...toFigures(row) }));
  return { days: byDay, all: toFigures(all) };
}
