import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobId, type ClaimedJob } from '@vmo/contract';

/** Spools of finished jobs are kept for a day, in case anybody doubts the stored log. */
const keepMs = 86_400_000;
/** Where spool and log were not found equal, there is more time to find out why. */
const keepUnverifiedMs = 30 * keepMs;

const marker = 'verified';
const lapsedMarker = 'lapsed';
const secretsMarker = 'secrets';

/** The name of the run directory. A later attempt may come to the same agent, and must not find what an earlier one left. */
export const runDirectoryOf = ({ id, attempt }: Pick<ClaimedJob, 'id' | 'attempt'>): string =>
  attempt === 1 ? id : `${id}.${String(attempt)}`;

/** The job that a run directory belongs to; null: it is none. */
export function jobOfDirectory(name: string): JobId | null {
  return JobId.safeParse(name.replace(/\.\d+$/, '')).data ?? null;
}

/** The run is about to be ended because the lease of its agent is over. */
export async function markLapsed(directory: string): Promise<void> {
  await writeFile(join(directory, lapsedMarker), '', { mode: 0o600 });
}

export async function wasLapsed(directory: string): Promise<boolean> {
  return stat(join(directory, lapsedMarker)).then(
    () => true,
    () => false,
  );
}

/** What the job writes may hold its secrets, unmasked: the run directory goes as soon as the job has ended. */
export async function markSecrets(directory: string): Promise<void> {
  // It may have gone, with the job's own help.
  await writeFile(join(directory, secretsMarker), '', { mode: 0o600 }).catch(() => undefined);
}

/** The log was compared with the spool and is the same: the run directory may go, in a day. */
export async function markVerified(directory: string): Promise<void> {
  // It may have gone, with the job's own help.
  await writeFile(join(directory, marker), '', { mode: 0o600 }).catch(() => undefined);
}

/**
 * Removes the run directories that nobody needs any more.
 * @param isActive  must know all jobs of this agent: a directory with secrets goes at once when its job is not active
 */
export async function cleanRunDirectories(
  parent: string,
  isActive: (jobId: JobId) => boolean,
  now = Date.now(),
): Promise<void> {
  for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
    const jobId = jobOfDirectory(entry.name);
    if (!entry.isDirectory() || jobId === null || isActive(jobId)) continue;
    const directory = join(parent, entry.name);
    const changed = (path: string) =>
      stat(path).then(
        ({ mtimeMs }) => mtimeMs,
        () => null,
      );
    const verified = await changed(join(directory, marker));
    const since = verified ?? (await changed(directory)) ?? now;
    const holdsSecrets = (await changed(join(directory, secretsMarker))) !== null;
    if (holdsSecrets || now - since > (verified === null ? keepUnverifiedMs : keepMs))
      await rm(directory, { recursive: true, force: true });
  }
}
