import { randomUUID } from 'node:crypto';
import { DriverError } from '../driver.ts';
import { isQmpEvent } from '../qmp/command.ts';
import type { JobInfo } from '../qmp/schema.generated.ts';
import type { Talk } from './talk.ts';

/** Far beyond what the memory of any machine takes; one whose process ends is noticed at once. */
export const jobTimeoutMs = 3_600_000;
/** An event may be lost with the connection: so it is also asked, this often. */
const lookMs = 1_000;
const prefix = 'job-';

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
  const jobId = `${prefix}${randomUUID()}`;
  let told = false;
  await start(jobId);
  for (;;) {
    const changed = nextChange(talk, jobId);
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

/**
 * Ends what an earlier process of ours has begun: a job that puts a disk into another is called off, which leaves the
 * disk where it is unless it has just been switched over; one that can only end by itself is waited for.
 */
export async function endJobs(talk: Talk): Promise<void> {
  const told = new Set<string>();
  for (;;) {
    const job = (await listJobs(talk)).find(({ id }) => id.startsWith(prefix));
    if (!job) return;
    const changed = nextChange(talk, job.id);
    if (job.status === 'concluded') {
      await talk.execute('job-dismiss', { id: job.id });
      continue;
    }
    if (job.type === 'commit' && !told.has(job.id)) {
      told.add(job.id);
      // Refused where it has come to its end meanwhile, which the next look shows.
      await talk.execute('job-cancel', { id: job.id }).catch((error: unknown) => {
        if (!(error instanceof DriverError && error.problem === 'refused')) throw error;
      });
    }
    await changed;
  }
}

const nextChange = (talk: Talk, jobId: string): Promise<true | null> =>
  talk.waitFor(
    (event) => (isQmpEvent(event, 'JOB_STATUS_CHANGE') && event.data.id === jobId ? true : null),
    lookMs,
  );

async function findJob(talk: Talk, jobId: string): Promise<JobInfo | undefined> {
  return (await listJobs(talk)).find(({ id }) => id === jobId);
}

/** QEMU saves and loads memory in the loop that answers: until it is done it says nothing, however long that takes. */
const listJobs = (talk: Talk): Promise<JobInfo[]> =>
  talk.execute('query-jobs', {}, { timeoutMs: jobTimeoutMs });
