import { mkdir, readdir, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk, DiskId, VmId } from '@vmo/contract';
import { until } from '@vmo/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { nothingTried, owner, startDatacenter, type Datacenter } from './harness.test.support.ts';
import { insertLeftovers, listLeftovers } from './leftovers-repository.ts';

/* What takes time is done behind the answer, in turn, and goes on after our end. */

const mib = 1024 * 1024;
const fake = createFakeHypervisor();

/** Work that stands still from `close` until `open`. */
function createGate() {
  let reached = Promise.withResolvers<undefined>();
  let waiting: { resolve: (value: undefined) => void; reject: (error: Error) => void }[] | null = null;
  return {
    close() {
      reached = Promise.withResolvers();
      waiting = [];
    },
    open() {
      for (const { resolve } of waiting ?? []) resolve(undefined);
      waiting = null;
    },
    /** What an earlier process has begun dies with it. */
    dropOldest() {
      waiting?.shift()?.reject(new Error('ended'));
    },
    /** When work stands at it. */
    reached: () => reached.promise,
    async pass(signal?: AbortSignal) {
      if (!waiting) return;
      const own = Promise.withResolvers<undefined>();
      waiting.push(own);
      signal?.addEventListener('abort', () => {
        own.reject(new Error('given up'));
      });
      reached.resolve(undefined);
      await own.promise;
    },
  };
}

const copying = createGate();
const growing = createGate();
const building = createGate();
const trying = createGate();
const tried: boolean[] = [];
let trialFails = false;
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({
    driver: () => fake.driver,
    strategy: () => fake.strategy,
    images: (real) => ({
      async convertImage(request) {
        await copying.pass(request.signal);
        await real.convertImage(request);
      },
      async resizeDisk(request) {
        await growing.pass();
        return real.resizeDisk(request);
      },
    }),
    async probe(again) {
      await trying.pass();
      tried.push(again);
      if (trialFails) throw new Error('the storage is gone');
      return nothingTried;
    },
    smallGuest: {
      async build() {
        await building.pass();
        const place = join(center.storage, '..');
        const guest = { kernel: join(place, 'kernel'), initrd: join(place, 'initrd') };
        const kernel = Buffer.alloc(4096);
        kernel.write('HdrS', 0x202);
        await writeFile(guest.kernel, kernel);
        await writeFile(guest.initrd, Buffer.concat([Buffer.from('070701'), Buffer.alloc(100)]));
        return guest;
      },
    },
  });
  await mkdir(join(center.storage, 'images'), { recursive: true });
  await writeFile(join(center.storage, 'images', 'base.raw'), Buffer.alloc(mib, 'b'));
}, 60_000);
afterEach(async () => {
  for (const gate of [copying, growing, building, trying]) gate.open();
  fake.silent = false;
  await center.stopAll();
});
afterAll(() => center[Symbol.asyncDispose]());

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );
const diskOf = (id: DiskId) => center.vms.disks.get(id);
const whenDisk = (id: DiskId, is: (disk: Disk) => boolean): Promise<Disk> =>
  until('the disk to be so', async () => {
    const disk = await diskOf(id);
    return is(disk) && disk;
  });
const isReady = ({ state }: Disk) => state === 'ready';
const filesOfDisks = () => readdir(join(center.storage, 'disks'));
const statusOf = async (operation: { id: Parameters<Datacenter['vms']['operation']>[0] }) =>
  (await center.vms.operation(operation.id)).status;

async function data(name: string): Promise<Disk> {
  const { id } = await center.vms.disks.create(owner, { name, sizeBytes: mib });
  return whenDisk(id, isReady);
}

describe('a disk', () => {
  it('that is copied is being made when the answer comes, holds its image, and is attached when it is made', async () => {
    copying.close();
    const disk = await center.vms.disks.create(owner, { name: 'copied', image: 'base.raw', copy: true });
    expect(disk).toMatchObject({ state: 'creating', image: 'base.raw', vmId: null, reason: null });
    await copying.reached();
    expect(await refusal(center.vms.images.remove(owner, 'base.raw'))).toMatchObject({
      code: 'IMAGE_IN_USE',
    });
    expect(await refusal(center.vms.disks.resize(owner, disk.id, { sizeBytes: 2 * mib }))).toMatchObject({
      code: 'DISK_NOT_READY',
      message: 'the disk copied is being made: wait for it',
    });
    const vm = await center.machine('waits');
    const attach = await center.vms.attachDisk(owner, vm.id, { diskId: disk.id });
    expect((await diskOf(disk.id)).state).toBe('creating');
    copying.open();
    await center.done(attach);
    expect(await diskOf(disk.id)).toMatchObject({ state: 'ready', image: null, vmName: 'waits' });
  });

  it('that is given up while it is made leaves nothing', async () => {
    copying.close();
    const before = await filesOfDisks();
    const disk = await center.vms.disks.create(owner, { name: 'given-up', image: 'base.raw', copy: true });
    await copying.reached();
    await center.vms.disks.remove(owner, disk.id);
    expect(await refusal(diskOf(disk.id))).toMatchObject({ code: 'DISK_NOT_FOUND' });
    copying.open();
    // The next copy is made behind it.
    const { id } = await center.vms.disks.create(owner, { name: 'next', image: 'base.raw', copy: true });
    await whenDisk(id, isReady);
    expect(await filesOfDisks()).toEqual([...before, `${id}.qcow2`].sort());
  });

  it('that was being made or grew when we ended is made and grown by the next process', async () => {
    const small = await data('small');
    copying.close();
    growing.close();
    const { disk: grows } = await center.vms.disks.resize(owner, small.id, { sizeBytes: 3 * mib });
    expect(grows).toMatchObject({ state: 'growing', sizeBytes: mib });
    const made = await center.vms.disks.create(owner, { name: 'again', image: 'base.raw', copy: true });
    await Promise.all([copying.reached(), growing.reached()]);
    expect(await refusal(center.vms.disks.remove(owner, small.id))).toMatchObject({ code: 'DISK_NOT_READY' });
    await center.restart();
    growing.dropOldest();
    copying.open();
    growing.open();
    expect(await whenDisk(small.id, isReady)).toMatchObject({ sizeBytes: 3 * mib, reason: null });
    expect(await whenDisk(made.id, isReady)).toMatchObject({ sizeBytes: mib, image: null });
  });

  it('that cannot be made says why, cannot be attached, and can be deleted', async () => {
    await writeFile(join(center.storage, 'images', 'vanishing.raw'), Buffer.alloc(mib, 'v'));
    copying.close();
    const disk = await center.vms.disks.create(owner, { name: 'lost', image: 'vanishing.raw', copy: true });
    await copying.reached();
    await writeFile(join(center.storage, 'images', 'vanishing.raw'), Buffer.alloc(0));
    copying.open();
    const failed = await whenDisk(disk.id, ({ state }) => state === 'failed');
    expect(failed.code).not.toBeNull();
    expect(failed.reason).not.toBeNull();
    const vm = await center.machine('spared');
    expect(await refusal(center.vms.attachDisk(owner, vm.id, { diskId: disk.id }))).toMatchObject({
      code: 'DISK_NOT_READY',
      message: expect.stringContaining('was not made') as string,
    });
    await center.vms.disks.remove(owner, disk.id);
  });

  it('of a machine grows in its turn, and the answer does not wait for that', async () => {
    const vm = await center.machine('busy');
    const [root] = vm.disks;
    if (!root) throw new Error('it has no disk');
    fake.silent = true;
    const start = await center.vms.act(owner, vm.id, 'start');
    await center.when(vm.id, ({ status }) => status === 'starting');
    const { disk, operation } = await center.vms.disks.resize(owner, root.id, { sizeBytes: 2 * mib });
    expect(disk.sizeBytes).toBe(mib);
    expect(operation).toMatchObject({ kind: 'resize-disk', status: 'queued' });
    fake.silent = false;
    await center.done(start);
    if (operation) await center.done(operation);
    expect((await diskOf(root.id)).sizeBytes).toBe(2 * mib);
  });
});

describe('the small guest', () => {
  it('is built behind the answer, once for all who want it', async () => {
    building.close();
    const made = await Promise.all([center.vms.tryVm(owner), center.vms.tryVm(owner)]);
    expect(new Set(made.map(({ vm }) => vm.name))).toEqual(new Set(['tiny-1', 'tiny-2']));
    await building.reached();
    for (const { operation } of made) expect(['queued', 'running']).toContain(await statusOf(operation));
    building.open();
    for (const { operation } of made) await center.done(operation);
    for (const { vm } of made) await center.when(vm.id, ({ status }) => status === 'running');
  });
});

describe('what this host can do', () => {
  const known = () =>
    until('what it can do', async () => {
      const host = await center.vms.host.get();
      return !host.probing && host;
    });

  it('is tried anew behind the answer, once for all who ask, and says so until it is known', async () => {
    expect(await known()).toMatchObject({ probing: false, words: 'nothing was tried' });
    trying.close();
    tried.length = 0;
    for (let asked = 0; asked < 3; asked += 1) {
      // What is known stands until something else is.
      expect(await center.vms.host.tryAgain()).toMatchObject({ probing: true, accelerator: 'tcg' });
    }
    await trying.reached();
    trialFails = true;
    trying.open();
    expect((await known()).words).toBe('it could not be tried: the storage is gone');
    trialFails = false;
    await center.vms.host.tryAgain();
    expect((await known()).words).toBe('nothing was tried');
    expect(tried).toEqual([true, true]);
  });
});

describe('many at once', () => {
  it('are written in one pass', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => (await center.machine(`pass-${index}`)).id),
    );
    const missing = '00000000-0000-7000-8000-00000000abcd' as VmId;
    const { operations, refused } = await center.vms.actOnMany(owner, [...ids, missing, ...ids], 'start');
    expect(refused).toMatchObject([{ vmId: missing, reason: `there is no machine ${missing}` }]);
    expect(operations.map(({ vmId }) => vmId)).toEqual(ids);
    // The clock of the database stands still within a transaction.
    expect(new Set(operations.map(({ createdAt }) => createdAt)).size).toBe(1);
    for (const operation of operations) await center.done(operation);
    expect(await center.audits(ids[7] ?? '')).toEqual(['vm.create', 'vm.start']);
  });
});

describe('a clone', () => {
  it('holds its source: what is asked of that waits, and its settings stay', async () => {
    const source = await center.machine('source');
    copying.close();
    const { vm: copy, operation: clone } = await center.vms.clone(owner, source.id, 'held-copy');
    await copying.reached();
    const start = await center.vms.act(owner, source.id, 'start');
    const ofCopy = await center.vms.act(owner, copy.id, 'start');
    // Something else goes through meanwhile: the queue itself does not stand still.
    await center.done(await center.vms.act(owner, (await center.machine('other')).id, 'start'));
    expect(await statusOf(start)).toBe('queued');
    expect(await statusOf(ofCopy)).toBe('queued');
    expect(await refusal(center.vms.change(owner, source.id, { cpus: 2 }))).toMatchObject({
      code: 'VM_WRONG_STATE',
      message: expect.stringContaining('about to start') as string,
    });
    expect(await center.vms.change(owner, source.id, { name: 'renamed' })).toMatchObject({ name: 'renamed' });
    copying.open();
    const [cloned, started] = [await center.done(clone), await center.done(start)];
    expect((started.startedAt ?? '') >= (cloned.finishedAt ?? 'z')).toBe(true);
    await center.done(ofCopy);
  });

  it('of a machine that is about to start fails in its turn, leaves no file, and says so', async () => {
    const source = await center.machine('racing');
    fake.silent = true;
    copying.close();
    const { operation: first } = await center.vms.clone(owner, source.id, 'first-copy');
    await copying.reached();
    const start = await center.vms.act(owner, source.id, 'start');
    const { vm: copy, operation: second } = await center.vms.clone(owner, source.id, 'second-copy');
    copying.open();
    fake.silent = false;
    await center.done(first);
    await center.done(start);
    expect(await center.ended(second)).toMatchObject({ status: 'failed', code: 'VM_WRONG_STATE' });
    const left = await center.vms.get(copy.id);
    expect(left.reason).toContain('its disks were not copied: racing is running');
    expect(left.disks).toMatchObject([{ state: 'failed' }]);
    expect(await center.ended(await center.vms.act(owner, copy.id, 'start'))).toMatchObject({
      status: 'failed',
      result: expect.stringContaining('delete the machine') as string,
    });
    await center.done(await center.vms.remove(owner, copy.id, false));
  });
});

describe('a disk that was being attached when we ended', () => {
  async function interrupt(name: string, how: { running: boolean; has: boolean; asked: boolean }) {
    const vm = await center.machine(name);
    const disk = await data(`${name}-data`);
    if (how.running) await center.done(await center.vms.act(owner, vm.id, 'start'));
    const machine = fake.machines.get(vm.id);
    if (how.has) await machine?.attachDisk({ ...disk, file: 'disks/x', readOnly: false });
    const attaching = { vm_id: vm.id, slot: 1, attachment: 'attaching' };
    await center.db.updateTable('disks').set(attaching).where('id', '=', disk.id).execute();
    const id = newId();
    if (how.asked) {
      const request = JSON.stringify({ diskId: disk.id, readOnly: false });
      const row = { id, vm_id: vm.id, vm_name: name, kind: 'attach-disk', status: 'running', request };
      await center.db
        .insertInto('vm_operations')
        .values({ ...row, created_by: 'owner' })
        .execute();
    }
    await center.restart();
    return { vm, disk, machine };
  }
  const isThere = (diskId: DiskId) => (vm: { disks: { id: DiskId; state: string }[] }) =>
    vm.disks.some(({ id, state }) => id === diskId && state === 'attached');

  it.each([
    ['to a running machine that has it', { running: true, has: true, asked: true }],
    ['to a running machine that has it not', { running: true, has: false, asked: true }],
    ['to a stopped machine', { running: false, has: false, asked: true }],
  ])('%s is attached, once', async (_what, how) => {
    const name = `attach-${String(how.running)}-${String(how.has)}`;
    const { vm, disk, machine } = await interrupt(name, how);
    await center.when(vm.id, isThere(disk.id));
    const asked = machine?.asked.filter((words) => words === `attach ${disk.id}`) ?? [];
    expect(asked).toHaveLength(how.running ? 1 : 0);
  });

  it('and of which nobody asks any more is what its machine says', async () => {
    const there = await interrupt('left-there', { running: true, has: true, asked: false });
    await center.when(there.vm.id, isThere(there.disk.id));
    const away = await interrupt('left-away', { running: true, has: false, asked: false });
    await whenDisk(away.disk.id, ({ vmId }) => vmId === null);
    const cold = await interrupt('left-cold', { running: false, has: false, asked: false });
    await whenDisk(cold.disk.id, ({ vmId }) => vmId === null);
  });
});

describe('a start', () => {
  it.each([
    ['attaching', { attachment: 'attaching' }, 'is being attached to'],
    ['creating', { state: 'creating' }, 'is being made'],
  ])('is refused while a disk is %s', async (_state, patch, words) => {
    const vm = await center.machine(`refused-${_state}`);
    const disk = await data(`refused-${_state}-data`);
    await center.done(await center.vms.attachDisk(owner, vm.id, { diskId: disk.id }));
    await center.db.updateTable('disks').set(patch).where('id', '=', disk.id).execute();
    expect(await center.ended(await center.vms.act(owner, vm.id, 'start'))).toMatchObject({
      status: 'failed',
      code: 'DISK_NOT_READY',
      result: expect.stringContaining(words) as string,
    });
    expect((await center.vms.get(vm.id)).status).toBe('stopped');
  });
});

describe('what an earlier process has left in the storage', () => {
  const long = new Date(Date.now() - 86_400_000);
  async function put(file: string, when?: Date): Promise<string> {
    const path = join(center.storage, file);
    await writeFile(path, 'bytes');
    if (when) await utimes(path, when, when);
    return path;
  }
  const isThere = (path: string) =>
    stat(path).then(
      () => true,
      () => false,
    );

  it('unfinished goes, but for what has begun since', async () => {
    const vm = await center.machine('with-rests');
    const old = await Promise.all(
      ['disks', 'images', `vms/${vm.id}`].map((folder) => put(`${folder}/.${newId()}.new`, long)),
    );
    const young = await put(`disks/.${newId()}.new`);
    const upload = await put('images/.large.raw.part', long);
    await center.restart();
    for (const path of old) expect(await isThere(path)).toBe(false);
    for (const path of [young, upload]) expect(await isThere(path)).toBe(true);
  });

  it('goes where it was to be removed, unless something needs it again; no other file does', async () => {
    const kept = await data('needed');
    const disk = await data('going-away');
    const path = join(center.storage, 'disks', `${disk.id}.qcow2`);
    // What cannot be removed now is removed later.
    await rm(path);
    await mkdir(path);
    expect(await refusal(center.vms.disks.remove(owner, disk.id))).toBeInstanceOf(Error);
    await rmdir(path);
    await put(`disks/${disk.id}.qcow2`);
    const foreign = await put(`disks/${newId()}.qcow2`);
    await insertLeftovers(center.db, [`disks/${kept.id}.qcow2`]);
    await center.restart();
    expect(await isThere(path)).toBe(false);
    for (const other of [foreign, join(center.storage, 'disks', `${kept.id}.qcow2`)])
      expect(await isThere(other)).toBe(true);
    expect(await listLeftovers(center.db)).toEqual([]);
  });
});

describe('a machine that was deleted when we ended', () => {
  const folder = (id: string) => join(center.storage, 'vms', id);

  it('takes its files along at the next start, and nothing else', async () => {
    const vm = await center.machine('going');
    const other = await center.machine('staying');
    await center.done(await center.vms.remove(owner, vm.id, false));
    const foreign = newId();
    for (const id of [vm.id, foreign, 'no-id']) {
      await mkdir(folder(id));
      await writeFile(join(folder(id), 'root.qcow2'), 'bytes');
    }
    await center.restart();
    const left = await readdir(join(center.storage, 'vms'));
    expect(left).not.toContain(vm.id);
    expect(left).toEqual(expect.arrayContaining([foreign, 'no-id', other.id]));
  });

  it('in the middle of it is deleted to its end, with the files of its disks', async () => {
    const id = newId() as VmId;
    const file = `disks/${newId()}.qcow2`;
    await mkdir(folder(id), { recursive: true });
    await writeFile(join(center.storage, file), 'bytes');
    const request = JSON.stringify({ disks: true, files: [`vms/${id}/root.qcow2`, file] });
    const row = { id: newId(), vm_id: id, vm_name: 'half', kind: 'delete', status: 'running', request };
    await center.db
      .insertInto('vm_operations')
      .values({ ...row, created_by: 'owner' })
      .execute();
    await center.restart();
    await until('the end of it', async () =>
      (await center.vms.operations(id)).every(({ status }) => status === 'done'),
    );
    expect(await readdir(join(center.storage, 'vms'))).not.toContain(id);
    expect(await filesOfDisks()).not.toContain(file.replace('disks/', ''));
  });
});
