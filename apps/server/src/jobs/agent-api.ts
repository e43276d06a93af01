import type { Kysely, Transaction } from 'kysely';
import type { Database } from '@vmo/db';
import {
  ClaimedJob,
  HostId,
  type JobId,
  isFinal,
  sameOffsets,
  type AgentApi,
  type AppendResult,
  type JobEvent,
  type JobRef,
  type JobStatus,
  type Offsets,
} from '@vmo/contract';
import type { Hosts } from '../hosts/index.ts';
import { digestOf } from './digest.ts';
import {
  packChunk,
  packLines,
  storedOffsets,
  trimToEnd,
  type KnownEnd,
  type Log,
  type PackedChunk,
} from './log.ts';
import { dropBetween, endHead } from './log-repository.ts';
import { claimPending, findJob, listAssigned, lockJob, toJob, type JobRow } from './repository.ts';
import type { Secrets } from './secrets.ts';
import type { JobService } from './service.ts';

export interface AgentApiDeps {
  db: Kysely<Database>;
  log: Log;
  service: JobService;
  hosts: Pick<Hosts, 'get'>;
  secrets: Secrets;
}

/** The server's side of the agent contract. Every write checks the fence under the lock on the job's row. */
export function createAgentApi({ db, log, service, hosts, secrets }: AgentApiDeps): AgentApi {
  /** Ends of the logs that are being written, as this process left them. */
  const ends = new Map<JobId, KnownEnd>();

  async function toClaimed(row: JobRow): Promise<ClaimedJob> {
    return ClaimedJob.parse({
      id: row.id,
      type: row.type,
      command: row.command,
      cwd: row.cwd,
      env: row.env,
      secrets: row.secrets ? secrets.open(row.secrets) : {},
      color: row.color,
      timeout: row.timeout_seconds,
      cols: row.cols,
      rows: row.rows,
      host: row.host_id === null ? null : await hosts.get(HostId.parse(row.host_id)),
      vm: row.vm,
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

  /**
   * Appends where this process left the log, when that is still its end: the words of a cancel, another server or a
   * restart may have come between. null: look first.
   */
  async function appendBehindKnown(
    ref: JobRef,
    packed: readonly PackedChunk[],
  ): Promise<AppendResult | null> {
    const known = ends.get(ref.jobId);
    if (known?.fence !== ref.fence) return null;
    const fresh = await trimToEnd(known, packed);
    if (!fresh || fresh.length === 0) return null;
    // Where the answer gets lost, whether it was stored is not known.
    ends.delete(ref.jobId);
    const stored = await log.appendBehind(known, fresh);
    if (!stored) return null;
    ends.set(ref.jobId, stored.at);
    service.tellEvents(ref.jobId, stored.told);
    return { status: 'accepted', offsets: storedOffsets(stored.at) };
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
    async claim(agent, free) {
      if (free.jobs <= 0 && free.vms <= 0) return [];
      const rows = await claimPending(db, agent, free);
      for (const row of rows) await service.tell({ row, events: [] });
      return Promise.all(rows.map(toClaimed));
    },

    assigned: async (agent) => Promise.all((await listAssigned(db, agent)).map(toClaimed)),

    started: (ref, startedAt, lines) => move(ref, 'running', { patch: { started_at: startedAt }, lines }),

    release: (ref, reason) => move(ref, 'pending', { patch: { agent: null }, lines: [reason] }),

    async append(ref, chunks): Promise<AppendResult> {
      const packed = await Promise.all(chunks.map(packChunk));
      await log.ensurePartitions(packed);
      const told = await appendBehindKnown(ref, packed);
      if (told) return told;
      const result = await held(ref, async (trx, row) => {
        const fresh = await trimToEnd(row, packed);
        if (!fresh) return { at: row, events: null };
        const events = await log.append(trx, row, fresh);
        return { at: (await lockJob(trx, ref.jobId)) ?? row, events };
      });
      if (!result) return { status: 'lease-lost' };
      const offsets = storedOffsets(result.at);
      if (!result.events) return { status: 'wrong-offset', offsets };
      ends.set(ref.jobId, result.at);
      service.tellEvents(ref.jobId, result.events);
      return { status: 'accepted', offsets };
    },

    async note(ref, lines) {
      const packed = packLines(lines, new Date());
      await log.ensurePartitions(packed);
      const events = await held(ref, (trx, row) => log.append(trx, row, packed));
      if (events) service.tellEvents(ref.jobId, events);
    },

    async cut(ref, from, to, lines): Promise<AppendResult> {
      await log.ensurePartitions([{ ts: new Date() }]);
      const result = await held(ref, async (trx, row) => {
        const stored = storedOffsets(row);
        const isAt = (offsets: Offsets) => sameOffsets(stored, offsets);
        if (isAt(to)) return { offsets: to, events: [] }; // the answer to an earlier call was lost
        if (!isAt(from)) return { offsets: stored, events: null };
        return { offsets: to, events: await log.cut(trx, row, to, packLines(lines, new Date())) };
      });
      if (!result) return { status: 'lease-lost' };
      if (!result.events) return { status: 'wrong-offset', offsets: result.offsets };
      service.tellEvents(ref.jobId, result.events);
      return { status: 'accepted', offsets: result.offsets };
    },

    async keepNewest(ref, tailBytes, lines) {
      const now = new Date();
      await log.ensurePartitions([{ ts: now }]);
      const events = await held(ref, async (trx, row) => {
        if (row.head_seq !== null) {
          await dropBetween(trx, { ...row, head_seq: row.head_seq }, tailBytes);
          return [];
        }
        const words = await log.append(trx, row, packLines(lines, now));
        await endHead(trx, row.id, words.at(-1)?.seq ?? row.last_seq);
        return words;
      });
      if (!events) return false;
      service.tellEvents(ref.jobId, events);
      return true;
    },

    async digest(ref, afterSeq = 0) {
      const row = await findJob(db, ref.jobId);
      if (row?.fence !== ref.fence) return null;
      return {
        lastSeq: row.last_seq,
        offsets: storedOffsets(row),
        sha256: await digestOf(db, row, afterSeq),
      };
    },

    async finish(ref, outcome, sizes): Promise<AppendResult> {
      await log.ensurePartitions([{ ts: new Date() }]);
      const result = await db.transaction().execute(async (trx) => {
        const row = await lockJob(trx, ref.jobId);
        if (row?.fence !== ref.fence) return 'lease-lost';
        if (isFinal(toJob(row).status)) return row; // the answer to an earlier call was lost
        const offsets = storedOffsets(row);
        if (!sameOffsets(offsets, sizes)) return offsets;
        return service.advance(trx, row, {
          status: outcome.status,
          patch: {
            exit_code: outcome.exitCode,
            signal: outcome.signal,
            reason: outcome.reason,
            started_at: outcome.startedAt ?? row.started_at,
            finished_at: outcome.finishedAt,
            log_verified: outcome.verified,
          },
          lines: outcome.lines,
        });
      });
      ends.delete(ref.jobId);
      if (result === 'lease-lost') return { status: 'lease-lost' };
      if ('stdout' in result) return { status: 'wrong-offset', offsets: result };
      if ('events' in result) await service.tell(result);
      return { status: 'accepted', offsets: sizes };
    },
  };
}
