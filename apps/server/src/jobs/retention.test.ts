import { testDatabase } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { ensurePartition, listPartitionDays } from './log-repository.ts';
import { keepPartitions } from './retention.ts';

it('makes the partitions around today and drops only those that are older than the limit', async () => {
  await using database = await testDatabase();
  const { db } = database;
  const now = Date.parse('2026-03-31T23:59:59Z');
  for (const day of ['2025-12-31', '2026-02-28', '2026-03-01', '2026-03-02']) await ensurePartition(db, day);
  expect(await keepPartitions(db, 30, now)).toEqual(['2025-12-31', '2026-02-28']);
  const kept = ['2026-03-01', '2026-03-02', '2026-03-30', '2026-03-31', '2026-04-01'];
  expect(await listPartitionDays(db)).toEqual(kept);
  expect(await keepPartitions(db, 30, now)).toEqual([]);
  // Several servers may do so at once.
  await Promise.all(Array.from({ length: 5 }, () => keepPartitions(db, 30, now + 86_400_000)));
  expect(await listPartitionDays(db)).toEqual([...kept.slice(1), '2026-04-02']);
});
