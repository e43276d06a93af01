import type { VmId, VmMetric } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { sql, type Kysely } from 'kysely';

type Db = Kysely<Database>;

/** Looks every 10 s, and their averages over 300 s. */
export const tables = ['vm_metrics', 'vm_metrics_rolled', 'host_metrics', 'host_metrics_rolled'] as const;
export type MetricsTable = (typeof tables)[number];

/** One statement for all machines. Values that are there already, as after a clock was set back, stay. */
export async function insertLooks(
  db: Db,
  at: Date,
  looks: readonly { vmId: VmId; metric: VmMetric }[],
): Promise<void> {
  if (looks.length === 0) return;
  await db
    .insertInto('vm_metrics')
    .values(
      looks.map(({ vmId, metric }) => ({
        vm_id: vmId,
        at,
        cpu_percent: metric.cpuPercent,
        memory_mib: metric.memoryMib,
        guest_used_mib: metric.guestMemoryUsedMib,
        disk_read_bps: metric.diskReadBytesPerSecond,
        disk_write_bps: metric.diskWriteBytesPerSecond,
        net_received_bps: metric.networkReceivedBytesPerSecond,
        net_sent_bps: metric.networkSentBytesPerSecond,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/**
 * Averages of whole slices of time. Averages that are there already are made anew: a slice may have been incomplete.
 * Expected plan: the partitions of the days between.
 */
export async function rollUp(db: Db, from: Date, to: Date, everySeconds: number): Promise<void> {
  const slice = sql`date_bin(${`${String(everySeconds)} seconds`}::interval, at, '2000-01-01T00:00:00Z')`;
  await sql`
    insert into vm_metrics_rolled (vm_id, at, cpu_percent, memory_mib, guest_used_mib, disk_read_bps, disk_write_bps,
      net_received_bps, net_sent_bps)
    select vm_id, ${slice} as slice, avg(cpu_percent), avg(memory_mib), avg(guest_used_mib), avg(disk_read_bps),
      avg(disk_write_bps), avg(net_received_bps), avg(net_sent_bps)
    from vm_metrics
    where at >= ${from} and at < ${to}
    group by 1, 2
    on conflict (vm_id, at) do update
    set cpu_percent = excluded.cpu_percent, memory_mib = excluded.memory_mib, guest_used_mib = excluded.guest_used_mib,
        disk_read_bps = excluded.disk_read_bps, disk_write_bps = excluded.disk_write_bps,
        net_received_bps = excluded.net_received_bps, net_sent_bps = excluded.net_sent_bps`.execute(db);
}

/** When the newest average begins; null: there is none. */
export async function lastRolled(db: Db): Promise<Date | null> {
  const row = await db
    .selectFrom('vm_metrics_rolled')
    .select((eb) => eb.fn.max('at').as('at'))
    .executeTakeFirst();
  return row?.at ?? null;
}

/** In order of time. With a slice, averages over it. Expected plan: the primary key of each day's partition. */
export async function selectMetrics(
  db: Db,
  table: 'vm_metrics' | 'vm_metrics_rolled',
  vmId: string,
  range: { from: Date; to: Date; everySeconds: number },
): Promise<VmMetric[]> {
  const slice = sql<Date>`date_bin(${`${String(range.everySeconds)} seconds`}::interval, at, '2000-01-01T00:00:00Z')`;
  const rows = await db
    .selectFrom(table)
    .select((eb) => [
      slice.as('slice'),
      eb.fn.avg<number | null>('cpu_percent').as('cpu'),
      eb.fn.avg<number | null>('memory_mib').as('memory'),
      eb.fn.avg<number | null>('guest_used_mib').as('used'),
      eb.fn.avg<number | null>('disk_read_bps').as('read'),
      eb.fn.avg<number | null>('disk_write_bps').as('write'),
      eb.fn.avg<number | null>('net_received_bps').as('received'),
      eb.fn.avg<number | null>('net_sent_bps').as('sent'),
    ])
    .where('vm_id', '=', vmId)
    .where('at', '>=', range.from)
    .where('at', '<', range.to)
    .groupBy('slice')
    .orderBy('slice')
    .execute();
  return rows.map((row) => ({
    at: row.slice.toISOString(),
    cpuPercent: row.cpu,
    memoryMib: row.memory,
    guestMemoryUsedMib: row.used,
    diskReadBytesPerSecond: row.read,
    diskWriteBytesPerSecond: row.write,
    networkReceivedBytesPerSecond: row.received,
    networkSentBytesPerSecond: row.sent,
  }));
}

const partitionName = (table: MetricsTable, day: string) => `${table}_${day.replaceAll('-', '')}`;

/** Makes the partition of a day (`YYYY-MM-DD`, UTC) where it is missing. Several servers may do so at once. */
export async function ensurePartition(db: Db, table: MetricsTable, day: string): Promise<void> {
  const next = new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString();
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('vmo:vm_metrics:partitions'))`.execute(trx);
    await sql`
      create table if not exists ${sql.table(partitionName(table, day))} partition of ${sql.table(table)}
      for values from (${sql.lit(`${day}T00:00:00Z`)}) to (${sql.lit(next)})`.execute(trx);
  });
}

/** Drops the days before this one. Tables that somebody else has attached have other names, and are left alone. */
export async function dropBefore(db: Db, table: MetricsTable, day: string): Promise<string[]> {
  return db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('vmo:vm_metrics:partitions'))`.execute(trx);
    const { rows } = await sql<{ name: string }>`
      select child.relname as name
      from pg_inherits
      join pg_class child on child.oid = pg_inherits.inhrelid
      join pg_class parent on parent.oid = pg_inherits.inhparent
      where parent.relname = ${table}
        and child.relname ~ ${`^${table}_[0-9]{8}$`}
        and child.relname < ${partitionName(table, day)}
      order by child.relname`.execute(trx);
    for (const { name } of rows) await sql`drop table ${sql.table(name)}`.execute(trx);
    return rows.map(({ name }) => name);
  });
}
