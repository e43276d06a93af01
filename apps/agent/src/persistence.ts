import type { AgentLogger } from './agent.ts';

const firstWaitMs = 100;
const maxWaitMs = 1_000;

/** Repeats a call to the server until it is taken: what it carries is safe in the spool meanwhile. */
export interface Persistence {
  /** @throws StoppedError after `stop()` */
  insist<T>(jobId: string, what: string, call: () => Promise<T>): Promise<T>;
  /** Jobs that have a call waiting for its repetition. */
  waiting(): number;
  stop(): void;
}

export class StoppedError extends Error {
  constructor() {
    super('the agent is stopping');
    this.name = 'StoppedError';
  }
}

export function createPersistence(logger: AgentLogger): Persistence {
  const waiting = new Map<string, number>();
  const wakeUps = new Set<() => void>();
  let stopped = false;

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        wakeUps.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      wakeUps.add(wake);
    });
  }

  return {
    async insist(jobId, what, call) {
      for (let attempt = 1, wait = firstWaitMs; ; attempt++, wait = Math.min(wait * 2, maxWaitMs)) {
        if (stopped) throw new StoppedError();
        try {
          const result = await call();
          waiting.delete(jobId);
          return result;
        } catch (error) {
          waiting.set(jobId, attempt);
          // The first failures tell what is wrong; an outage of hours must not fill the disk with the same line.
          if (attempt <= 3 || attempt % 60 === 0)
            logger.warn({ err: error, jobId, attempt }, `${what} was not taken; trying again`);
          await pause(wait);
        }
      }
    },
    waiting: () => waiting.size,
    stop() {
      stopped = true;
      for (const wake of [...wakeUps]) wake();
    },
  };
}
