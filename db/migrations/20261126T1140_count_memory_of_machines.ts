import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // Of machines that run while the cockpit is updated.
  await sql`
    update jobs
    set need_memory_mib = vms.memory_mib
    from vms
    where vms.job_id = jobs.id and jobs.status in ('pending', 'acknowledged', 'running')
      and jobs.queue = 'here/vms'`.execute(db);
}
