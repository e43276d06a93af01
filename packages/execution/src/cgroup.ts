import { closeSync, openSync, write } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** From making a group to its first process it takes milliseconds; this long on a machine that is swapping. */
const settledMs = 60_000;
/** What was killed is not waited for longer than this; a process with much memory takes its time. */
const removeMs = 5_000;
const maxRetryMs = 250;

/**
 * Control groups of version 2 hold all descendants of a job, whatever they do to their session, parent or
 * environment, and kill them in one step that no fork can outrun (cgroup.kill, Linux 5.14). No controller is needed.
 */
export interface Cgroups {
  /** Makes the group of a job and returns its path. */
  create(jobId: string): Promise<string>;
  path(jobId: string): string;
}

/**
 * Finds a place where this process may make groups and tries it out: a group is made, must have `cgroup.kill`, and is
 * removed. null: not here (another system, an old kernel, no permission), and the caller falls back to sweeping.
 */
export async function probeCgroups(proc = '/proc/self'): Promise<Cgroups | null> {
  try {
    const mounts = await readFile(`${proc}/mounts`, 'utf8');
    const mount = mounts
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, , type]) => type === 'cgroup2')?.[1];
    const own = /^0::(.*)$/m.exec(await readFile(`${proc}/cgroup`, 'utf8'))?.[1];
    if (mount === undefined || own === undefined) return null;
    const parent = join(mount, own, 'vmo');
    const trial = join(parent, `probe-${String(process.pid)}`);
    await mkdir(trial, { recursive: true });
    try {
      await readFile(join(trial, 'cgroup.procs'), 'utf8');
      await writeFile(join(trial, 'cgroup.kill'), '1');
    } finally {
      await rmdir(trial);
    }
    await removeEmptyCgroups(parent);
    const path = (jobId: string) => join(parent, jobId);
    const mine = join(mount, own, 'cgroup.procs');
    return {
      path,
      async create(jobId) {
        makeReady(mine);
        await mkdir(path(jobId), { recursive: true });
        return path(jobId);
      },
    };
  } catch {
    return null;
  }
}

/**
 * Has the kernel ready to move a process between groups. The first move waits for all processors to have passed a point of
 * rest (RCU), 9 to 18 ms; one that follows within some 20 ms does not. So we move to where we are while the shell that is
 * to move begins. Where we may not, its own move waits.
 */
function makeReady(ownProcs: string): void {
  try {
    const fd = openSync(ownProcs, 'w');
    // In one trip to another thread: this one is about to fork, and would come to a second only after that.
    write(fd, '0', () => {
      closeSync(fd);
    });
  } catch {
    // As above.
  }
}

/** The pids in the group and in the groups that a job has made below it. */
export async function cgroupMembers(path: string): Promise<number[]> {
  const words = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '');
  const own = words.split('\n').filter(Boolean).map(Number);
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  const below = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => cgroupMembers(join(path, entry.name)));
  return [...own, ...(await Promise.all(below)).flat()];
}

/**
 * Whether the group or one below it has a living process. The kernel's own answer, which a process that forks and ends
 * cannot slip through, as it can between two reads of the members.
 */
export async function isPopulated(path: string): Promise<boolean> {
  return /^populated 1$/m.test(await readFile(join(path, 'cgroup.events'), 'utf8').catch(() => ''));
}

/** Kills all in the group at once. A group that is gone has nothing to kill. */
export async function killCgroup(path: string): Promise<void> {
  await writeFile(join(path, 'cgroup.kill'), '1').catch(() => undefined);
}

/** @returns whether the group, and those below it, are gone */
async function tryToRemove(path: string): Promise<boolean> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await tryToRemove(join(path, entry.name));
  return rmdir(path).then(
    () => true,
    (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT',
  );
}

/**
 * Removes the group and those below it. A killed process stays in its group until the kernel is done with it, so that
 * this is tried again for a while; a group that still has living processes then stays.
 */
export async function removeCgroup(path: string): Promise<void> {
  const deadline = Date.now() + removeMs;
  for (
    let wait = 1;
    !(await tryToRemove(path)) && Date.now() < deadline;
    wait = Math.min(wait * 2, maxRetryMs)
  )
    await delay(wait, undefined, { ref: false }); // what remains, the next start removes
}

/** Removes what earlier processes left: groups whose jobs left something behind that has ended since, and the like. */
async function removeEmptyCgroups(parent: string): Promise<void> {
  for (const entry of await readdir(parent, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(parent, entry.name);
    // A new one may be about to get its first process; one that is gone was removed by somebody else just now.
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > settledMs && !(await isPopulated(path))) await tryToRemove(path);
  }
}
