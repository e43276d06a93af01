import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Vm, VmOperation } from '@vmo/contract';
import { createLocalStreamStrategy, createProcessTable } from '@vmo/execution';
import {
  buildSmallGuest,
  createQemuDriver,
  createVmRunStrategy,
  findProgram,
  smallGuestKernelArguments,
  smallGuestPrompt,
  type Driver,
  type Machine,
} from '@vmo/hypervisor';
import { until } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readDisk, writeDisk, type Content } from './disk-content.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

/*
 * Real machines of QEMU whose files are being switched when this process ends, the database refuses, or QEMU dies: each
 * at the very step after which files and rows disagree. Most have no guest, which would take long to boot: QEMU writes
 * at their device itself, as it does for a guest, and serves what the device shows.
 */
const isThere = findProgram('qemu-system-x86_64') !== null;
const guestCache = join(import.meta.dirname, '../../../../.cache/test/guests');
const mib = 1024 * 1024;
const patience = 120_000;

let center: Datacenter;
let driver: Driver;
let count = 0;

beforeAll(async () => {
  if (!isThere) return;
  const table = createProcessTable();
  const local = createLocalStreamStrategy({ table, cgroups: null });
  center = await startDatacenter({
    driver: (storage) => {
      driver = createQemuDriver({
        ...{ storage, table },
        host: () =>
          Promise.resolve({
            qemu: { path: '/usr/bin/qemu-system-x86_64', version: '7.2' },
            accelerator: 'tcg',
            features: { sandbox: true, microvm: true, virtioMem: true, userNetworking: true, vnc: true },
            words: [],
          }),
      });
      return driver;
    },
    strategy: (by) => createVmRunStrategy({ driver: by, local }),
  });
  await mkdir(join(center.storage, 'images'), { recursive: true });
  const { kernel, initrd } = await buildSmallGuest(guestCache);
  await copyFile(kernel, join(center.storage, 'images/kernel'));
  await copyFile(initrd, join(center.storage, 'images/initrd'));
}, patience);
afterEach(async () => {
  if (!isThere) return;
  await heal();
  await center.stopAll();
}, patience);
afterAll(async () => {
  if (isThere) await center[Symbol.asyncDispose]();
}, patience);

/** A machine with a disk, and nothing to boot. */
async function machine(guest: Partial<Parameters<typeof center.vms.create>[1]> = {}): Promise<Vm> {
  count += 1;
  const { vm, operation } = await center.vms.create(owner, {
    name: `machine-${count}`,
    ...{ diskSizeBytes: 16 * mib, memoryMib: 128, network: { mode: 'none' }, display: 'none' },
    ...guest,
  });
  await center.done(operation);
  return vm;
}

/** One whose guest has a shell at its console. */
const machineWithGuest = () =>
  machine({
    boot: { from: 'kernel', kernel: 'kernel', initrd: 'initrd', append: smallGuestKernelArguments },
    cpus: 2,
  });

const act = async (vm: Vm, action: 'start' | 'force-stop') =>
  center.done(await center.vms.act(owner, vm.id, action));

const start = (vm: Vm) => act(vm, 'start');

async function boot(vm: Vm): Promise<void> {
  await start(vm);
  await said(vm, smallGuestPrompt);
}

async function consoleOf(vm: Vm): Promise<string> {
  const { jobId } = await center.vms.get(vm.id);
  if (!jobId) throw new Error('it has no run');
  return readFile(join(center.storage, '../runs', jobId, 'boot'), 'utf8').catch(() => '');
}

const said = (vm: Vm, words: string | RegExp) =>
  until(
    String(words),
    async () => {
      const text = await consoleOf(vm);
      return (typeof words === 'string' ? text.includes(words) : words.test(text)) && text;
    },
    { timeoutMs: 60_000, everyMs: 50 },
  );

let marks = 0;
/** Types a command. @returns what it printed */
async function command(vm: Vm, line: string): Promise<string> {
  const { jobId } = await center.vms.get(vm.id);
  if (!jobId) throw new Error('it has no run');
  marks += 1;
  // The quotes keep the echo of what is typed from being taken for what it prints.
  await center.vms.input(jobId, `echo be''gin-${marks}; ${line}; echo en''d-${marks}\n`);
  const text = await said(vm, `end-${marks}`);
  return text
    .slice(text.indexOf(`begin-${marks}`) + `begin-${marks}`.length, text.indexOf(`end-${marks}`))
    .trim();
}

const write = (vm: Vm, content: Content) => writeDisk(join(center.storage, 'vms', vm.id), content);
const read = (vm: Vm) => readDisk(join(center.storage, 'vms', vm.id));

async function disk(vm: Vm) {
  return center.db.selectFrom('disks').selectAll().where('vm_id', '=', vm.id).executeTakeFirstOrThrow();
}
const files = async (vm: Vm) =>
  (await readdir(join(center.storage, 'vms', vm.id))).filter((name) => /qcow2|new$/.test(name));
const snapshots = async (vm: Vm) =>
  (await center.vms.snapshots.list(vm.id)).map(
    ({ name, state, current }) => `${name} ${state}${current ? '*' : ''}`,
  );

async function running(vm: Vm): Promise<Machine> {
  const found = await driver.connect(vm.id);
  if (!found) throw new Error('it does not run');
  return found;
}

/** This process dies when it has come so far: what it would have done next is never done. */
function dieAt<A extends unknown[]>(work: (...args: A) => Promise<void>) {
  const reached = Promise.withResolvers<undefined>();
  return {
    reached: reached.promise,
    work: async (...args: A): Promise<void> => {
      await work(...args);
      reached.resolve(undefined);
      await new Promise<never>(() => undefined);
    },
  };
}

/** The database refuses to write that a disk has been switched. */
async function breakDatabase(): Promise<void> {
  await sql`create or replace function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'the database refuses'; end $$`.execute(center.db);
  await sql`create trigger fault before update on disks for each row
    when (old.pending is not null and new.pending is null) execute function refuse()`.execute(center.db);
}
async function heal(): Promise<void> {
  await sql`drop trigger if exists fault on disks`.execute(center.db);
}

async function take(vm: Vm, name: string, kind: 'ram' | 'disk' = 'disk') {
  return center.vms.snapshots.create(owner, vm.id, { name, kind });
}

/** Waits until an operation has ended in the process that came after. */
const endOf = (operation: VmOperation) => center.ended(operation);

describe.skipIf(!isThere)('a snapshot of the disks of a running machine', () => {
  it('is whole when we die after QEMU has switched, and the machine starts from its new file', async () => {
    const vm = await machine();
    await start(vm);
    await write(vm, 'before');
    const held = await running(vm);
    const crash = dieAt(held.takeOverlays.bind(held));
    held.takeOverlays = crash.work;
    const { snapshot, operation } = await take(vm, 'one');
    await crash.reached;
    await write(vm, 'after');
    await center.restart();
    expect(await endOf(operation)).toMatchObject({ status: 'done', result: 'kept as one' });
    expect(await snapshots(vm)).toEqual(['one ready*']);
    expect(await disk(vm)).toMatchObject({ pending: null, chain: [{ format: 'qcow2' }] });
    expect(await read(vm)).toBe('after');
    await act(vm, 'force-stop');
    await start(vm);
    expect(await read(vm)).toBe('after');
    await act(vm, 'force-stop');
    await center.done(await center.vms.snapshots.restore(owner, snapshot.id));
    await start(vm);
    expect(await read(vm)).toBe('before');
  }, 180_000);

  it('is whole when the database refused, and QEMU died before it could be asked', async () => {
    const vm = await machine();
    await start(vm);
    await write(vm, 'before');
    await breakDatabase();
    const { operation } = await take(vm, 'one');
    expect(await endOf(operation)).toMatchObject({ status: 'failed' });
    await write(vm, 'after');
    await act(vm, 'force-stop');
    // Nothing is started from a file of which nobody knows whether it is the right one.
    expect(await center.ended(await center.vms.act(owner, vm.id, 'start'))).toMatchObject({
      status: 'failed',
    });
    await heal();
    await start(vm);
    expect(await read(vm)).toBe('after');
    expect(await snapshots(vm)).toEqual(['one ready*']);
    expect(await files(vm)).toHaveLength(2);
  }, 180_000);

  it('is none when we die before QEMU has switched, and its file is removed', async () => {
    const vm = await machine();
    await start(vm);
    await write(vm, 'before');
    const held = await running(vm);
    const original = held.takeOverlays.bind(held);
    // Makes the file, and fails at a disk that is not there: the switch of all of them never comes.
    const crash = dieAt(async (overlays: Parameters<Machine['takeOverlays']>[0]) => {
      const nobody = { diskId: vm.id, file: `disks/${vm.id}.qcow2` };
      await expect(original([...overlays, nobody])).rejects.toThrow('is not attached');
    });
    held.takeOverlays = crash.work;
    const { operation } = await take(vm, 'one');
    await crash.reached;
    expect(await files(vm)).toHaveLength(2);
    await center.restart();
    expect(await endOf(operation)).toMatchObject({
      status: 'failed',
      result: 'the cockpit ended in the middle of it, before anything was kept',
    });
    expect(await snapshots(vm)).toEqual([]);
    expect(await disk(vm)).toMatchObject({ pending: null, chain: [] });
    expect(await files(vm)).toHaveLength(1);
    await write(vm, 'on');
    await act(vm, 'force-stop');
    await start(vm);
    expect(await read(vm)).toBe('on');
  }, 180_000);
});

describe.skipIf(!isThere)('a snapshot that is deleted while the machine runs', () => {
  async function withSnapshot() {
    const vm = await machine();
    await start(vm);
    await write(vm, 'before');
    const { snapshot, operation } = await take(vm, 'one');
    await center.done(operation);
    await write(vm, 'merged');
    return { vm, snapshot };
  }

  it('is gone when we die after QEMU has switched', async () => {
    const { vm, snapshot } = await withSnapshot();
    const held = await running(vm);
    const crash = dieAt(held.commitOverlay.bind(held));
    held.commitOverlay = crash.work;
    const operation = await center.vms.snapshots.remove(owner, snapshot.id);
    await crash.reached;
    await write(vm, 'after');
    await center.restart();
    expect(await endOf(operation)).toMatchObject({ status: 'done' });
    expect((await center.vms.get(vm.id)).status).toBe('running');
    expect(await snapshots(vm)).toEqual([]);
    expect(await files(vm)).toHaveLength(1);
    expect(await disk(vm)).toMatchObject({ pending: null, chain: [] });
    await act(vm, 'force-stop');
    await start(vm);
    expect(await read(vm)).toBe('after');
  }, 180_000);

  it('never brings back what was written before the switch, when QEMU dies, too', async () => {
    const { vm, snapshot } = await withSnapshot();
    const held = await running(vm);
    const crash = dieAt(held.commitOverlay.bind(held));
    held.commitOverlay = crash.work;
    const operation = await center.vms.snapshots.remove(owner, snapshot.id);
    await crash.reached;
    await write(vm, 'after');
    const { pid } = await center.vms.get(vm.id);
    process.kill(pid ?? 0, 'SIGKILL');
    await center.restart();
    await center.when(vm.id, ({ status }) => status === 'crashed');
    const ended = await endOf(operation);
    if (ended.status === 'failed') {
      // The end of the machine was told later than it was asked for.
      expect(await snapshots(vm)).toEqual(['one deleting*']);
      expect(await center.ended(await center.vms.snapshots.restore(owner, snapshot.id))).toMatchObject({
        status: 'failed',
      });
      await center.done(await center.vms.snapshots.remove(owner, snapshot.id));
    }
    expect(await snapshots(vm)).toEqual([]);
    await start(vm);
    expect(await read(vm)).toBe('after');
    expect(await files(vm)).toHaveLength(1);
  }, 180_000);

  it('stays half deleted when the database refuses, cannot be gone back to, and goes when asked again', async () => {
    const { vm, snapshot } = await withSnapshot();
    await breakDatabase();
    expect(await endOf(await center.vms.snapshots.remove(owner, snapshot.id))).toMatchObject({
      status: 'failed',
    });
    expect(await snapshots(vm)).toEqual(['one deleting*']);
    await write(vm, 'after');
    await heal();
    await act(vm, 'force-stop');
    expect(await endOf(await center.vms.snapshots.restore(owner, snapshot.id))).toMatchObject({
      ...{ status: 'failed', result: 'one is half deleted: delete it again' },
    });
    await center.done(await center.vms.snapshots.remove(owner, snapshot.id));
    await start(vm);
    expect(await read(vm)).toBe('after');
    expect(await files(vm)).toHaveLength(1);
  }, 180_000);
});

describe.skipIf(!isThere)('a snapshot with memory', () => {
  it('is compared with the machine first, and one that was read in vain leaves only force', async () => {
    const vm = await machineWithGuest();
    await boot(vm);
    await command(vm, 'mark=before');
    await write(vm, 'before');
    const { snapshot, operation } = await take(vm, 'memory', 'ram');
    await center.done(operation);
    await write(vm, 'after');
    const restore = async () => endOf(await center.vms.snapshots.restore(owner, snapshot.id));

    // A disk more: refused, and nothing has gone back.
    const data = await center.vms.disks.create(owner, { name: 'data', sizeBytes: mib });
    await center.done(await center.vms.attachDisk(owner, vm.id, { diskId: data.id, readOnly: true }));
    expect(await restore()).toMatchObject({
      status: 'failed',
      result: expect.stringMatching(
        /other hardware now: the disk data was not there, and is virtio-blk-pci at port\d+$/,
      ) as string,
    });
    expect(await read(vm)).toBe('after');
    await center.done(await center.vms.detachDisk(owner, vm.id, data.id));
    expect(await restore()).toMatchObject({ status: 'done' });
    expect(await command(vm, 'echo $mark')).toBe('before');
    expect(await read(vm)).toBe('before');

    await act(vm, 'force-stop');
    await center.vms.change(owner, vm.id, { cpus: 1 });
    await start(vm);
    await write(vm, 'one-cpu');
    expect((await restore()).result).toContain('CPUs was 2 of 4, and is 1 of 4');
    expect(await read(vm)).toBe('one-cpu');

    // One of before hardware was kept: QEMU finds it out itself, when it is too late.
    await center.db
      .updateTable('vm_snapshots')
      .set({ hardware: null })
      .where('id', '=', snapshot.id)
      .execute();
    expect(await restore()).toMatchObject({ status: 'failed' });
    const broken = { status: 'unknown', allowed: ['force-stop'] };
    expect(await center.vms.get(vm.id)).toMatchObject({
      ...broken,
      reason: expect.stringContaining('It can only be ended by force') as string,
    });
    await center.restart();
    expect((await running(vm)).status).toBe('paused');
    await center.when(vm.id, ({ pid }) => pid !== null);
    expect(await center.vms.get(vm.id)).toMatchObject(broken);
    await expect(center.vms.act(owner, vm.id, 'resume')).rejects.toMatchObject({ code: 'VM_WRONG_STATE' });
    await act(vm, 'force-stop');

    // Within the file of a machine that is stopped.
    await center.done(await center.vms.snapshots.remove(owner, snapshot.id));
    expect(await snapshots(vm)).toEqual([]);
    await start(vm);
    expect(await read(vm)).toBe('before');
    expect((await (await running(vm)).disks()).flatMap(({ tags }) => tags)).toEqual([]);
  }, 240_000);

  it('goes also when its disks have gone back to another one', async () => {
    const vm = await machine();
    const { snapshot, operation } = await take(vm, 'disks');
    await center.done(operation);
    await act(vm, 'start');
    const memory = await take(vm, 'memory', 'ram');
    await center.done(memory.operation);
    await act(vm, 'force-stop');
    await center.done(await center.vms.snapshots.restore(owner, snapshot.id));
    expect(await files(vm)).toHaveLength(3);
    await act(vm, 'start');
    await center.done(await center.vms.snapshots.remove(owner, memory.snapshot.id));
    expect(await snapshots(vm)).toEqual(['disks ready*']);
    expect(await files(vm)).toHaveLength(2);
  }, 120_000);
});
