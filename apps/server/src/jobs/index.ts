import type { Readable } from 'node:stream';
import type { Kysely, Transaction } from 'kysely';
import type { Database } from '@vmo/db';
import {
  type AgentApi,
  isFinal,
  type EventPage,
  type FindQuery,
  type FindRow,
  type Job,
  type JobEvent,
  type JobFilter,
  type JobId,
  type JobPage,
  type JobSubmission,
  type LinePage,
  type LogMarks,
  type LogStream,
  type LogUsage,
  type TerminalScreen,
} from '@vmo/contract';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import type { Agents } from '../agents/index.ts';
import { createAgentApi } from './agent-api.ts';
import { createArtifacts } from './artifacts.ts';
import { readLines, type LinesRequest } from './lines.ts';
import { createLog, type LogRange } from './log.ts';
import { findSeqBeforeNewest, listPartitions } from './log-repository.ts';
import { createSweep } from './lapsed.ts';
import { createMemory } from './memory.ts';
import { resolvePlace, type PlaceDeps } from './place.ts';
import { filterKnown, listThrowAway } from './repository.ts';
import { keepPartitions, type Expired } from './retention.ts';
import type { Taker } from './queue.ts';
import { findInLog } from './scan/find.ts';
import { createMarks } from './scan/marks.ts';
import { ScanThreads } from './scan/scan.ts';
import { createSecrets } from './secrets.ts';
import { createJobService } from './service.ts';
import type { MachineRun } from './submissions.ts';
import { createTerminalService, type Terminals } from './terminal.ts';

export type { Taker } from './queue.ts';
export type { MachineRun } from './submissions.ts';
export type { Terminals } from './terminal.ts';

/** The door of the jobs domain. */
export interface Jobs {
  /** `created` is false when the idempotency key named an earlier job, which is returned. */
  submit(actor: Actor, submission: JobSubmission): Promise<{ job: Job; created: boolean }>;
  get(jobId: JobId): Promise<Job>;
  list(filter: JobFilter): Promise<JobPage>;
  /** Those of these jobs that exist, in their order. */
  byIds(jobIds: readonly string[]): Promise<Job[]>;
  cancel(actor: Actor, jobId: JobId): Promise<Job>;
  rerun(actor: Actor, jobId: JobId): Promise<Job>;
  /**
   * Runs of machines, all or none; each portion is sent to the database at once. `also`, which gets those of a portion
   * that are new, as they came, is written in the same transaction.
   */
  submitMachines<Run extends MachineRun>(
    actor: Actor,
    portions: Iterable<readonly Run[]>,
    also: (trx: Transaction<Database>, created: readonly Run[]) => Promise<void>,
  ): Promise<{ job: Job; created: boolean }[]>;
  /** What is promised of the memory of the server's own host, to machines and to requests, in MiB; and all there is. */
  memoryHere(): Promise<{ machines: number; requests: number; limit: number }>;
  /** The machine of a job that runs has so much memory from now on. */
  setMemory(jobId: JobId, memoryMib: number): Promise<void>;
  /** Holds back a job that waits, or lets it go on. */
  setHold(actor: Actor, jobId: JobId, isHeld: boolean): Promise<Job>;
  /** Deletes a job that has ended, with its log and artifacts. */
  remove(actor: Actor, jobId: JobId): Promise<void>;
  /** The bytes of a file that was fetched out of the machine of a job. @throws CodedError ARTIFACT_NOT_FOUND */
  readArtifact(jobId: JobId, index: number, sizeBytes: number): Promise<Readable>;
  /** Throw-away machines that may have a process: they are called as their jobs. */
  throwAwayMachines(): Promise<string[]>;
  /** Adds lines of the cockpit's own to the log of a job, unless it has ended. */
  note(jobId: JobId, lines: readonly string[]): Promise<void>;
  /** Stored events after `afterSeq`, at most `limit` and about 1 MiB of output (always one when there is one). */
  readEvents(jobId: JobId, afterSeq: number, limit: number, maxBytes?: number): Promise<EventPage>;
  /** The event after which about `bytes` of the newest output come. */
  seqBeforeNewest(jobId: JobId, bytes: number): Promise<number>;
  /** Stored events of some streams; fewer than `limit` where they are large. */
  logEntries(jobId: JobId, range: LogRange): Promise<JobEvent[]>;
  /** The exact bytes of the given streams in order of seq. */
  rawLog(jobId: JobId, streams: readonly LogStream[]): Promise<Readable>;
  terminal: {
    /** The screen now, and the byte of the log where it goes on; null when the terminal is not live. */
    screen(jobId: JobId): Promise<{ screen: TerminalScreen; offset: number } | null>;
    /** How much of stdout was ever stored, as its screen counts. */
    storedBytes(jobId: JobId): Promise<number>;
    /**
     * The first stored events from byte `offset` of stdout on: the first of them is cut to begin exactly there. Go on
     * with `readEvents` after the last one; where nothing is stored yet, after `afterSeq`.
     */
    eventsAfter(jobId: JobId, offset: number): Promise<EventPage & { afterSeq: number }>;
    input(jobId: JobId, data: string): Promise<void>;
    resize(jobId: JobId, cols: number, rows: number): Promise<void>;
    openExternally(actor: Actor, jobId: JobId): Promise<Job>;
  };
  lines(jobId: JobId, request: LinesRequest): Promise<LinePage>;
  /**
   * Searches the whole stored log, row by row as it finds.
   * @throws CodedError INVALID_INPUT for a pattern that is none
   */
  find(jobId: JobId, query: FindQuery): Promise<AsyncGenerator<FindRow>>;
  /** Groups that fold, errors and warnings. */
  marks(jobId: JobId): Promise<LogMarks>;
  /** What one agent talks to. */
  agentApi(taker: Taker): AgentApi;
  /** Jobs of agents that have not been heard of for too long are lost, or begin again; to be called every few seconds. */
  sweepLapsed(): Promise<void>;
  /** Partitions made ahead, and old ones dropped; to be called at start and every hour. */
  keepPartitions(): Promise<Expired>;
  /** As it does by itself every hour, asked for by a person. */
  expireLogs(actor: Actor): Promise<Expired>;
  logUsage(): Promise<LogUsage>;
  /** Looks through the logs that ended while nobody did. */
  start(): Promise<void>;
  stop(): void;
}

export interface JobsDeps extends Omit<PlaceDeps, 'fleet'> {
  db: Kysely<Database>;
  bus: Bus;
  agents: Pick<Agents, 'fleet' | 'lapsed' | 'holdLapsed' | 'lease' | 'renew' | 'isDrained'>;
  eventRetentionDays: number;
  terminals: Terminals;
  /** Where what was fetched out of machines is kept. */
  artifactsDirectory: string;
  /** 32 bytes: seals the secret variables of jobs. */
  secretsKey: Buffer;
  /** A log could not be looked through; nothing else depends on it. */
  onMarksError: (error: unknown, jobId: string) => void;
}

export function createJobs(deps: JobsDeps): Jobs {
  const { db, bus } = deps;
  const log = createLog(db);
  const secrets = createSecrets(deps.secretsKey);
  const { fleet } = deps.agents;
  const artifacts = createArtifacts(deps.artifactsDirectory);
  const service = createJobService({
    ...{ db, bus, log, secrets, fleet },
    resolvePlace: (submission) => resolvePlace({ ...deps, fleet }, submission),
  });
  const threads = new ScanThreads();
  const marks = createMarks({
    db,
    threads,
    changed: (row) =>
      void service.tell({ row, events: [] }).catch((error: unknown) => {
        deps.onMarksError(error, row.id);
      }),
    onError: deps.onMarksError,
  });
  const agentApi = createAgentApi({
    ...{ db, log, service, secrets, artifacts },
    hosts: deps.hosts,
    agents: deps.agents,
  });
  const stopListening = [
    bus.on('job:appended', ({ jobId }) => {
      marks.appended(jobId);
    }),
    bus.on('job:changed', (job) => {
      if (isFinal(job.status)) marks.finished(job);
      // Also where its agent does not end it: it lapsed, or gave the job back.
      if (isFinal(job.status) || job.agent === null) agentApi.forget(job.id);
    }),
  ];
  return {
    submit: service.submit,
    get: service.get,
    list: service.list,
    byIds: service.byIds,
    cancel: service.cancel,
    rerun: service.rerun,
    submitMachines: service.submitMachines,
    ...createMemory({ db, bus, fleet }),
    setHold: service.setHold,
    async remove(actor, jobId) {
      await service.remove(actor, jobId);
      await artifacts.remove(jobId);
    },
    readArtifact: artifacts.read,
    throwAwayMachines: () => listThrowAway(db),
    note: service.note,
    readEvents: async (jobId, afterSeq, limit, maxBytes) =>
      log.read(await service.find(jobId), afterSeq, limit, maxBytes),
    seqBeforeNewest: async (jobId, bytes) => findSeqBeforeNewest(db, await service.find(jobId), bytes),
    logEntries: async (jobId, range) => log.entries(await service.find(jobId), range),
    rawLog: async (jobId, streams) => log.raw(await service.find(jobId), streams),
    lines: async (jobId, request) => readLines(db, await service.find(jobId), request),
    find: async (jobId, query) => findInLog(db, threads, await service.find(jobId), query),
    marks: async (jobId) => marks.get(await service.find(jobId)),
    terminal: createTerminalService({ db, service, terminals: deps.terminals }),
    agentApi: agentApi.of,
    sweepLapsed: createSweep({ db, log, service, agents: deps.agents }),
    async keepPartitions() {
      await artifacts.clean(deps.eventRetentionDays, (ids) => filterKnown(db, ids));
      return keepPartitions(db, deps.eventRetentionDays);
    },
    async expireLogs(actor) {
      const expired = await keepPartitions(db, deps.eventRetentionDays);
      await db
        .transaction()
        .execute((trx) => audit.record(trx, actor, 'logs.expire', 'logs', { days: expired.days }));
      return expired;
    },
    async logUsage() {
      const partitions = await listPartitions(db);
      return {
        bytes: partitions.reduce((sum, { bytes }) => sum + bytes, 0),
        days: partitions,
        retentionDays: deps.eventRetentionDays,
      };
    },
    start: marks.start,
    stop() {
      for (const stop of stopListening) stop();
      marks.stop();
      threads.stop();
    },
  };
}
