import {
  CodedError,
  type AgentApi,
  type AgentCapacity,
  type AgentHints,
  type ClaimedJob,
  type FreePlaces,
  type JobId,
  type PlaceKind,
} from '@vmo/contract';
import type { ExecutionManager } from '@vmo/execution';
import { Attempt } from './attempt.ts';
import type { Lease } from './lease.ts';
import type { KeptSender } from './kept-sender.ts';
import type { MachineFiles } from './machine-files.ts';
import { createPersistence, type Persistence } from './persistence.ts';
import { cleanRunDirectories } from './run-directories.ts';
import type { ShipLimits } from './ship-limits.ts';

const cleanMs = 3_600_000;
const stopPatienceMs = 2_000;
/** Of renewals that fail one after another, so many are told once. */
const repeatWords = 60;

export interface AgentLogger {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface AgentOptions {
  name: string;
  /** What it has to offer now. */
  capacity: () => Promise<AgentCapacity>;
  api: AgentApi;
  lease: Lease;
  /** null: the machines' files are the server's own. */
  machineFiles?: MachineFiles | null;
  /** Likewise: those that were kept are sent to the server when it wants them. */
  kept?: Pick<KeptSender, 'send'> | null;
  /** A hint that was lost costs at most `pollMs`. Leases: see `LeaseTimes`. */
  times: { pollMs: number; renewMs: number };
  execution: ExecutionManager;
  /** Holds a run directory per job. */
  runsDirectory: string;
  /** Where commands run that name no directory; null: at the root. */
  defaultDirectory: string | null;
  /** What jobs inherit. */
  environment: Readonly<Record<string, string>>;
  /** Between SIGTERM and SIGKILL. */
  cancelGraceMs: number;
  limits: ShipLimits;
  logger: AgentLogger;
  /** The server does not want this agent any more; it has stopped taking jobs. */
  onRefused?: (error: CodedError) => void;
}

export interface Agent {
  hints: AgentHints;
  /** Takes up the jobs it had, then takes new ones. Resolves when the old ones have been found. */
  start(): Promise<void>;
  /** Says now what it has to offer, and takes what that allows. */
  announce(): Promise<void>;
  /** Takes no more jobs, and says so; those it has go on. */
  drain(): Promise<void>;
  /** Resolves when it has no job any more. */
  idle(): Promise<void>;
  /** Takes no more jobs, ships what is under way, and lets go: the runs go on. */
  stop(): Promise<void>;
  /** Jobs whose output waits in the spool because the server does not take it. */
  unstoredJobs(): number;
}

/** What the server says to an agent that it will never talk to again. */
const refusals: ReadonlySet<string> = new Set([
  'AGENT_REVOKED',
  'AGENT_NOT_FOUND',
  'AGENT_ELSEWHERE',
  'AGENT_INCOMPATIBLE',
  'UNAUTHENTICATED',
]);

export const isFinalRefusal = ({ code }: CodedError): boolean => refusals.has(code);

export function createAgent(options: AgentOptions): Agent {
  const { api, logger, times } = options;
  const attempts = new Map<JobId, Attempt>();
  const persistence: Persistence = createPersistence(logger);
  /** It has taken up what it had, and was not told to stop. */
  let running = false;
  let stopped = false;
  let leaving = false;
  /** A person wants it to take no more. */
  let draining = false;
  let claiming: Promise<void> | null = null;
  let claimAgain = false;
  /** The answer to a claim was lost: what it gave us is found among our jobs. */
  let mayHaveMore = false;
  let renewing: Promise<void> | null = null;
  let renewAgain: NodeJS.Timeout | undefined;
  /** Renewals that failed since the last that did not. */
  let failures = 0;
  const timers: NodeJS.Timeout[] = [];
  const idlers = new Set<() => void>();

  function launch(job: ClaimedJob): void {
    const known = attempts.get(job.id);
    if (known) {
      // An attempt of before, which is about to learn that it is over, must be gone first.
      if (known.fence !== job.fence)
        void known.done.then(() => {
          launch(job);
        });
      return;
    }
    const attempt = new Attempt(job, options, persistence);
    attempts.set(job.id, attempt);
    void attempt.done.then(() => {
      attempts.delete(job.id);
      if (attempts.size === 0) for (const tell of idlers) tell();
      claim();
    });
  }

  /** @returns whether the server will never talk to us again */
  function isRefused(error: unknown): boolean {
    if (!(error instanceof CodedError) || !isFinalRefusal(error)) return false;
    if (!stopped) {
      halt();
      options.onRefused?.(error);
    }
    return true;
  }

  function halt(): void {
    stopped = true;
    running = false;
    clearTimeout(renewAgain);
    for (const timer of timers.splice(0)) clearInterval(timer);
  }

  // A function, because it changes while something is awaited, which the compiler's narrowing does not see.
  const isStopped = () => stopped;

  /** Fills the free slots; a call that comes while one is under way is made up for by one more. */
  function claim(): void {
    if (!running || leaving || draining || !options.lease.isHeld()) return;
    if (claiming) {
      claimAgain = true;
      return;
    }
    claiming = claimOnce()
      .catch((error: unknown) => {
        mayHaveMore = true;
        if (!isRefused(error)) logger.warn({ err: error }, 'jobs could not be claimed; trying again soon');
      })
      .finally(() => {
        claiming = null;
        if (!claimAgain) return;
        claimAgain = false;
        claim();
      });
  }

  async function claimOnce(): Promise<void> {
    if (mayHaveMore) {
      for (const job of await api.assigned()) launch(job);
      mayHaveMore = false;
    }
    const free = await freePlaces();
    if (free.jobs <= 0 && free.vms <= 0 && free.requests <= 0) return;
    for (const job of await api.claim(free)) launch(job);
  }

  async function freePlaces(): Promise<FreePlaces> {
    const { slots, cpus, memoryMib } = await options.capacity();
    const all = [...attempts.values()];
    const taken = (kind: PlaceKind) => all.filter(({ place }) => place === kind).length;
    const left = (kind: PlaceKind) => Math.max(slots[kind] - taken(kind), 0);
    const machines = Math.max(slots.vms - taken('vms') - taken('requests'), 0);
    const usedMemoryMib = all.reduce((sum, { needs }) => sum + needs.memoryMib, 0);
    return {
      ...{ jobs: left('jobs'), vms: left('vms'), requests: left('requests') },
      machines: slots.vms > 0 ? machines : null,
      cpus,
      memoryMib: Math.max(memoryMib - usedMemoryMib, 0),
    };
  }

  /** A failure is made up for soon: the time that is left may be short. */
  function renew(): Promise<void> {
    renewing ??= renewOnce()
      .catch((error: unknown) => {
        if (isRefused(error) || stopped) return;
        // Tried twice a second or so: what is wrong is said once, and again now and then.
        if (failures % repeatWords === 0)
          logger.warn({ err: error, failures }, 'the lease was not renewed; trying again until it is');
        failures += 1;
        clearTimeout(renewAgain);
        renewAgain = setTimeout(() => void renew(), times.renewMs / 20);
      })
      .finally(() => {
        renewing = null;
      });
    return renewing;
  }

  async function renewOnce(): Promise<void> {
    const left = (await options.machineFiles?.left()) ?? [];
    const answer = await api.renew({ capacity: await options.capacity(), leaving, left });
    for (const jobId of answer.cancelled) attempts.get(jobId)?.cancel();
    failures = 0;
    draining = answer.draining;
    claim();
    options.kept?.send(answer.wanted);
    options.machineFiles?.discard(answer.discard).catch((error: unknown) => {
      logger.warn({ err: error }, 'files of a machine could not be removed; trying again soon');
    });
  }

  /** Anew, with what is true now: one that is under way may carry what was true before. */
  async function announce(): Promise<void> {
    await renewing;
    if (!stopped) await renew();
  }

  function clean(): void {
    if (mayHaveMore) return;
    cleanRunDirectories(options.runsDirectory, (jobId) => attempts.has(jobId)).catch((error: unknown) => {
      logger.warn({ err: error }, 'old run directories could not be removed');
    });
  }

  return {
    hints: {
      jobsPending: claim,
      cancelRequested(jobId) {
        attempts.get(jobId)?.cancel();
      },
      memoryChanged(jobId, memoryMib) {
        attempts.get(jobId)?.setMemory(memoryMib);
        claim();
      },
    },

    async start() {
      await renew();
      try {
        for (const job of await api.assigned()) launch(job);
      } catch (error) {
        if (isRefused(error)) return;
        logger.warn({ err: error }, 'jobs of before could not be asked for; trying again soon');
        mayHaveMore = true;
      }
      if (isStopped()) return;
      running = true;
      if (attempts.size > 0) logger.info({ jobs: attempts.size }, 'jobs of before are taken up again');
      claim();
      timers.push(setInterval(claim, times.pollMs));
      timers.push(setInterval(() => void renew(), times.renewMs));
      clean();
      timers.push(setInterval(clean, cleanMs));
    },

    announce,

    drain() {
      leaving = true;
      return announce();
    },

    async idle() {
      if (attempts.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const tell = () => {
        resolve(undefined);
      };
      idlers.add(tell);
      await promise;
      idlers.delete(tell);
    },

    async stop() {
      halt();
      // A database that hangs must not keep us: a job that was claimed unheard is found again at the next start.
      await Promise.race([claiming, new Promise((resolve) => setTimeout(resolve, stopPatienceMs).unref())]);
      await Promise.all([...attempts.values()].map((attempt) => attempt.letGo()));
      persistence.stop();
    },

    unstoredJobs: () => persistence.waiting(),
  };
}
