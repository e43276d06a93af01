import type { Readable } from 'node:stream';
import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import {
  type AgentApi,
  type EventPage,
  type Job,
  type JobFilter,
  type JobId,
  type JobPage,
  type JobSubmission,
  type LogStream,
  type TerminalScreen,
} from '@vmo/contract';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { createAgentApi } from './agent-api.ts';
import { createLog } from './log.ts';
import { resolvePlace, type PlaceDeps } from './place.ts';
import { keepPartitions } from './retention.ts';
import { createJobService } from './service.ts';
import { createTerminalService, type Terminals } from './terminal.ts';

export type { Terminals } from './terminal.ts';

/** The door of the jobs domain. */
export interface Jobs {
  /** `created` is false when the idempotency key named an earlier job, which is returned. */
  submit(actor: Actor, submission: JobSubmission): Promise<{ job: Job; created: boolean }>;
  get(jobId: JobId): Promise<Job>;
  list(filter: JobFilter): Promise<JobPage>;
  cancel(actor: Actor, jobId: JobId): Promise<Job>;
  rerun(actor: Actor, jobId: JobId): Promise<Job>;
  /** Stored events after `afterSeq`, at most `limit` and about 1 MiB of output (always one when there is one). */
  readEvents(jobId: JobId, afterSeq: number, limit: number): Promise<EventPage>;
  /** The exact bytes of the given streams in order of seq. */
  rawLog(jobId: JobId, streams: readonly LogStream[]): Promise<Readable>;
  terminal: {
    /** The screen now, and the byte of the log where it goes on; null when the terminal is not live. */
    screen(jobId: JobId): Promise<{ screen: TerminalScreen; offset: number } | null>;
    /**
     * The first stored events from byte `offset` of stdout on: the first of them is cut to begin exactly there. Go on
     * with `readEvents` after the last one; where nothing is stored yet, after `afterSeq`.
     */
    eventsAfter(jobId: JobId, offset: number): Promise<EventPage & { afterSeq: number }>;
    input(jobId: JobId, data: string): Promise<void>;
    resize(jobId: JobId, cols: number, rows: number): Promise<void>;
    openExternally(actor: Actor, jobId: JobId): Promise<Job>;
  };
  /** What the agent talks to. */
  agentApi: AgentApi;
  /** Partitions made ahead and old ones dropped; to be called at start and every hour. */
  keepPartitions(): Promise<string[]>;
}

export interface JobsDeps extends PlaceDeps {
  db: Kysely<Database>;
  bus: Bus;
  maxConcurrentJobs: number;
  eventRetentionDays: number;
  terminals: Terminals;
}

export function createJobs(deps: JobsDeps): Jobs {
  const { db } = deps;
  const log = createLog(db);
  const service = createJobService({
    ...deps,
    log,
    resolvePlace: (submission) => resolvePlace(deps, submission),
  });
  return {
    submit: service.submit,
    get: service.get,
    list: service.list,
    cancel: service.cancel,
    rerun: service.rerun,
    readEvents: async (jobId, afterSeq, limit) => log.read(await service.find(jobId), afterSeq, limit),
    rawLog: async (jobId, streams) => log.raw(await service.find(jobId), streams),
    terminal: createTerminalService({ db, service, terminals: deps.terminals }),
    agentApi: createAgentApi({ db, log, service, hosts: deps.hosts }),
    keepPartitions: () => keepPartitions(db, deps.eventRetentionDays),
  };
}
