import type { Kysely, Transaction } from 'kysely';
import type { Database } from '@vmo/db';
import {
  ClaimedJob,
  HostId,
  isFinal,
  JobId,
  perStream,
  sameOffsets,
  totalBytes,
  type AgentApi,
  type AppendResult,
  type JobEvent,
  type JobRef,
  type JobStatus,
  type Offsets,
  type RunOutcome,
} from '@vmo/contract';
import type { Agents } from '../agents/index.ts';
import type { Hosts } from '../hosts/index.ts';
import type { Artifacts } from './artifacts.ts';
import { createClaims } from './claims.ts';
import { digestOf } from './digest.ts';
import { foreignWords, listForeignRows } from './foreign-rows.ts';
import { deleteRows } from './foreign-rows-repository.ts';
import { isSpool, storedOffsets } from './log-end.ts';
import {
  attemptBase,
  packChunk,
  packLines,
  trimToEnd,
  type KnownEnd,
  type Log,
  type PackedChunk,
} from './log.ts';
import { dropBetween, endHead } from './log-repository.ts';
import { findPlan, storeProgress } from './plans-repository.ts';
import { parseQueue, type Taker } from './queue.ts';
import { findJob, listAssigned, listCancelled, lockJob, toJob, type JobRow } from './repository.ts';
import type { Secrets } from './secrets.ts';
import type { JobService } from './service.ts';

export interface AgentApiDeps {
  db: Kysely<Database>;
  log: Log;
  service: JobService;
  hosts: Pick<Hosts, 'get'>;
  secrets: Secrets;
  artifacts: Artifacts;
  agents: Pick<Agents, 'renew' | 'isDrained'>;
}

/** A log that is being written, as this process left it, and by whom. */
type Written = KnownEnd & Pick<JobRow, 'agent'>;

const plus = (a: Offsets, b: Offsets): Offsets => perStream((stream) => a[stream] + b[stream]);
const minus = (a: Offsets, b: Offsets): Offsets => perStream((stream) => a[stream] - b[stream]);

/** An agent counts the bytes of its attempt; the log goes on behind those of the attempts before. */
function atBase(chunks: readonly PackedChunk[], base: Offsets): readonly PackedChunk[] {
  if (totalBytes(base) === 0) return chunks;
  return chunks.map((chunk) => {
    const { stream, offset } = chunk;
    return offset === null || !isSpool(stream) ? chunk : { ...chunk, offset: offset + base[stream] };
  });
}

/** Bytes of the attempt that is under way, as its agent counts them. */
const ofAttempt = (row: Parameters<typeof attemptBase>[0] & Parameters<typeof storedOffsets>[0]): Offsets =>
  minus(storedOffsets(row), attemptBase(row));

/** Of a log that keeps its newest part: only at its end is it known how much lies between. */
const leftOutWords = (row: JobRow): string[] =>
  row.head_seq === null || row.cut_bytes === 0
    ? []
    : [`${row.cut_bytes.toLocaleString('en')} bytes between the first part and the newest are left out`];

/**
 * The server's side of the agent contract, for any agent. Every write checks agent and fence under the lock on the job's
 * row.
 */
export function createAgentApi({ db, log, service, hosts, secrets, artifacts, agents }: AgentApiDeps): {
  of: (taker: Taker) => AgentApi;
  /** Nobody writes to the log of this job any more, or somebody else does. */
  forget: (jobId: JobId) => void;
} {
  const ends = new Map<JobId, Written>();
  const claim = createClaims(db);

  async function toClaimed(row: JobRow): Promise<ClaimedJob> {
    return ClaimedJob.parse({
      id: row.id,
      type: row.type,
      place: parseQueue(row.queue).place,
      attempt: row.attempt,
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
      offsets: ofAttempt(row),
      needs: { cpus: row.need_cpus, memoryMib: row.need_memory_mib },
      startedAt: row.started_at?.toISOString() ?? null,
    } satisfies Record<keyof ClaimedJob, unknown>);
  }

  function apiFor(taker: Taker): AgentApi {
    const { name: agent } = taker;
    const isOurs = (row: JobRow | undefined, { fence }: JobRef): row is JobRow =>
      row?.fence === fence && row.agent === agent;

    /** Runs `work` under the lock, if the agent still holds the job. undefined: the lease is lost. */
    async function held<T>(
      ref: JobRef,
      work: (trx: Transaction<Database>, row: JobRow) => Promise<T>,
    ): Promise<T | undefined> {
      return db.transaction().execute(async (trx) => {
        const row = await lockJob(trx, ref.jobId);
        if (!isOurs(row, ref) || isFinal(toJob(row).status)) return undefined;
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
      if (known?.fence !== ref.fence || known.agent !== agent) return null;
      const fresh = await trimToEnd(known, atBase(packed, attemptBase(known)));
      if (!fresh || fresh.length === 0) return null;
      // Where the answer gets lost, whether it was stored is not known.
      ends.delete(ref.jobId);
      const stored = await log.appendBehind(known, fresh);
      if (!stored) return null;
      ends.set(ref.jobId, { ...stored.at, agent });
      service.tellEvents(ref.jobId, stored.told);
      return { status: 'accepted', offsets: ofAttempt(stored.at) };
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

    /** The final state, or the next attempt. */
    function conclude(trx: Transaction<Database>, row: JobRow, outcome: RunOutcome) {
      if (outcome.status === 'lost' && outcome.dead && row.retries > 0 && row.cancel_requested_at === null)
        return service.beginAgain(trx, row, outcome.lines);
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
        lines: [...leftOutWords(row), ...outcome.lines],
      });
    }

    /** What others have put into a log that has come to its end is named and removed, so that ours can be compared. */
    async function removeForeign(ref: JobRef, row: JobRow, afterSeq: number): Promise<void> {
      if ((await listForeignRows(db, row, afterSeq)).length === 0) return;
      const now = new Date();
      await log.ensurePartitions([{ ts: now }]);
      const events = await held(ref, async (trx, locked) => {
        const rows = await listForeignRows(trx, locked, afterSeq);
        if (rows.length === 0) return [];
        await deleteRows(
          trx,
          locked,
          rows.map(({ id }) => id),
        );
        return log.append(trx, locked, packLines([foreignWords(rows)], now));
      });
      if (events) service.tellEvents(ref.jobId, events);
    }

    return {
      async renew(report) {
        const { draining } = taker.id === null ? { draining: false } : await agents.renew(taker.id, report);
        const cancelled = (await listCancelled(db, agent)).map((id) => JobId.parse(id));
        return { draining, cancelled, discard: [], wanted: [], now: new Date().toISOString() };
      },

      async claim(free) {
        if (taker.id !== null && agents.isDrained(taker.id)) return [];
        const rows = await claim(taker, free);
        for (const row of rows) await service.tell({ row, events: [] });
        return Promise.all(rows.map(toClaimed));
      },

      assigned: async () => Promise.all((await listAssigned(db, agent)).map(toClaimed)),

      started: (ref, startedAt, lines) => move(ref, 'running', { patch: { started_at: startedAt }, lines }),

      release: (ref, reason) => move(ref, 'pending', { patch: { agent: null }, lines: [reason] }),

      async append(ref, chunks): Promise<AppendResult> {
        const packed = await Promise.all(chunks.map(packChunk));
        await log.ensurePartitions(packed);
        const told = await appendBehindKnown(ref, packed);
        if (told) return told;
        const result = await held(ref, async (trx, row) => {
          const fresh = await trimToEnd(row, atBase(packed, attemptBase(row)));
          if (!fresh) return { at: row, events: null };
          const events = await log.append(trx, row, fresh);
          return { at: (await lockJob(trx, ref.jobId)) ?? row, events };
        });
        if (!result) return { status: 'lease-lost' };
        const offsets = ofAttempt(result.at);
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
          const stored = ofAttempt(row);
          const isAt = (offsets: Offsets) => sameOffsets(stored, offsets);
          if (isAt(to)) return { offsets: to, events: [] }; // the answer to an earlier call was lost
          if (!isAt(from)) return { offsets: stored, events: null };
          const end = plus(to, attemptBase(row));
          return { offsets: to, events: await log.cut(trx, row, end, packLines(lines, new Date())) };
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

      async plan(ref) {
        const row = await findJob(db, ref.jobId);
        return isOurs(row, ref) ? findPlan(db, ref.jobId) : null;
      },

      async progress(ref, progress) {
        const row = await held(ref, async (trx, locked) => {
          await storeProgress(trx, ref.jobId, progress);
          return locked;
        });
        if (!row) return false;
        await service.tell({ row, events: [] });
        return true;
      },

      async artifact(ref, piece) {
        const row = await findJob(db, ref.jobId);
        if (!isOurs(row, ref) || isFinal(toJob(row).status)) return false;
        await artifacts.write(ref.jobId, piece);
        return true;
      },

      async digest(ref, afterSeq = 0) {
        const found = await findJob(db, ref.jobId);
        if (!isOurs(found, ref)) return null;
        await removeForeign(ref, found, afterSeq);
        const row = await findJob(db, ref.jobId);
        if (!isOurs(row, ref)) return null;
        return {
          lastSeq: row.last_seq,
          offsets: ofAttempt(row),
          ...(await digestOf(db, row, afterSeq)),
        };
      },

      async finish(ref, outcome, sizes): Promise<AppendResult> {
        await log.ensurePartitions([{ ts: new Date() }]);
        const result = await db.transaction().execute(async (trx) => {
          const row = await lockJob(trx, ref.jobId);
          if (!isOurs(row, ref)) return 'lease-lost';
          if (isFinal(toJob(row).status)) return row; // the answer to an earlier call was lost
          const offsets = ofAttempt(row);
          if (!sameOffsets(offsets, sizes)) return offsets;
          return conclude(trx, row, outcome);
        });
        ends.delete(ref.jobId);
        if (result === 'lease-lost') return { status: 'lease-lost' };
        if ('stdout' in result) return { status: 'wrong-offset', offsets: result };
        if ('events' in result) await service.tell(result);
        return { status: 'accepted', offsets: sizes };
      },
    };
  }
  return { of: apiFor, forget: (jobId) => ends.delete(jobId) };
}
