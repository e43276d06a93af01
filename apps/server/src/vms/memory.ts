import { CodedError } from '@vmo/contract';
import type { Jobs } from '../jobs/index.ts';

/**
 * Requests have been promised their memory, and get it: a machine that a person starts, or gives more memory, must leave it
 * to them. Among themselves machines may be promised more than there is, as long as they do not use it.
 * @param more MiB beyond what it has now
 * @throws CodedError VM_IMPOSSIBLE
 */
export async function leaveMemoryToRequests(
  jobs: Pick<Jobs, 'memoryHere'>,
  vmName: string,
  more: number,
): Promise<void> {
  const { machines, requests, limit } = await jobs.memoryHere();
  if (requests === 0 || more <= 0 || machines + requests + more <= limit) return;
  const others = machines > 0 ? `, and other machines ${machines}` : '';
  throw new CodedError(
    'VM_IMPOSSIBLE',
    `${vmName} needs ${more} MiB of memory; of the ${limit} MiB of this host, requests that run have ${requests}${others}: wait until requests have ended, cancel some, or give it less`,
  );
}
