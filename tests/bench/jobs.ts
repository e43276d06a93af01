import { createHash } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isFinal, type Job, type JobSubmission } from '@vmo/contract';
import { startTestServer, type TestServer } from '@vmo/testkit';

/** A fresh server with its own data directory and the embedded Postgres, as a person starts it. */
export const startServer = (): Promise<TestServer> =>
  startTestServer({ embedded: true, env: { VMO_MAX_CONCURRENT_JOBS: '120' } });

/** Beside the server's data, so that files of ours and spools are on the same disk. */
export const ownDirectory = (server: TestServer): Promise<string> =>
  mkdtemp(join(server.dataDirectory, '..', 'bench-'));

/** Milliseconds since the epoch with fractions; every process of this machine reads the same clock. */
export const now = (): number => performance.timeOrigin + performance.now();

export async function submit(server: TestServer, submission: JobSubmission): Promise<Job> {
  return (await server.client.call('submitJob', { body: submission })).job;
}

export async function ended(server: TestServer, { id }: Job): Promise<Job> {
  for (;;) {
    const { job } = await server.client.call('getJob', { params: { jobId: id } });
    if (isFinal(job.status)) return job;
    await delay(20);
  }
}

export async function run(server: TestServer, submission: JobSubmission): Promise<Job> {
  return ended(server, await submit(server, submission));
}

/** Waits until this many jobs run at once. */
export async function untilRunning(server: TestServer, count: number): Promise<void> {
  for (;;) {
    const { jobs } = await server.client.call('listJobs', { query: { status: 'running', limit: 500 } });
    if (jobs.length >= count) return;
    await delay(50);
  }
}

export async function cancelAll(server: TestServer, jobs: readonly Job[]): Promise<void> {
  await Promise.all(
    jobs.map(({ id }) => server.client.call('cancelJob', { body: { jobId: id } }).catch(() => undefined)), // it has just ended
  );
  for (const job of jobs) await ended(server, job);
}

interface Writing {
  /** Times that it writes. */
  count: number;
  everyMs: number;
  /** Bytes of each write, in lines of 100 bytes at most. */
  bytes: number;
  /** When it begins, in milliseconds since the epoch; default: at once. */
  at?: number;
  /** Gets the SHA-256 of everything it wrote. */
  digest?: string;
}

/** A command whose every line begins with the time at which it was written; see `writer.ts`. */
export function writer({ count, everyMs, bytes, at = 0, digest = '' }: Writing): string {
  const program = fileURLToPath(new URL('./writer.ts', import.meta.url));
  const numbers = [count, everyMs, bytes, at].map(String).join(' ');
  return `exec "${process.execPath}" "${program}" ${numbers} ${digest}`;
}

/** SHA-256 of what a job wrote, as it is stored. */
export async function storedDigest(server: TestServer, { id }: Job): Promise<string> {
  const response = await server.client.download('getLog', { params: { jobId: id } });
  const hash = createHash('sha256');
  for await (const chunk of response.body ?? []) hash.update(chunk);
  return hash.digest('hex');
}
