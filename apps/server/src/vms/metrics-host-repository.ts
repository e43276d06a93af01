import type { HostMetric } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { sql, type Kysely } from 'kysely';

type Db = Kysely<Database>;

export async function insertLook(db: Db, host: string, at: Date, metric: HostMetric): Promise<void> {
  await db
    .insertInto('host_metrics')
    .values({
      host,
      at,
      cpu_percent: metric.cpuPercent,
      memory_mib: metric.memoryMib,
      storage_bytes: metric.storageBytes,
      disk_read_bps: metric.diskReadBytesPerSecond,
      disk_write_bps: metric.diskWriteBytesPerSecond,
      net_received_bps: metric.networkReceivedBytesPerSecond,
      net_sent_bps: metric.networkSentBytesPerSecond,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** As those of machines: averages that are there already are made anew. Expected plan: the partitions of the days between. */
export async function rollUp(db: Db, from: Date, to: Date, everySeconds: number): Promise<void> {
  const slice = sql`date_bin(${`${String(everySeconds)} seconds`}::interval, at, '2000-01-01T00:00:00Z')`;
  await sql`
    insert into host_metrics_rolled (host, at, cpu_percent, memory_mib, storage_bytes, disk_read_bps, disk_write_bps,
      net_received_bps, net_sent_bps)
    select host, ${slice} as slice, avg(cpu_percent), avg(memory_mib), avg(storage_bytes), avg(disk_read_bps),
      avg(disk_write_bps), avg(net_received_bps), avg(net_sent_bps)
    from host_metrics
    where at >= ${from} and at < ${to}
    group by 1, 2
    on conflict (host, at) do update
    set cpu_percent = excluded.cpu_percent, memory_mib = excluded.memory_mib, storage_bytes = excluded.storage_bytes,
        disk_read_bps = excluded.disk_read_bps, disk_write_bps = excluded.disk_write_bps,
        net_received_bps = excluded.net_received_bps, net_sent_bps = excluded.net_sent_bps`.execute(db);
}

/** When the newest average begins; null: there is none. */
export async function lastRolled(db: Db): Promise<Date | null> {
  const row = await db
    .selectFrom('host_metrics_rolled')
    .select((eb) => eb.fn.max('at').as('at'))
    .executeTakeFirst();
  return row?.at ?? null;
}

/** In order of time, averages over slices. Expected plan: the primary key of each day's partition. */
export async function selectMetrics(
  db: Db,
  table: 'host_metrics' | 'host_metrics_rolled',
  host: string,
  range: { from: Date; to: Date; everySeconds: number },
): Promise<HostMetric[]> {
  const slice = sql<Date>`date_bin(${`${String(range.everySeconds)} seconds`}::interval, at, '2000-01-01T00:00:00Z')`;
  const rows = await db
    .selectFrom(table)
    .select((eb) => [
      slice.as('slice'),
      eb.fn.avg<number | null>('cpu_percent').as('cpu'),
      eb.fn.avg<number | null>('memory_mib').as('memory'),
      eb.fn.avg<number | null>('storage_bytes').as('storage'),
      eb.fn.avg<number | null>('disk_read_bps').as('read'),
      eb.fn.avg<number | null>('disk_write_bps').as('write'),
      eb.fn.avg<number | null>('net_received_bps').as('received'),
      eb.fn.avg<number | null>('net_sent_bps').as('sent'),
    ])
    .where('host', '=', host)
    .where('at', '>=', range.from)
    .where('at', '<', range.to)
    .groupBy('slice')
    .orderBy('slice')
    .execute();
  return rows.map((row) => ({
    at: row.slice.toISOString(),
    cpuPercent: row.cpu,
    memoryMib: row.memory,
    storageBytes: row.storage,
    diskReadBytesPerSecond: row.read,
    diskWriteBytesPerSecond: row.write,
    networkReceivedBytesPerSecond: row.received,
    networkSentBytesPerSecond: row.sent,
  }));
}
