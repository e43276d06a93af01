import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table disks
      -- The file that it is being switched to, with what that lies on: until the switch is settled, it is on either.
      add column pending jsonb`.execute(db);
  await sql`
    alter table vm_snapshots
      -- Of one with memory: the machine that it fits, part by part in words. null: not kept.
      add column hardware jsonb`.execute(db);
}
