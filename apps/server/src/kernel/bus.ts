import type { Job, JobEvent, JobId, VmEvent, VmMetrics, VmSummary } from '@vmo/contract';

/**
 * What has happened, told after the transaction that made it true has committed. Facts are hints to whoever is
 * listening in this process: a listener that must not miss anything reads the database from where it left off.
 */
export interface Facts {
  /** The row of a job changed, or a job was created. */
  'job:changed': Job;
  /** A job was stored that an agent may take. */
  'job:pending': { jobId: JobId };
  /** Events were stored; consecutive, in order of seq. */
  'job:appended': { jobId: JobId; events: readonly JobEvent[] };
  /** The answer to the renewal of an agent says something new. */
  'agent:renew': { agent: string };
  /** The machine of a job that runs has so much memory from now on. */
  'job:memory': { jobId: JobId; memoryMib: number };
  /** Somebody asked for the end of a job that an agent has. */
  'job:cancel-requested': { jobId: JobId };
  /** The row of a machine changed, or a machine was made. */
  'vm:changed': VmSummary;
  /** What was done with a machine, or happened to it. */
  'vm:event': VmEvent;
  /** A look at every running machine. */
  'vm:metrics': VmMetrics;
  /** A session was logged out or revoked: its sockets must end. */
  'session:ended': { sessionId: string };
}

export interface Bus {
  on<N extends keyof Facts>(name: N, listener: (fact: Facts[N]) => void): () => void;
  emit<N extends keyof Facts>(name: N, fact: Facts[N]): void;
}

/** Delivers synchronously, in the order of emission. A listener that throws is reported and does not stop the others. */
export function createBus(onError: (error: unknown) => void): Bus {
  const listeners = new Map<keyof Facts, Set<(fact: never) => void>>();
  return {
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set.add(listener));
      return () => set.delete(listener);
    },
    emit(name, fact) {
      for (const listener of listeners.get(name) ?? []) {
        try {
          (listener as (fact: unknown) => void)(fact);
        } catch (error) {
          onError(error);
        }
      }
    },
  };
}
