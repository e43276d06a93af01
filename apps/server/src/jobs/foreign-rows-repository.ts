import { sql, type Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import type { LogStream } from '@vmo/contract';
import type { JobRow } from './repository.ts';

type Db = Kysely<Database>;

/** A row that shares its seq with another one, or stands behind the end of the log. */
export interface DoubtfulRow {
  id: number;
  seq: number;
  stream: LogStream;
  stream_offset: number;
  size: number;
  /** Where the output of its stream before it ends, without other doubtful rows; null: there is none. */
  ends_before: number | null;
  /** Where that behind it begins; null: there is none. */
  begins_after: number | null;
}

/**
 * Rows behind `afterSeq` and up to `upTo` of which at most one per seq can be ours, by seq and id. Expected plan:
 * idx_job_events_job_id_seq alone where there are none.
 */
export async function listDoubtfulRows(
  db: Db,
  job: Pick<JobRow, 'id' | 'created_at' | 'last_seq'>,
  afterSeq: number,
  upTo: number | null,
): Promise<DoubtfulRow[]> {
  const end = upTo === null ? sql`` : sql`and seq <= ${upTo}`;
  const { rows } = await sql<DoubtfulRow>`
    with doubtful as (
      select seq from job_events
      where job_id = ${job.id} and ts >= ${job.created_at} and seq > ${afterSeq} ${end}
      group by seq
      having count(*) > 1 or seq > ${job.last_seq}
    )
    select event.id, event.seq, event.stream, event.stream_offset, event.size, earlier.ends_before, later.begins_after
    from doubtful
    join job_events event
      on event.job_id = ${job.id} and event.ts >= ${job.created_at} and event.seq = doubtful.seq
    left join lateral (
      select stream_offset + size as ends_before from job_events
      where job_id = ${job.id} and ts >= ${job.created_at} and stream = event.stream and seq < event.seq
        and seq not in (select seq from doubtful)
      order by seq desc
      limit 1
    ) as earlier on true
    left join lateral (
      select stream_offset as begins_after from job_events
      where job_id = ${job.id} and ts >= ${job.created_at} and stream = event.stream and seq > event.seq
        and seq <= ${job.last_seq} and seq not in (select seq from doubtful)
      order by seq
      limit 1
    ) as later on true
    order by event.seq, event.id`.execute(db);
  return rows;
}

export async function deleteRows(
  trx: Db,
  job: Pick<JobRow, 'id' | 'created_at'>,
  ids: readonly number[],
): Promise<void> {
  await trx
    .deleteFrom('job_events')
    .where('job_id', '=', job.id)
    .where('ts', '>=', job.created_at)
    .where('id', 'in', [...ids])
    .execute();
}
