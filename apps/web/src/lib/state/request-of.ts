import type { Job, RequestId } from '@vmo/contract';

/** The request that a job is; null: it is none. Runs of machines are of the same type, but name their machine. */
export const requestOf = (job: Pick<Job, 'id' | 'type' | 'vmId'>): RequestId | null =>
  job.type === 'vm' && job.vmId === null ? job.id : null;
