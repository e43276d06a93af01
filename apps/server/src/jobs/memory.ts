import type { JobId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Agents } from '../agents/index.ts';
import type { Bus } from '../kernel/bus.ts';
import { selectPromisedMemory, updateNeededMemory, type PromisedMemory } from './queue-repository.ts';

/** Memory of machines that persons run, and of requests, on the server's own host. In MiB. */
export function createMemory({ db, bus, fleet }: { db: Kysely<Database>; bus: Bus; fleet: Agents['fleet'] }) {
  return {
    /** What is promised; the limit is that of the agent inside the server. */
    async memoryHere(): Promise<PromisedMemory & { limit: number }> {
      const here = (await fleet()).find(({ isHere }) => isHere);
      if (!here) return { machines: 0, requests: 0, limit: 0 };
      return { ...(await selectPromisedMemory(db, here.name)), limit: here.capacity.memoryMib };
    },

    /** The machine of a job that runs has so much from now on. */
    async setMemory(jobId: JobId, memoryMib: number): Promise<void> {
      await updateNeededMemory(db, jobId, memoryMib);
      bus.emit('job:memory', { jobId, memoryMib });
    },
  };
}
