import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory, until } from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { cgroupMembers, isPopulated, killCgroup, probeCgroups, removeCgroup } from './cgroup.ts';

const cgroups = await probeCgroups();

describe('probeCgroups', () => {
  async function probe(mounts: string | null, own: string | null) {
    await using proc = await temporaryDirectory();
    if (mounts !== null) await writeFile(join(proc.path, 'mounts'), mounts);
    if (own !== null) await writeFile(join(proc.path, 'cgroup'), own);
    return await probeCgroups(proc.path);
  }

  it('finds none where there is no /proc', async () => {
    expect(await probeCgroups('/nowhere')).toBeNull();
    expect(await probe('cgroup2 /x cgroup2 rw 0 0\n', null)).toBeNull();
  });

  it('finds none where only version 1 is mounted', async () => {
    expect(await probe('cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n', '0::/\n')).toBeNull();
  });

  it('finds none where we are in none', async () => {
    expect(await probe('cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n', '4:memory:/\n')).toBeNull();
  });

  it('finds none where the kernel cannot kill a group, and leaves nothing behind', async () => {
    await using mount = await temporaryDirectory();
    expect(await probe(`cgroup2 ${mount.path} cgroup2 rw 0 0\n`, '0::/\n')).toBeNull();
    expect(await readdir(join(mount.path, 'vmo'))).toEqual([]);
  });
});

// Where there are none, the tests of the sweep stand for these.
if (cgroups) {
  describe('a control group', () => {
    it('holds what was put in, also below, and kills it in one step', async () => {
      const path = await cgroups.create('test-of-a-group');
      expect(path).toBe(cgroups.path('test-of-a-group'));
      const below = join(path, 'below');
      await mkdir(below);
      const children = [path, below].map((group) =>
        spawn('sh', ['-c', 'echo 0 >"$0/cgroup.procs"; exec sleep 61', group], { stdio: 'ignore' }),
      );
      const pids = children.map((child) => child.pid);
      await until('both', async () => (await cgroupMembers(path)).length === 2);
      expect(new Set(await cgroupMembers(path))).toEqual(new Set(pids));
      expect(await isPopulated(path)).toBe(true);
      await removeCgroup(path);
      expect((await stat(path)).isDirectory()).toBe(true);
      const gone = Promise.all(children.map((child) => once(child, 'exit')));
      await killCgroup(path);
      expect(await gone).toEqual([
        [null, 'SIGKILL'],
        [null, 'SIGKILL'],
      ]);
      expect(await isPopulated(path)).toBe(false);
      await removeCgroup(path);
      await expect(stat(path)).rejects.toThrow(/ENOENT/);
    });
  });
}

it('a group that is gone has no members and nothing to kill', async () => {
  expect(await cgroupMembers('/nowhere')).toEqual([]);
  expect(await isPopulated('/nowhere')).toBe(false);
  await killCgroup('/nowhere');
  await removeCgroup('/nowhere');
});
