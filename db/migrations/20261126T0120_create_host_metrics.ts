import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // Partitioned by day, as those of machines: looks every 10 s, and their averages over 300 s, which are kept longer.
  for (const table of ['host_metrics', 'host_metrics_rolled']) {
    await sql`
      create table ${sql.table(table)} (
        -- The name of the machine that runs them.
        host             text not null,
        at               timestamptz not null,
        cpu_percent      real,
        memory_mib       real,
        storage_bytes    double precision,
        disk_read_bps    real,
        disk_write_bps   real,
        net_received_bps real,
        net_sent_bps     real,
        primary key (host, at)
      ) partition by range (at)`.execute(db);
  }
}
