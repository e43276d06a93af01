import { sql, type Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import { LogStream } from '@vmo/contract';
import type { JobRow } from './repository.ts';

type Db = Kysely<Database>;

/**
 * The last event before which at most `most` lines of these streams have begun: the line that follows in them begins
 * in it, if it is there. Numbers of lines grow with seq, so this bisects: some twenty steps in the index for a million
 * events, in one round trip. Where events are missing, the one before them stands for them. Expected plan:
 * idx_job_events_job_id_seq at every step.
 * @returns its seq; null where nothing is stored
 */
export async function findSeqOfLine(
  db: Db,
  job: Pick<JobRow, 'id' | 'created_at' | 'last_seq'>,
  streams: readonly LogStream[],
  most: number,
): Promise<number | null> {
  const terms = streams.map((stream) => sql`lines_before[${sql.lit(LogStream.options.indexOf(stream) + 1)}]`);
  const before = sql`(${sql.join(terms, sql` + `)})`;
  const { rows } = await sql<{ seq: number }>`
    with recursive first as (
      select min(seq) as seq from job_events where job_id = ${job.id} and ts >= ${job.created_at}
    ), bisect(low, high) as (
      select seq, greatest(seq, ${job.last_seq}::integer) from first where seq is not null
      union all
      select case when looked.fits then middle else low end,
        case when looked.fits then high else greatest(looked.seq - 1, low) end
      from bisect
      cross join lateral (select (low + high + 1) / 2 as middle) as halved
      cross join lateral (
        select seq, ${before} <= ${most} as fits from job_events
        where job_id = ${job.id} and ts >= ${job.created_at} and seq <= middle
        order by seq desc
        limit 1
      ) as looked
      where low < high
    )
    select max(job_events.seq) as seq from job_events
    where job_id = ${job.id} and ts >= ${job.created_at}
      and seq <= (select low from bisect where low = high)`.execute(db);
  return rows[0]?.seq ?? null;
}
