import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import { dropPartition, ensurePartition, listPartitionDays } from './log-repository.ts';

const dayMs = 86_400_000;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/**
 * Makes the partitions around now and drops those whose last day is older than the limit.
 * @returns the days that were dropped
 */
export async function keepPartitions(
  db: Kysely<Database>,
  retentionDays: number,
  now = Date.now(),
): Promise<string[]> {
  for (const offset of [-1, 0, 1]) await ensurePartition(db, toDay(now + offset * dayMs));
  const oldestKept = toDay(now - retentionDays * dayMs);
  const expired = (await listPartitionDays(db)).filter((day) => day < oldestKept);
  for (const day of expired) await dropPartition(db, day);
  return expired;
}
