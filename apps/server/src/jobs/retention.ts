import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import {
  dropPartition,
  ensurePartition,
  listPartitions,
  lockPartition,
  markExpired,
} from './log-repository.ts';

const dayMs = 86_400_000;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** What one run of the retention did. */
export interface Expired {
  /** Days (`YYYY-MM-DD`, UTC) whose output is gone. */
  days: string[];
  /** Jobs whose log is gone, whole or in part. */
  jobs: number;
  bytes: number;
}

/**
 * Makes the partitions around now and drops those whose last day is older than the limit. The jobs stay, and say that
 * their log has expired.
 */
export async function keepPartitions(
  db: Kysely<Database>,
  retentionDays: number,
  now = Date.now(),
): Promise<Expired> {
  for (const offset of [-1, 0, 1]) await ensurePartition(db, toDay(now + offset * dayMs));
  const oldestKept = toDay(now - retentionDays * dayMs);
  const expired = (await listPartitions(db)).filter(({ day }) => day < oldestKept);
  let jobs = 0;
  for (const { day } of expired) {
    // First said, then done: no log is half gone without saying so. Not in one transaction: it would hold the rows of
    // jobs that still run while it waits for the log, and their output holds the log while it waits for the rows.
    jobs += await db
      .transaction()
      .execute(async (trx) => ((await lockPartition(trx, day)) ? markExpired(trx, day) : 0));
    await db.transaction().execute(async (trx) => {
      if (await lockPartition(trx, day)) await dropPartition(trx, day);
    });
  }
  return {
    days: expired.map(({ day }) => day),
    jobs,
    bytes: expired.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
