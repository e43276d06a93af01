import type { AgentNews, JobId } from '@vmo/contract';
import type { Bus } from '../kernel/bus.ts';

/** An answer that comes later than this could be cut off by a proxy. */
const waitMs = 20_000;
/** Who has not asked for so long has gone. */
const forgetMs = 120_000;

interface Box {
  jobsPending: boolean;
  cancelRequested: Set<JobId>;
  renew: boolean;
  askedAt: number;
  wake: () => void;
}

export interface AgentNewsBoard {
  /** Waits until there is something to tell this agent, or some time has passed; ends early when `gone` does. */
  next(agent: string, gone: AbortSignal): Promise<AgentNews>;
  close(): void;
}

/**
 * Keeps for each remote agent what has happened since it asked the last time, so that nothing falls between two questions.
 * Only hints: whoever misses one finds the same by asking.
 */
export function createNewsBoard(bus: Bus): AgentNewsBoard {
  const boxes = new Map<string, Box>();
  let isClosed = false;

  function tellAll(change: (box: Box) => void): void {
    for (const [agent, box] of boxes) {
      if (Date.now() - box.askedAt > forgetMs) boxes.delete(agent);
      change(box);
      box.wake();
    }
  }
  const stops = [
    bus.on('job:pending', () => {
      tellAll((box) => (box.jobsPending = true));
    }),
    bus.on('job:cancel-requested', ({ jobId }) => {
      tellAll((box) => box.cancelRequested.add(jobId));
    }),
    bus.on('agent:renew', ({ agent }) => {
      const box = boxes.get(agent);
      if (!box) return;
      box.renew = true;
      box.wake();
    }),
  ];

  return {
    async next(agent, gone) {
      const box: Box = boxes.get(agent) ?? {
        ...{
          jobsPending: false,
          cancelRequested: new Set(),
          renew: false,
          askedAt: 0,
          wake: () => undefined,
        },
      };
      boxes.set(agent, box);
      box.askedAt = Date.now();
      box.wake(); // an earlier question of the same agent, whose answer nobody waits for any more
      if (!box.jobsPending && box.cancelRequested.size === 0 && !box.renew && !isClosed) {
        const { promise, resolve } = Promise.withResolvers<undefined>();
        const end = () => {
          resolve(undefined);
        };
        box.wake = end;
        const timer = setTimeout(end, waitMs);
        gone.addEventListener('abort', end, { once: true });
        await promise;
        clearTimeout(timer);
        gone.removeEventListener('abort', end);
      }
      // Who has gone has not heard it.
      if (gone.aborted) return { jobsPending: false, cancelRequested: [], renew: false };
      const { jobsPending, renew } = box;
      const news = { jobsPending, cancelRequested: [...box.cancelRequested], renew };
      box.jobsPending = false;
      box.renew = false;
      box.cancelRequested.clear();
      box.askedAt = Date.now();
      return news;
    },
    close() {
      isClosed = true;
      for (const stop of stops) stop();
      for (const box of boxes.values()) box.wake();
    },
  };
}
