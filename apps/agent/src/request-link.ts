import type { AgentApi, JobRef, RunProgress } from '@vmo/contract';
import type { RequestLink } from '@vmo/execution';
import { LeaseLostError } from './lease-lost.ts';

export interface RequestLinkOptions {
  ref: JobRef;
  api: Pick<AgentApi, 'plan' | 'progress' | 'artifact'>;
  insist: <T>(what: string, call: () => Promise<T>) => Promise<T>;
}

/** What a simulation request asks of the server, and tells it. */
export function createRequestLink({ ref, api, insist }: RequestLinkOptions): RequestLink {
  let latest: RunProgress | null = null;
  let telling: Promise<void> | null = null;

  /** One call at a time; what comes meanwhile is told by the next, as far as it was not replaced. */
  async function tell(): Promise<void> {
    try {
      while (latest) {
        const progress = latest;
        latest = null;
        if (!(await insist('how far it is', () => api.progress(ref, progress)))) throw new LeaseLostError();
      }
    } finally {
      // Here, not behind the promise: what is told between the two would wait for ever.
      telling = null;
    }
  }

  return {
    async plan() {
      const plan = await insist('its commands', () => api.plan(ref));
      if (!plan) throw new LeaseLostError();
      return plan;
    },
    progress(progress) {
      latest = progress;
      telling ??= tell();
      return telling;
    },
    async artifact(piece) {
      if (!(await insist('an artifact', () => api.artifact(ref, piece)))) throw new LeaseLostError();
    },
  };
}
