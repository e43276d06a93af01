import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLocalStreamStrategy, createProcessTable, StartError } from '@vmo/execution';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { openWorkshop, type Workshop } from './qemu/testing.ts';
import { createVmRunStrategy } from './run-strategy.ts';

let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop[Symbol.asyncDispose]());

const local = createLocalStreamStrategy({ table: createProcessTable(), cgroups: null });
const bare = () => workshop.spec({ memoryMib: 32, maxMemoryMib: 32 });

it('refuses a job that names no machine, and a machine that cannot run', async () => {
  const strategy = createVmRunStrategy({ driver: workshop.driver, local });
  const spec = workshop.runSpec(bare());
  await expect(strategy.start({ ...spec, vm: null })).rejects.toBeInstanceOf(StartError);
  const boot = { from: 'kernel', kernel: 'images/none', initrd: null, append: '' } as const;
  const broken = workshop.runSpec(workshop.spec({ boot }));
  await expect(strategy.start(broken)).rejects.toThrow(new StartError('there is no images/none'));
});

it('says what it would start in a dry run', async () => {
  const strategy = createVmRunStrategy({ driver: workshop.newDriver({ dryRun: true }), local });
  await expect(strategy.start(workshop.runSpec(bare()))).rejects.toThrow(
    /^dry run: would start .*qemu-system/,
  );
});

it('ends with the words of a QEMU that does not take its arguments', async () => {
  const strategy = createVmRunStrategy({ driver: workshop.driver, local });
  const spec = workshop.runSpec(workshop.spec({ arguments: ['-device', 'no-such-device'] }));
  const run = await strategy.start(spec);
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 1 });
  expect(await readFile(join(spec.directory, 'stderr'), 'utf8')).toContain(
    "'no-such-device' is not a valid device",
  );
});

it('finds its run again, and stops it', async () => {
  const { run, runSpec, machine } = await workshop.start(bare());
  run.detach();
  await workshop.driver.close();
  const driver = workshop.newDriver();
  const next = createVmRunStrategy({ driver, local });
  const adopted = await next.adopt(runSpec);
  expect((await driver.connect(machine.id))?.pid).toBe(machine.pid);
  await vi.waitFor(
    async () =>
      expect(await readFile(join(runSpec.directory, 'boot'), 'utf8')).toContain('No bootable device'),
    {
      timeout: 20_000,
    },
  );
  expect(await adopted?.cancel(0)).toEqual(['QEMU quit']);
  expect(await adopted?.ended).toMatchObject({ kind: 'exited', exitCode: 0, leftovers: [] });
});

it('says that a disk is still held where no system hears that it should go', async () => {
  const driver = workshop.newDriver({ detachMs: 1_000 });
  const { machine, run } = await workshop.start(bare(), driver);
  const disk = await workshop.disk();
  await machine.attachDisk(disk);
  expect(await machine.detachDisk(disk.id)).toBe('pending');
  expect(await machine.disks()).toMatchObject([{ diskId: disk.id, state: 'detaching', file: disk.file }]);
  expect(await machine.detachDisk(disk.id)).toBe('pending');
  // The next of us is told by its rows that it waits for it.
  machine.close();
  const next = await driver.connect(machine.id);
  if (!next) throw new Error('it is gone');
  expect(await next.disks()).toMatchObject([{ diskId: disk.id, state: 'attached' }]);
  await next.awaitDetached([disk.id]);
  expect(await next.disks()).toMatchObject([{ diskId: disk.id, state: 'detaching' }]);
  // A reset takes what the guest would not give.
  const gone = new Promise((resolve) => next.onDetached(resolve));
  await next.reset();
  expect(await gone).toBe(disk.id);
  expect(await next.disks()).toEqual([]);
  // And of one that went while nobody of us was there.
  const late = new Promise((resolve) => next.onDetached(resolve));
  await next.awaitDetached([disk.id]);
  expect(await late).toBe(disk.id);
  await run.cancel(0);
});
