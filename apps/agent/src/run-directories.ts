import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobId } from '@vmo/contract';

/** Spools of finished jobs are kept for a day, in case anybody doubts the stored log. */
const keepMs = 86_400_000;
/** Where spool and log were not found equal, there is more time to find out why. */
const keepUnverifiedMs = 30 * keepMs;

const marker = 'verified';

/** The log was compared with the spool and is the same: the run directory may go, in a day. */
export async function markVerified(directory: string): Promise<void> {
  // It may have gone, with the job's own help.
  await writeFile(join(directory, marker), '', { mode: 0o600 }).catch(() => undefined);
}

/** Removes the run directories that nobody needs any more. */
export async function cleanRunDirectories(
  parent: string,
  isActive: (jobId: JobId) => boolean,
  now = Date.now(),
): Promise<void> {
  for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
    const id = JobId.safeParse(entry.name);
    if (!entry.isDirectory() || !id.success || isActive(id.data)) continue;
    const directory = join(parent, entry.name);
    const changed = (path: string) =>
      stat(path).then(
        ({ mtimeMs }) => mtimeMs,
        () => null,
      );
    const verified = await changed(join(directory, marker));
    const since = verified ?? (await changed(directory)) ?? now;
    if (now - since > (verified === null ? keepUnverifiedMs : keepMs))
      await rm(directory, { recursive: true, force: true });
  }
}
