import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { isPopulated, killCgroup, probeCgroups, removeCgroup } from './cgroup.ts';

const cgroups = await probeCgroups();

/** A group with a process in it, in the group below it. */
async function createPopulated(jobId: string): Promise<{ path: string; exited: Promise<unknown> }> {
  const path = (await cgroups?.create(jobId)) ?? '';
  const below = join(path, 'below');
  await mkdir(below, { recursive: true });
  const child = spawn('sh', ['-c', 'echo 0 >"$0/cgroup.procs"; exec sleep 1000', below], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await until('the process', () => isPopulated(path));
  return { path, exited };
}

const longAgo = new Date(Date.now() - 3_600_000);

// Where there are none, there is nothing to remove.
if (cgroups) {
  it('a group is removed also while what was killed in it is still on its way out', async () => {
    const { path, exited } = await createPopulated('test-of-a-removal');
    const removed = removeCgroup(path);
    await killCgroup(path);
    await removed;
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
    await exited;
  });

  it('groups that earlier processes left are swept, but not those that are new or in use', async () => {
    const empty = await cgroups.create('test-of-a-sweep-empty');
    await mkdir(join(empty, 'below'), { recursive: true });
    const fresh = await cgroups.create('test-of-a-sweep-fresh');
    const { path: used, exited } = await createPopulated('test-of-a-sweep-used');
    for (const path of [empty, used]) await utimes(path, longAgo, longAgo);
    expect(await probeCgroups()).not.toBeNull();
    await expect(stat(empty)).rejects.toThrow(/ENOENT/);
    expect((await stat(fresh)).isDirectory()).toBe(true);
    expect((await stat(join(used, 'below'))).isDirectory()).toBe(true);
    await killCgroup(used);
    await exited;
    for (const path of [fresh, used]) await removeCgroup(path);
  });
}
