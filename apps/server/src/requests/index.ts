import type { Readable } from 'node:stream';
import {
  CodedError,
  isFinal,
  LogStream,
  type BatchAnswer,
  type JobStatus,
  type NewBatch,
  type NewRequest,
  type RequestAnswer,
  type RequestFilter,
  type RequestId,
  type RequestLogPage,
  type RequestLogsQuery,
  type RequestPage,
  type RequestStatistics,
  type SimulationRequest,
  type Vm,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import { runner } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { every } from '../kernel/every.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Vms } from '../vms/index.ts';
import { noSuchRequest } from './errors.ts';
import { createBringing } from './bringing.ts';
import { createOpening } from './opening.ts';
import * as repository from './repository.ts';
import { createRequestService, type RequestLimits } from './service.ts';
import { toArtifact, toShown } from './show.ts';
import { readStatistics } from './statistics-repository.ts';
import { waitFor } from './wait.ts';

const tidyMs = 300_000;

/** The door of simulation requests. Everything may throw a CodedError as the contract names them. */
export interface Requests {
  /** `created` is false when the idempotency key named an earlier request, which is returned. */
  submit(actor: Actor, request: z.output<typeof NewRequest>): Promise<RequestAnswer & { created: boolean }>;
  submitBatch(actor: Actor, batch: z.output<typeof NewBatch>): Promise<BatchAnswer>;
  list(filter: RequestFilter): Promise<RequestPage>;
  /** Of those submitted in the last so many days (UTC), today included. */
  statistics(days: number): Promise<RequestStatistics>;
  /** When it has ended, after `waitSeconds`, or when nobody waits any more. */
  get(id: RequestId, waitSeconds: number, signal?: AbortSignal): Promise<SimulationRequest>;
  logs(id: RequestId, query: RequestLogsQuery, signal?: AbortSignal): Promise<RequestLogPage>;
  changeStatus(actor: Actor, id: RequestId, status: JobStatus): Promise<RequestAnswer>;
  remove(actor: Actor, id: RequestId): Promise<RequestAnswer & { deleted: boolean }>;
  rerun(actor: Actor, id: RequestId): Promise<RequestAnswer>;
  /** The disks that were kept of it come from the machine of its agent. */
  bring(actor: Actor, id: RequestId): Promise<SimulationRequest>;
  /** What agents say of kept disks that are wanted, and their bytes. */
  kept: Pick<ReturnType<typeof createBringing>, 'wantedOf' | 'begin' | 'take'>;
  /** A machine of the disks that were kept of it, with `start` on its way up. */
  open(actor: Actor, id: RequestId, start: boolean): Promise<{ vm: Vm; message: string }>;
  /** The script that runs the commands in a guest. */
  readonly runner: string;
  artifact(id: RequestId, index: number): Promise<{ name: string; sizeBytes: number; bytes: Readable }>;
  /** Of the machines that an agent has left-overs of, those of which nobody wants anything any more. */
  unwanted(agent: string, left: readonly RequestId[]): Promise<RequestId[]>;
  start(): Promise<void>;
  stop(): void;
}

export interface RequestsDeps {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Jobs;
  vms: Pick<Vms, 'throwAway' | 'openKept' | 'received'>;
  limits: RequestLimits;
  logger: Logger;
}

export function createRequests({ db, bus, jobs, vms, limits, logger }: RequestsDeps): Requests {
  const service = createRequestService({ db, jobs, throwAway: vms.throwAway, limits });
  const bringing = createBringing({ db, bus, jobs, vms, logger, maxKeptBytes: limits.maxKeptBytes });
  const chores: (() => void)[] = [];

  async function find(id: RequestId): Promise<SimulationRequest> {
    const [row, job] = await Promise.all([repository.findRequest(db, id), jobs.byIds([id])]);
    if (!row || !job[0]) throw noSuchRequest(id);
    return toShown(row, job[0]);
  }

  const within = (seconds: number, signal: AbortSignal | undefined): AbortSignal =>
    AbortSignal.any([AbortSignal.timeout(seconds * 1000), ...(signal ? [signal] : [])]);

  /** Says of failed ones until when their disks are kept, and removes those whose time is over. */
  async function tidy(): Promise<void> {
    await repository.stampKept(db, limits.keepFailedHours);
    for (const id of await repository.listOverdue(db)) {
      await vms.throwAway.discard(id);
      await repository.markDiscarded(db, id);
    }
  }

  return {
    submit: service.submit,
    submitBatch: service.submitBatch,
    changeStatus: service.changeStatus,
    remove: service.remove,
    rerun: service.rerun,
    async bring(actor, id) {
      await bringing.ask(actor, id);
      return find(id);
    },
    kept: bringing,
    open: createOpening({ db, jobs, vms }),
    runner,

    async list(filter) {
      const [rows, total] = await Promise.all([
        repository.listRequests(db, filter),
        repository.countRequests(db, filter),
      ]);
      const found = new Map((await jobs.byIds(rows.map(({ id }) => id))).map((job) => [job.id, job]));
      const requests = rows.flatMap((row) => {
        const job = found.get(row.id);
        return job ? [toShown(row, job)] : [];
      });
      return { requests, total, limit: filter.limit, offset: filter.offset };
    },

    statistics: (days) => readStatistics(db, days),

    async get(id, waitSeconds, signal) {
      const first = await find(id);
      if (waitSeconds === 0 || isFinal(first.status)) return first;
      const ended = await waitFor(
        bus,
        ['job:changed'],
        (job) => job.id === id && isFinal(job.status),
        async () => {
          const now = await find(id);
          return isFinal(now.status) ? now : null;
        },
        within(waitSeconds, signal),
      );
      return ended ?? find(id);
    },

    async logs(id, query, signal) {
      if ((await repository.findBatchOf(db, id)) === undefined) throw noSuchRequest(id);
      const { limit, offset, after: afterSeq } = query;
      const streams = query.log_type ? [query.log_type] : LogStream.options;
      const since = query.since === undefined ? undefined : new Date(query.since);
      const read = async (): Promise<RequestLogPage> => {
        // In this order: what is written between the two belongs to one that has not ended.
        const { status, lastSeq } = await jobs.get(id);
        const events = await jobs.logEntries(id, { afterSeq, limit, offset, since, streams });
        const next = events.at(-1)?.seq;
        const isAll = offset === 0 && (next === undefined || next >= lastSeq || events.length === 0);
        return {
          uuid: id,
          status,
          logs: events.map(({ seq, ts, stream, chunk }) => {
            return { id: seq, timestamp: ts, log_type: stream, output: chunk };
          }),
          next_after: next ?? Math.max(afterSeq, isFinal(status) && offset === 0 ? lastSeq : afterSeq),
          complete: isFinal(status) && isAll,
        };
      };
      const first = await read();
      if (query.wait === 0 || first.logs.length > 0 || isFinal(first.status)) return first;
      const stop = within(query.wait, signal);
      const isIt = (fact: { id: string } | { jobId: string }) => ('id' in fact ? fact.id : fact.jobId) === id;
      const more = await waitFor(
        bus,
        ['job:appended', 'job:changed'],
        isIt,
        async () => {
          const page = await read();
          return page.logs.length > 0 || isFinal(page.status) ? page : null;
        },
        stop,
      );
      return more ?? first;
    },

    async artifact(id, index) {
      const row = await repository.findRequest(db, id);
      if (!row) throw noSuchRequest(id);
      const { path, file_name: name, size_bytes: sizeBytes, reason } = toArtifact(row, index);
      if (path === '') throw new CodedError('ARTIFACT_NOT_FOUND', `the request has no artifact ${index}`);
      if (sizeBytes === null) {
        throw new CodedError(
          'ARTIFACT_NOT_FOUND',
          `there is no artifact ${path}: ${reason ?? 'it was not fetched'}`,
        );
      }
      return { name, sizeBytes, bytes: await jobs.readArtifact(id, index, sizeBytes) };
    },

    async unwanted(agent, left) {
      if (left.length === 0) return [];
      const wanted = await repository.listWanted(db, agent, left);
      return left.filter((id) => !wanted.has(id));
    },

    async start() {
      await tidy();
      chores.push(
        every(tidyMs, 'disks of failed requests', tidy, logger),
        bus.on('job:changed', (job) => {
          if (job.type !== 'vm' || job.vmId !== null || job.status === 'done' || !isFinal(job.status)) return;
          repository.stampKept(db, limits.keepFailedHours).catch((error: unknown) => {
            logger.warn(
              { err: error, jobId: job.id },
              'until when a disk is kept was not stored; again soon',
            );
          });
        }),
      );
    },

    stop() {
      for (const end of chores.splice(0)) end();
    },
  };
}
