import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createAgent, heldForEver, shipLimits, type Agent, type ShipLimits } from '@vmo/agent';
import {
  isFinal,
  type AgentApi,
  type FreePlaces,
  type JobId,
  type Job,
  type JobEvent,
  type JobSubmission,
  type LogStream,
} from '@vmo/contract';
import { isDatabaseUnavailable, type Database } from '@vmo/db';
import {
  createExecutionManager,
  createLocalStreamStrategy,
  createProcessTable,
  probeCgroups,
  type Strategy,
} from '@vmo/execution';
import { largeCapacity, temporaryDirectory, testDatabase } from '@vmo/testkit';
import type { Kysely } from 'kysely';
import type { Actor } from '../kernel/actor.ts';
import { createBus, type Bus } from '../kernel/bus.ts';
import { agentName, assembleJobs } from './assembled.test.support.ts';
import type { Jobs } from './index.ts';

export const owner: Actor = { name: 'owner', sessionId: null, address: '127.0.0.1' };
/** So many places for commands, and nothing else. */
export const freeJobs = (jobs: number): FreePlaces => ({
  ...{ jobs, vms: 0, requests: 0 },
  ...{ cpus: null, memoryMib: null, machines: null },
});
const mib = 1024 * 1024;

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface Cockpit extends AsyncDisposable {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Jobs;
  /** What an agent inside the server talks to. */
  apiOf(name: string): AgentApi;
  /** A directory for the files of the test; jobs run in it. */
  directory: string;
  runsDirectory: string;
  /** Messages of the agent and the bus that must not come. */
  bugs: unknown[];
  /** Stops the agent that is there, if any, and starts another. */
  startAgent(): Promise<Agent>;
  stopAgent(): Promise<void>;
  run(command: string, change?: Partial<JobSubmission>): Promise<Job>;
  /** The job when `is` holds for it; at its end by default. */
  when(jobId: JobId, is?: (job: Job) => boolean): Promise<Job>;
  bytes(jobId: JobId, ...streams: LogStream[]): Promise<Buffer>;
  events(jobId: JobId, afterSeq?: number, limit?: number): Promise<JobEvent[]>;
  /** The cockpit's own words. */
  systemLines(jobId: JobId): Promise<string[]>;
  audits(jobId: JobId, action: string): Promise<number>;
  /** Whether the stored log was found equal to what was written, also where a part of it is not kept. */
  isVerified(jobId: JobId): Promise<boolean>;
}

/** The jobs domain on a real database with a real agent, as server.ts puts them together. */
export async function startCockpit(
  options: {
    maxConcurrentJobs?: number;
    cancelGraceMs?: number;
    withAgent?: boolean;
    db?: Kysely<Database>;
    limits?: Partial<ShipLimits>;
    /** Beside the one for streams. */
    strategies?: readonly Strategy[];
  } = {},
): Promise<Cockpit> {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await temporaryDirectory());
  const db = options.db ?? stack.use(await testDatabase()).db;
  const bugs: unknown[] = [];
  const bus = createBus((error) => bugs.push(error));
  const { jobs, agent: ofAgent } = await assembleJobs({
    ...{ db, bus, home: home.path },
    capacity: largeCapacity({ jobs: options.maxConcurrentJobs ?? 10, vms: 50, requests: 4 }),
    onMarksError: (error) => {
      if (!isDatabaseUnavailable(error)) bugs.push(error);
    },
  });
  stack.defer(jobs.stop);
  const cgroups = await probeCgroups();
  const execution = createExecutionManager([
    createLocalStreamStrategy({ table: createProcessTable(), cgroups }),
    ...(options.strategies ?? []),
  ]);
  const runsDirectory = join(home.path, 'runs');
  let agent: Agent | null = null;

  async function stopAgent(): Promise<void> {
    await agent?.stop();
    agent = null;
  }

  async function startAgent(): Promise<Agent> {
    await stopAgent();
    agent = createAgent({
      ...ofAgent,
      lease: heldForEver,
      execution,
      runsDirectory,
      defaultDirectory: home.path,
      environment: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      cancelGraceMs: options.cancelGraceMs ?? 5_000,
      limits: { ...shipLimits(64 * mib, 1024 * mib), ...options.limits },
      logger: { ...quiet, error: (details) => bugs.push(details) },
    });
    await agent.start();
    return agent;
  }

  bus.on('job:pending', () => agent?.hints.jobsPending());
  bus.on('job:cancel-requested', ({ jobId }) => {
    agent?.hints.cancelRequested(jobId);
  });
  stack.defer(async () => {
    // Runs outlive their agent: what a failed test left behind is ended with it.
    const { jobs: left } = await jobs.list({ limit: 500 });
    if (agent)
      await Promise.all(
        left
          .filter((job) => job.agent === agentName && !isFinal(job.status))
          .map(async ({ id }) => {
            await jobs.cancel(owner, id);
            await when(id);
          }),
      );
    await stopAgent();
  });
  if (options.withAgent ?? true) await startAgent();

  async function when(jobId: JobId, is = (job: Job) => isFinal(job.status)): Promise<Job> {
    const { promise, resolve, reject } = Promise.withResolvers<Job>();
    const check = (job: Job) => {
      if (job.id === jobId && is(job)) resolve(job);
    };
    const stop = bus.on('job:changed', check);
    jobs.get(jobId).then(check, reject);
    return promise.finally(stop);
  }

  async function events(jobId: JobId, afterSeq = 0, limit = 1000): Promise<JobEvent[]> {
    const all: JobEvent[] = [];
    for (;;) {
      const page = await jobs.readEvents(jobId, all.at(-1)?.seq ?? afterSeq, limit);
      if (page.events.length === 0) return all;
      all.push(...page.events);
    }
  }

  return {
    apiOf: (name) => jobs.agentApi({ id: null, name, isHere: true, images: [], bringsUpTo: 0 }),
    ...{ db, bus, jobs, directory: home.path, runsDirectory, bugs, startAgent, stopAgent, events, when },
    run: async (command, change = {}) => (await jobs.submit(owner, { command, ...change })).job,
    bytes: async (jobId, ...streams) =>
      buffer(await jobs.rawLog(jobId, streams.length > 0 ? streams : ['stdout', 'stderr'])),
    async systemLines(jobId) {
      const own = (await events(jobId)).filter((event) => event.stream === 'system');
      return own.flatMap((event) => event.chunk.trimEnd().split('\n'));
    },
    async audits(jobId, action) {
      const rows = await db
        .selectFrom('audit')
        .select('id')
        .where('subject', '=', jobId)
        .where('action', '=', action)
        .execute();
      return rows.length;
    },
    async isVerified(jobId) {
      const row = await db
        .selectFrom('jobs')
        .select('log_verified')
        .where('id', '=', jobId)
        .executeTakeFirstOrThrow();
      return row.log_verified;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Waits until the job's log holds these words. */
export async function untilLogged({ bus, bytes }: Cockpit, jobId: JobId, words: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const look = () => {
    bytes(jobId).then((log) => {
      if (log.includes(words)) resolve(undefined);
    }, reject);
  };
  const stop = bus.on('job:appended', (fact) => {
    if (fact.jobId === jobId) look();
  });
  look();
  await promise.finally(stop);
}
