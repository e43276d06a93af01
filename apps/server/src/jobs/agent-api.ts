import type { Kysely, Transaction } from 'kysely';
import type { Database } from '@vmo/db';
import {
  ClaimedJob,
  HostId,
  isFinal,
  type AgentApi,
  type AppendResult,
  type JobEvent,
  type JobRef,
  type JobStatus,
} from '@vmo/contract';
import type { Hosts } from '../hosts/index.ts';
import { packChunk, packLines, storedOffsets, trimToEnd, type Log } from './log.ts';
import { claimPending, listAssigned, lockJob, toJob, type JobRow } from './repository.ts';
import type { JobService } from './service.ts';

export interface AgentApiDeps {
  db: Kysely<Database>;
  log: Log;
  service: JobService;
  hosts: Pick<Hosts, 'get'>;
}

/** The server's side of the agent contract. Every write checks the fence under the lock on the job's row. */
export function createAgentApi({ db, log, service, hosts }: AgentApiDeps): AgentApi {
  async function toClaimed(row: JobRow): Promise<ClaimedJob> {
    return ClaimedJob.parse({
      id: row.id,
      type: row.type,
      command: row.command,
      cwd: row.cwd,
      env: row.env,
      color: row.color,
      timeout: row.timeout_seconds,
      cols: row.cols,
      rows: row.rows,
      host: row.host_id === null ? null : await hosts.get(HostId.parse(row.host_id)),
      fence: row.fence,
      status: row.status,
      cancelRequested: row.cancel_requested_at !== null,
      offsets: storedOffsets(row),
      startedAt: row.started_at?.toISOString() ?? null,
    } satisfies Record<keyof ClaimedJob, unknown>);
  }

  /** Runs `work` under the lock, if the agent still holds the job. undefined: the lease is lost. */
  async function held<T>(
    ref: JobRef,
    work: (trx: Transaction<Database>, row: JobRow) => Promise<T>,
  ): Promise<T | undefined> {
    return db.transaction().execute(async (trx) => {
      const row = await lockJob(trx, ref.jobId);
      if (row?.fence !== ref.fence || isFinal(toJob(row).status)) return undefined;
      return work(trx, row);
    });
  }

  /** A transition that is asked for again, because its answer was lost, changes nothing. */
  async function move(
    ref: JobRef,
    status: JobStatus,
    change: Omit<Parameters<JobService['advance']>[2], 'status'>,
  ): Promise<boolean> {
    await log.ensurePartitions([{ ts: new Date() }]);
    const outcome = await held(ref, async (trx, row) =>
      row.status === status
        ? { row, events: [] as JobEvent[] }
        : service.advance(trx, row, { ...change, status }),
    );
    if (!outcome) return false;
    await service.tell(outcome);
    return true;
  }

  return {
    async claim(agent, slots) {
      if (slots <= 0) return [];
      const rows = await db.transaction().execute((trx) => claimPending(trx, agent, slots));
      for (const row of rows) await service.tell({ row, events: [] });
      return Promise.all(rows.map(toClaimed));
    },

    assigned: async (agent) => Promise.all((await listAssigned(db, agent)).map(toClaimed)),

    started: (ref, startedAt, lines) => move(ref, 'running', { patch: { started_at: startedAt }, lines }),

    release: (ref, reason) => move(ref, 'pending', { patch: { agent: null }, lines: [reason] }),

    async append(ref, chunks): Promise<AppendResult> {
      const packed = await Promise.all(chunks.map(packChunk));
      await log.ensurePartitions(packed);
      const result = await held(ref, async (trx, row) => {
        const fresh = await trimToEnd(row, packed);
        if (!fresh) return { offsets: storedOffsets(row), events: null };
        const events = await log.append(trx, row, fresh);
        const offsets = storedOffsets(row);
        for (const { stream, offset, bytes } of fresh) {
          if ((stream === 'stdout' || stream === 'stderr') && offset !== null)
            offsets[stream] = offset + bytes.length;
        }
        return { offsets, events, row };
      });
      if (!result) return { status: 'lease-lost' };
      if (!result.events) return { status: 'wrong-offset', offsets: result.offsets };
      service.tellEvents(ref.jobId, result.events);
      return { status: 'accepted', offsets: result.offsets };
    },

    async note(ref, lines) {
      const packed = packLines(lines, new Date());
      await log.ensurePartitions(packed);
      const events = await held(ref, (trx, row) => log.append(trx, row, packed));
      if (events) service.tellEvents(ref.jobId, events);
    },

    async finish(ref, outcome, sizes): Promise<AppendResult> {
      await log.ensurePartitions([{ ts: new Date() }]);
      const result = await db.transaction().execute(async (trx) => {
        const row = await lockJob(trx, ref.jobId);
        if (row?.fence !== ref.fence) return 'lease-lost';
        if (isFinal(toJob(row).status)) return row; // the answer to an earlier call was lost
        const offsets = storedOffsets(row);
        if (offsets.stdout !== sizes.stdout || offsets.stderr !== sizes.stderr) return offsets;
        return service.advance(trx, row, {
          status: outcome.status,
          patch: {
            exit_code: outcome.exitCode,
            signal: outcome.signal,
            reason: outcome.reason,
            started_at: outcome.startedAt ?? row.started_at,
            finished_at: outcome.finishedAt,
          },
          lines: outcome.lines,
        });
      });
      if (result === 'lease-lost') return { status: 'lease-lost' };
      if ('stdout' in result) return { status: 'wrong-offset', offsets: result };
      if ('events' in result) await service.tell(result);
      return { status: 'accepted', offsets: sizes };
    },
  };
}
