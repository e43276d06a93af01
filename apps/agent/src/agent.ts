import type { AgentApi, AgentHints, ClaimedJob, JobId, Slots } from '@vmo/contract';
import type { ExecutionManager } from '@vmo/execution';
import { Attempt } from './attempt.ts';
import { createPersistence, type Persistence } from './persistence.ts';
import { cleanRunDirectories } from './run-directories.ts';
import type { ShipLimits } from './shipper.ts';

/** A hint that was lost costs at most this long. */
const pollMs = 5_000;
const cleanMs = 3_600_000;
const stopPatienceMs = 2_000;

export interface AgentLogger {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface AgentOptions {
  name: string;
  /** What runs here at once. */
  slots: Slots;
  api: AgentApi;
  execution: ExecutionManager;
  /** Holds a run directory per job. */
  runsDirectory: string;
  /** What jobs inherit. */
  environment: Readonly<Record<string, string>>;
  /** Between SIGTERM and SIGKILL. */
  cancelGraceMs: number;
  limits: ShipLimits;
  logger: AgentLogger;
}

export interface Agent {
  hints: AgentHints;
  /** Takes up the jobs it had, then takes new ones. Resolves when the old ones have been found. */
  start(): Promise<void>;
  /** Takes no more jobs, ships what is under way, and lets go: the runs go on. */
  stop(): Promise<void>;
  /** Jobs whose output waits in the spool because the server does not take it. */
  unstoredJobs(): number;
}

export function createAgent(options: AgentOptions): Agent {
  const { api, name, slots, logger } = options;
  const attempts = new Map<JobId, Attempt>();
  const persistence: Persistence = createPersistence(logger);
  let running = false;
  let claiming: Promise<void> | null = null;
  let claimAgain = false;
  const timers: NodeJS.Timeout[] = [];

  function launch(job: ClaimedJob): void {
    const attempt = new Attempt(job, options, persistence);
    attempts.set(job.id, attempt);
    void attempt.done.then(() => {
      attempts.delete(job.id);
      claim();
    });
  }

  /** Fills the free slots; a call that comes while one is under way is made up for by one more. */
  function claim(): void {
    if (!running) return;
    if (claiming) {
      claimAgain = true;
      return;
    }
    claiming = claimOnce()
      .catch((error: unknown) => {
        logger.warn({ err: error }, 'jobs could not be claimed; trying again soon');
      })
      .finally(() => {
        claiming = null;
        if (!claimAgain) return;
        claimAgain = false;
        claim();
      });
  }

  async function claimOnce(): Promise<void> {
    const vms = [...attempts.values()].filter(({ type }) => type === 'vm').length;
    const free = { jobs: slots.jobs - (attempts.size - vms), vms: slots.vms - vms };
    if (free.jobs <= 0 && free.vms <= 0) return;
    for (const job of await api.claim(name, free)) launch(job);
  }

  return {
    hints: {
      jobsPending: claim,
      cancelRequested(jobId) {
        attempts.get(jobId)?.cancel();
      },
    },

    async start() {
      running = true;
      for (const job of await api.assigned(name)) launch(job);
      if (attempts.size > 0) logger.info({ jobs: attempts.size }, 'jobs of before are taken up again');
      claim();
      timers.push(setInterval(claim, pollMs));
      timers.push(
        setInterval(() => {
          cleanRunDirectories(options.runsDirectory, (jobId) => attempts.has(jobId)).catch(
            (error: unknown) => {
              logger.warn({ err: error }, 'old run directories could not be removed');
            },
          );
        }, cleanMs),
      );
    },

    async stop() {
      running = false;
      for (const timer of timers.splice(0)) clearInterval(timer);
      // A database that hangs must not keep us: a job that was claimed unheard is found again at the next start.
      await Promise.race([claiming, new Promise((resolve) => setTimeout(resolve, stopPatienceMs).unref())]);
      await Promise.all([...attempts.values()].map((attempt) => attempt.letGo()));
      persistence.stop();
    },

    unstoredJobs: () => persistence.waiting(),
  };
}
