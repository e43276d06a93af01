import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import { isFinal } from '@vmo/contract';
import type { Agents } from '../agents/index.ts';
import type { Log } from './log.ts';
import { listAssigned, lockJob, toJob } from './repository.ts';
import type { JobService } from './service.ts';

export interface SweepDeps {
  db: Kysely<Database>;
  log: Log;
  service: JobService;
  agents: Pick<Agents, 'lapsed' | 'holdLapsed' | 'lease'>;
}

/**
 * What becomes of the jobs of an agent that has not renewed its lease: its runs have ended by then, so they may begin again
 * where that was asked for; else they are lost. The agent's row is locked meanwhile, so it cannot come back between the
 * look at its lease and the end of its job.
 */
export function createSweep({ db, log, service, agents }: SweepDeps): () => Promise<void> {
  const seconds = (agents.lease.leaseMs + agents.lease.graceMs) / 1000;

  async function giveUp(agent: { id: string; name: string }, jobId: string): Promise<void> {
    const reason = `agent ${agent.name} has not been heard of for ${String(seconds)} s`;
    const outcome = await db.transaction().execute(async (trx) => {
      if (!(await agents.holdLapsed(trx, agent.id))) return null;
      const row = await lockJob(trx, jobId);
      if (row?.agent !== agent.name || isFinal(toJob(row).status)) return null;
      if (row.cancel_requested_at) {
        return service.advance(trx, row, {
          status: 'cancelled',
          patch: { finished_at: new Date(), reason: `cancelled; ${reason}` },
          lines: [reason],
        });
      }
      if (row.retries > 0) return service.beginAgain(trx, row, [`lost: ${reason}`]);
      return service.advance(trx, row, {
        status: 'lost',
        patch: { finished_at: new Date(), reason },
        lines: [`lost: ${reason}`],
      });
    });
    if (outcome) await service.tell(outcome);
  }

  return async () => {
    const lapsed = await agents.lapsed();
    if (lapsed.length === 0) return;
    await log.ensurePartitions([{ ts: new Date() }]);
    for (const agent of lapsed)
      for (const { id } of await listAssigned(db, agent.name)) await giveUp(agent, id);
  };
}
