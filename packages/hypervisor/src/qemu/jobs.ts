import { randomUUID } from 'node:crypto';
import { DriverError } from '../driver.ts';
import { isQmpEvent } from '../qmp/command.ts';
import type { JobInfo } from '../qmp/schema.generated.ts';
import type { Talk } from './talk.ts';

/** An event may be lost with the connection: so it is also asked, this often. */
/** Far beyond what the memory of any machine takes; one whose process ends is noticed at once. */
export const jobTimeoutMs = 3_600_000;
const lookMs = 1_000;

/**
 * Starts a job of QEMU, follows it to its end however long that takes, and reads how it ended: that a command was
 * accepted says nothing.
 * @param start given the job's id
 * @param onReady of jobs that wait for the word to complete
 * @throws DriverError refused, with QEMU's words
 */
export async function runJob(
  talk: Talk,
  what: string,
  start: (jobId: string) => Promise<unknown>,
  onReady?: (jobId: string) => Promise<unknown>,
): Promise<void> {
  const jobId = `job-${randomUUID()}`;
  let told = false;
  await start(jobId);
  for (;;) {
    const changed = talk.waitFor(
      (event) => (isQmpEvent(event, 'JOB_STATUS_CHANGE') && event.data.id === jobId ? true : null),
      lookMs,
    );
    const job = await findJob(talk, jobId);
    if (!job) throw new DriverError('refused', `${what}: QEMU has lost its job`);
    if (job.status === 'concluded') {
      await talk.execute('job-dismiss', { id: jobId });
      if (job.error !== undefined) throw new DriverError('refused', `${what}: ${job.error}`);
      return;
    }
    if (job.status === 'ready' && onReady && !told) {
      told = true;
      await onReady(jobId);
    }
    await changed;
  }
}

async function findJob(talk: Talk, jobId: string): Promise<JobInfo | undefined> {
  // QEMU saves and loads memory in the loop that answers: until it is done it says nothing, however long that takes.
  return (await talk.execute('query-jobs', {}, { timeoutMs: jobTimeoutMs })).find(({ id }) => id === jobId);
}
