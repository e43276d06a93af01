import type { Database } from '@vmo/db';
import { RunPlan, type RunProgress } from '@vmo/contract';
import type { Kysely } from 'kysely';

type Db = Kysely<Database>;

export async function insertPlans(trx: Db, plans: readonly { id: string; plan: RunPlan }[]): Promise<void> {
  if (plans.length === 0) return;
  await trx
    .insertInto('job_plans')
    .values(plans.map(({ id, plan }) => ({ job_id: id, plan: JSON.stringify(plan) })))
    .execute();
}

export async function findPlan(db: Db, jobId: string): Promise<RunPlan | null> {
  const row = await db.selectFrom('job_plans').select('plan').where('job_id', '=', jobId).executeTakeFirst();
  return row ? RunPlan.parse(row.plan) : null;
}

/** Only for jobs that are locked in this transaction. */
export async function storeProgress(trx: Db, jobId: string, progress: RunProgress): Promise<void> {
  await trx
    .updateTable('job_plans')
    .set({ progress: JSON.stringify(progress), updated_at: new Date() })
    .where('job_id', '=', jobId)
    .execute();
}

/** How far the attempt before had come says nothing of the next. Only for jobs that are locked in this transaction. */
export async function forgetProgress(trx: Db, jobId: string): Promise<void> {
  await trx
    .updateTable('job_plans')
    .set({ progress: null, updated_at: new Date() })
    .where('job_id', '=', jobId)
    .execute();
}
