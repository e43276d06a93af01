import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Strategy } from '@vmo/execution';
import { isOver, readLease } from './lease.ts';
import { jobOfDirectory, markLapsed } from './run-directories.ts';

export interface GuardianOptions {
  /** Where the agent keeps its lease. */
  directory: string;
  runsDirectory: string;
  boot: string;
  /** Finds and ends any run by its directory: whatever a job is, its processes are started by this one. */
  local: Strategy;
  onError: (error: unknown) => void;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** Run directories without an exit record: what is in them runs, is about to begin, or was lost. */
async function openRuns(runsDirectory: string): Promise<{ jobId: string; directory: string }[]> {
  const names = await readdir(runsDirectory).catch(() => []);
  const runs = await Promise.all(
    names.map(async (name) => {
      const jobId = jobOfDirectory(name);
      const directory = join(runsDirectory, name);
      return jobId !== null && !(await exists(join(directory, 'exit'))) ? [{ jobId, directory }] : [];
    }),
  );
  return runs.flat();
}

/**
 * Looks once whether the lease is over, and ends every run if it is: at once, without a grace time, for somebody else is
 * about to begin them again.
 * @returns whether the lease holds, and the runs that were ended
 */
export async function guard(options: GuardianOptions): Promise<{ held: boolean; ended: number }> {
  const { directory, runsDirectory, boot, local } = options;
  if (!isOver(readLease(directory), boot)) return { held: true, ended: 0 };
  const runs = await openRuns(runsDirectory);
  const ends = await Promise.all(
    runs.map(async ({ jobId, directory: run }) => {
      try {
        // A disk that is full must not keep us from it; then the agent only finds that it was killed.
        await markLapsed(run).catch(options.onError);
        const found = await local.adopt({
          ...{ jobId, command: '', cwd: null, env: {}, cols: 80, rows: 24, host: null, vm: null },
          ...{ directory: run, notice: () => undefined },
        });
        await found?.cancel(0);
        found?.detach();
        return 1;
      } catch (error) {
        options.onError(error);
        return 0;
      }
    }),
  );
  return { held: false, ended: ends.reduce<number>((sum, one) => sum + one, 0) };
}
