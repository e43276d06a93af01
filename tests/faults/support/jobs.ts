import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFinal, type Job, type JobId, type JobStatus, type JobSubmission } from '@vmo/contract';
import { processesOfJob, until, type Digest, type TestServer } from '@vmo/testkit';

export async function submit(server: TestServer, submission: JobSubmission): Promise<Job> {
  return (await server.client.call('submitJob', { body: submission })).job;
}

export async function getJob(server: TestServer, jobId: JobId): Promise<Job> {
  return (await server.client.call('getJob', { params: { jobId } })).job;
}

/** The job once it has this status. */
export function reached(server: TestServer, { id }: Job, status: JobStatus): Promise<Job> {
  return until(`job ${id} to be ${status}`, async () => {
    const job = await getJob(server, id);
    return job.status === status && job;
  });
}

export function ended(server: TestServer, { id }: Job, timeoutMs = 60_000): Promise<Job> {
  return until(
    `the end of job ${id}`,
    async () => {
      const job = await getJob(server, id);
      return isFinal(job.status) && job;
    },
    { timeoutMs, everyMs: 50 },
  );
}

/** What is stored of a stream, as it is downloaded. */
export async function storedDigest(
  server: TestServer,
  jobId: JobId,
  stream: 'stdout' | 'stderr',
): Promise<Digest> {
  const { body } = await server.client.download('getLog', { params: { jobId }, query: { stream } });
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of body ?? []) {
    hash.update(piece);
    bytes += piece.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

export async function storedText(
  server: TestServer,
  jobId: JobId,
  stream: 'stdout' | 'stderr' | 'system',
): Promise<string> {
  return (await server.client.download('getLog', { params: { jobId }, query: { stream } })).text();
}

export const runDirectory = (server: TestServer, jobId: JobId) => join(server.dataDirectory, 'runs', jobId);

/** The pid of the job's wrapper, once it has written it. */
export function wrapperOf(server: TestServer, jobId: JobId): Promise<number> {
  return until('the wrapper to tell its pid', async () => {
    const text = await readFile(join(runDirectory(server, jobId), 'pid'), 'utf8').catch(() => '');
    return Number(/^pid=(\d+)$/m.exec(text)?.[1] ?? 0) || null;
  });
}

export function processesGone(jobId: JobId): Promise<boolean> {
  return until('the job’s processes to be gone', async () => (await processesOfJob(jobId)).length === 0);
}

export interface ReadinessAnswer {
  status: number;
  text: string;
}

/** What /readyz says, as any program sees it. */
export async function readiness(server: TestServer): Promise<ReadinessAnswer> {
  const response = await fetch(`${server.url}/readyz`);
  return { status: response.status, text: await response.text() };
}

export function becomesReady(server: TestServer, timeoutMs = 60_000): Promise<boolean> {
  return until('/readyz to answer 200', async () => (await readiness(server)).status === 200, { timeoutMs });
}

/** The answer's status to a new job. */
export async function trySubmit(server: TestServer): Promise<number> {
  const response = await fetch(`${server.url}/api/v1/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ command: 'true' }),
  });
  await response.arrayBuffer();
  return response.status;
}
