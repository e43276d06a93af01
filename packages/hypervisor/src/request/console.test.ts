import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { lastWords, PanicWatch } from './console.ts';

it('sees the last words of a kernel, also when they come in pieces', async () => {
  await using home = await temporaryDirectory();
  const path = join(home.path, 'boot');
  const watch = new PanicWatch(path);
  expect(watch.look()).toBeNull();
  await writeFile(path, 'booting\r\n[    1.5] Kernel pan');
  expect(watch.look()).toBeNull();
  await appendFile(path, 'ic - not syncing: VFS: Unable to mount root fs\r\n[    1.6] CPU: 0');
  expect(watch.look()).toBe('Kernel panic - not syncing: VFS: Unable to mount root fs');
  watch.close();
});

it('is not taken in by a line that only speaks of a panic', async () => {
  await using home = await temporaryDirectory();
  const path = join(home.path, 'boot');
  await writeFile(path, 'echo "a Kernel panic - not syncing: would look so"\n');
  const watch = new PanicWatch(path);
  expect(watch.look()).toBeNull();
  watch.close();
});

it('gives the last lines of a console as they read', async () => {
  await using home = await temporaryDirectory();
  const path = join(home.path, 'boot');
  expect(await lastWords(path)).toBeNull();
  await writeFile(path, ' \r\n1\r\n2\r\n\x1b[31m3\x1b[0m\r\n\r\n4\r\n5\r\n6 \r\nvmo:~# ');
  expect(await lastWords(path)).toBe('3 / 4 / 5 / 6 / vmo:~#');
  // What was wrong stands at the end of what QEMU says, behind an argument that may be long.
  await writeFile(path, `qemu: -blockdev {${'x'.repeat(1000)}}: Permission denied\n`);
  expect(await lastWords(path)).toMatch(/^qemu: -blockdev \{x{43} … x+\}: Permission denied$/);
});
