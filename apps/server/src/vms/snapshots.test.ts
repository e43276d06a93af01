import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DiskId, OperationId, type OperationKind, type Snapshot, type Vm } from '@vmo/contract';
import { sql } from 'kysely';
import { newId } from '../kernel/ids.ts';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
}, 60_000);
afterEach(async () => {
  fake.stubborn = false;
  await acceptUpdates();
  await center.stopAll();
});
afterAll(() => center[Symbol.asyncDispose]());

const mib = 1024 * 1024;
const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

async function take(vm: Vm, name: string, kind?: 'ram' | 'disk'): Promise<Snapshot> {
  const { snapshot, operation } = await center.vms.snapshots.create(owner, vm.id, {
    name,
    ...(kind && { kind }),
  });
  await center.done(operation);
  return snapshot;
}

const tree = async (vm: Vm) => {
  const all = await center.vms.snapshots.list(vm.id);
  const nameOf = (id: string | null) => all.find((one) => one.id === id)?.name ?? null;
  return all.map(({ name, parentId, current }) => `${nameOf(parentId) ?? '-'}>${name}${current ? '*' : ''}`);
};
const files = async (vm: Vm) =>
  (await readdir(join(center.storage, 'vms', vm.id))).filter((name) => name.endsWith('.qcow2'));
const rowOf = (vm: Vm) =>
  center.db.selectFrom('disks').selectAll().where('vm_id', '=', vm.id).executeTakeFirstOrThrow();

/** The database refuses updates of disks of this kind. */
async function refuseUpdates(when: string): Promise<void> {
  await sql`create or replace function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'the database refuses'; end $$`.execute(center.db);
  await sql`create trigger fault before update on disks for each row when (${sql.raw(when)}) execute function refuse()`.execute(
    center.db,
  );
}
const acceptUpdates = () => sql`drop trigger if exists fault on disks`.execute(center.db);

/** An operation that an earlier process of ours was in the middle of. */
async function begunBefore(vm: Vm, kind: OperationKind, snapshotId: string) {
  const id = OperationId.parse(newId());
  await center.db
    .insertInto('vm_operations')
    .values({
      ...{ id, kind, vm_id: vm.id, vm_name: vm.name, created_by: 'owner', status: 'running' },
      ...{ request: JSON.stringify({ snapshotId }), started_at: new Date() },
    })
    .execute();
  return { operation: { id } };
}
const start = async (vm: Vm) => center.done(await center.vms.act(owner, vm.id, 'start'));

describe('snapshots of a stopped machine', () => {
  it('are none when we ended before one was taken, and go when we ended while one was deleted', async () => {
    const vm = await center.machine('interrupted');
    const kept = await take(vm, 'kept');
    await take(vm, 'later');
    const { operation } = await begunBefore(vm, 'delete-snapshot', kept.id);
    await center.db
      .updateTable('vm_snapshots')
      .set({ state: 'deleting' })
      .where('id', '=', kept.id)
      .execute();
    // Its operation is over, and nothing of it was ever begun.
    await center.db
      .insertInto('vm_snapshots')
      .values({
        vm_id: vm.id,
        created_by: 'owner',
        id: newId(),
        name: 'half',
        kind: 'disk',
        state: 'creating',
      })
      .execute();
    await center.restart();
    expect(await center.ended(operation)).toMatchObject({ status: 'done' });
    const left = await center.vms.snapshots.list(vm.id);
    expect(left.map(({ name, state }) => [name, state])).toEqual([['later', 'ready']]);
    expect(await files(vm)).toHaveLength(2);
  });

  it('are taken when we ended before anything of it was begun', async () => {
    const vm = await center.machine('early');
    const id = newId();
    await center.db
      .insertInto('vm_snapshots')
      .values({ vm_id: vm.id, created_by: 'owner', id, name: 'asked', kind: 'disk', state: 'creating' })
      .execute();
    const { operation } = await begunBefore(vm, 'snapshot', id);
    await center.restart();
    expect(await center.ended(operation)).toMatchObject({ status: 'done', result: 'kept as asked' });
    expect(await tree(vm)).toEqual(['->asked*']);
  });

  it('are none, and leave no file, when the database refuses what had to be written of them', async () => {
    const vm = await center.machine('refused');
    const before = await files(vm);
    await refuseUpdates('old.pending is not null and new.pending is null');
    expect(await refusal(take(vm, 'one'))).toMatchObject({
      message: expect.stringContaining('snapshot failed') as string,
    });
    expect(await files(vm)).toHaveLength(2);
    await acceptUpdates();
    await start(vm);
    expect(await tree(vm)).toEqual([]);
    expect(await files(vm)).toEqual(before);
  });

  it('that were broken off are settled before the machine is cloned', async () => {
    const vm = await center.machine('unsettled');
    await refuseUpdates('old.pending is not null and new.pending is null');
    await refusal(take(vm, 'one'));
    await acceptUpdates();
    expect((await rowOf(vm)).pending).not.toBeNull();
    await center.done((await center.vms.clone(owner, vm.id, 'its-copy')).operation);
    expect((await rowOf(vm)).pending).toBeNull();
    expect(await files(vm)).toEqual(['root.qcow2']);
  });

  it('are not gone back to halfway when the database refuses', async () => {
    const vm = await center.machine('unmoved');
    const one = await take(vm, 'one');
    const [{ file }, before] = [await rowOf(vm), await files(vm)];
    await refuseUpdates('old.pending is not null and new.pending is null');
    expect(await center.ended(await center.vms.snapshots.restore(owner, one.id))).toMatchObject({
      status: 'failed',
    });
    await acceptUpdates();
    await start(vm);
    expect(await rowOf(vm)).toMatchObject({ file, pending: null });
    expect(await files(vm)).toEqual(before);
  });

  it('can only go when their deletion was interrupted in a commit, also when asked again', async () => {
    const vm = await center.machine('half-gone');
    const [one, two] = [await take(vm, 'one'), await take(vm, 'two')];
    const { images } = center.hypervisor;
    const commit = images.commitOverlay.bind(images);
    images.commitOverlay = async (...args) => {
      await commit(...args);
      throw new Error('the disk fails');
    };
    try {
      for (const snapshot of [one, two]) {
        const operation = await center.vms.snapshots.remove(owner, snapshot.id);
        expect(await center.ended(operation)).toMatchObject({ status: 'failed' });
        expect(await center.ended(await center.vms.snapshots.restore(owner, snapshot.id))).toMatchObject({
          result: `${snapshot.name} is half deleted: delete it again`,
        });
      }
    } finally {
      images.commitOverlay = commit;
    }
    await start(vm);
    await center.done(await center.vms.act(owner, vm.id, 'force-stop'));
    for (const snapshot of [one, two])
      await center.done(await center.vms.snapshots.remove(owner, snapshot.id));
    expect(await tree(vm)).toEqual([]);
    expect(await files(vm)).toHaveLength(1);
    await start(vm);
  });

  it('are deleted to the end where a file has its new name and no row says so', async () => {
    const vm = await center.machine('renamed');
    const one = await take(vm, 'one');
    await take(vm, 'two');
    const row = await rowOf(vm);
    await refuseUpdates('new.chain is distinct from old.chain');
    expect(await center.ended(await center.vms.snapshots.remove(owner, one.id))).toMatchObject({
      status: 'failed',
    });
    await acceptUpdates();
    expect(await rowOf(vm)).toMatchObject({ chain: row.chain });
    // Also by whoever only wants to start it.
    await start(vm);
    expect((await rowOf(vm)).chain).toHaveLength(1);
    await center.done(await center.vms.act(owner, vm.id, 'force-stop'));
    await center.done(await center.vms.snapshots.remove(owner, one.id));
    expect(await tree(vm)).toEqual(['->two*']);
    expect(await files(vm)).toHaveLength(2);
  });

  it('bring back the size that a disk had', async () => {
    const vm = await center.machine('resized');
    const one = await take(vm, 'one');
    const { id } = await rowOf(vm);
    await center.vms.disks.resize(owner, DiskId.parse(id), { sizeBytes: 4 * mib });
    await center.done(await center.vms.snapshots.restore(owner, one.id));
    expect((await rowOf(vm)).size_bytes).toBe(mib);
  });

  it('make a tree, by going back and on from an earlier one', async () => {
    const vm = await center.machine('tree');
    const one = await take(vm, 'one');
    await take(vm, 'two');
    expect(await tree(vm)).toEqual(['->one', 'one>two*']);
    await center.done(await center.vms.snapshots.restore(owner, one.id));
    expect(await tree(vm)).toEqual(['->one*', 'one>two']);
    await take(vm, 'three');
    expect(await tree(vm)).toEqual(['->one', 'one>two', 'one>three*']);
  });

  it('go one after another, in any order, and leave one file', async () => {
    const vm = await center.machine('merging');
    const [one, two, three] = [await take(vm, 'one'), await take(vm, 'two'), await take(vm, 'three')];
    expect(await files(vm)).toHaveLength(4);
    for (const snapshot of [two, one, three]) {
      expect((await center.done(await center.vms.snapshots.remove(owner, snapshot.id))).result).not.toContain(
        'stay',
      );
    }
    expect(await tree(vm)).toEqual([]);
    expect(await files(vm)).toHaveLength(1);
    await start(vm);
  });

  it('keep their bytes where two others lie on them', async () => {
    const vm = await center.machine('shared');
    const one = await take(vm, 'one');
    await take(vm, 'two');
    await center.done(await center.vms.snapshots.restore(owner, one.id));
    expect((await center.done(await center.vms.snapshots.remove(owner, one.id))).result).toContain('stay');
    expect(await tree(vm)).toEqual(['->two']);
  });

  it('have names of their own', async () => {
    const vm = await center.machine('named');
    await take(vm, 'one');
    expect(await refusal(take(vm, 'One'))).toMatchObject({ code: 'NAME_TAKEN' });
  });

  it('cannot have memory', async () => {
    const vm = await center.machine('asleep');
    expect(
      await refusal(center.vms.snapshots.create(owner, vm.id, { name: 'x', kind: 'ram' })),
    ).toMatchObject({
      code: 'VM_WRONG_STATE',
    });
  });
});

describe('snapshots of a running machine', () => {
  it('with memory are kept when an earlier one of the disks, on whose overlay they lie, is deleted', async () => {
    const vm = await center.machine('both-kinds');
    const early = await take(vm, 'early');
    await start(vm);
    const memory = await take(vm, 'memory', 'ram');
    const before = await files(vm);
    await center.done(await center.vms.snapshots.remove(owner, early.id));
    // The file that holds the memory is still there, and the disk is still on it.
    expect(await files(vm)).toEqual(before);
    await center.done(await center.vms.snapshots.restore(owner, memory.id));
    expect((await center.vms.snapshots.list(vm.id)).map(({ name }) => name)).toEqual(['memory']);
  });

  it('have memory unless asked otherwise, and are found under their own tag', async () => {
    const vm = await center.machine('awake');
    await start(vm);
    const ram = await take(vm, 'with-memory');
    await center.done(await center.vms.snapshots.restore(owner, ram.id));
    expect(fake.machines.get(vm.id)?.asked).toEqual([`save vmo-${ram.id}`, `load vmo-${ram.id}`]);
    const disk = await take(vm, 'disk-only', 'disk');
    expect(await refusal(center.vms.snapshots.restore(owner, disk.id))).toMatchObject({
      code: 'VM_WRONG_STATE',
      message: expect.stringContaining('stop it') as string,
    });
    expect(await center.ended(await center.vms.snapshots.restore(owner, ram.id))).toMatchObject({
      status: 'failed',
    });
    await center.done(await center.vms.snapshots.remove(owner, disk.id));
    await center.done(await center.vms.snapshots.restore(owner, ram.id));
    await center.done(await center.vms.snapshots.remove(owner, ram.id));
    expect(await tree(vm)).toEqual([]);
  });
});

describe('disks', () => {
  it('are attached to one machine at a time, and not deleted meanwhile', async () => {
    const [one, two] = [await center.machine('one'), await center.machine('two')];
    const disk = await center.vms.disks.create(owner, { name: 'data', sizeBytes: mib });
    await center.done(await center.vms.attachDisk(owner, one.id, { diskId: disk.id }));
    expect(await refusal(center.vms.attachDisk(owner, two.id, { diskId: disk.id }))).toMatchObject({
      code: 'DISK_IN_USE',
      message: 'the disk data is attached to one',
    });
    expect(await refusal(center.vms.disks.remove(owner, disk.id))).toMatchObject({ code: 'DISK_IN_USE' });
    expect(await center.vms.disks.list()).toContainEqual(
      expect.objectContaining({ name: 'data', vmName: 'one', usedBytes: expect.any(Number) as number }),
    );
    await center.done(await center.vms.detachDisk(owner, one.id, disk.id));
    await center.vms.disks.remove(owner, disk.id);
    expect(await readdir(join(center.storage, 'disks'))).not.toContain(`${disk.id}.qcow2`);
  });

  it('of a guest that does not let go are being detached until it does', async () => {
    const vm = await center.machine('stubborn');
    const disk = await center.vms.disks.create(owner, { name: 'held', sizeBytes: mib });
    await start(vm);
    await center.done(await center.vms.attachDisk(owner, vm.id, { diskId: disk.id }));
    fake.stubborn = true;
    const { result } = await center.done(await center.vms.detachDisk(owner, vm.id, disk.id));
    expect(result).toContain('has not let go');
    expect((await center.vms.get(vm.id)).disks).toMatchObject([{ root: true }, { state: 'detaching' }]);
    fake.machines.get(vm.id)?.letGoOf(disk.id);
    await center.when(vm.id, ({ disks }) => disks.length === 1);
  });

  it('grow, also through a running machine, and never shrink', async () => {
    const vm = await center.machine('growing');
    const [root] = vm.disks;
    if (!root) throw new Error('it has no disk');
    const grow = async (sizeBytes: number) => {
      const { operation } = await center.vms.disks.resize(owner, root.id, { sizeBytes });
      if (!operation) throw new Error('its machine has nothing to do with it');
      await center.done(operation);
    };
    await grow(2 * mib);
    expect((await center.vms.get(vm.id)).disks).toMatchObject([{ sizeBytes: 2 * mib }]);
    await start(vm);
    await grow(3 * mib);
    expect(fake.machines.get(vm.id)?.asked).toEqual([`resize ${root.id} ${3 * mib}`]);
    expect(await refusal(center.vms.disks.resize(owner, root.id, { sizeBytes: mib }))).toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  it('the first of which stays as long as its machine', async () => {
    const vm = await center.machine('rooted');
    const [root] = vm.disks;
    if (!root) throw new Error('it has no disk');
    expect(await refusal(center.vms.detachDisk(owner, vm.id, root.id))).toMatchObject({
      code: 'VM_IMPOSSIBLE',
    });
  });

  it('are copied with their machine, and stay when it is deleted', async () => {
    const vm = await center.machine('original');
    const disk = await center.vms.disks.create(owner, { name: 'data', sizeBytes: mib });
    await center.done(await center.vms.attachDisk(owner, vm.id, { diskId: disk.id }));
    await take(vm, 'kept');
    const made = await center.vms.clone(owner, vm.id, 'copy');
    await center.done(made.operation);
    const copy = await center.vms.get(made.vm.id);
    expect(copy.disks).toMatchObject([{ name: 'copy', root: true }, { name: 'copy-data' }]);
    await start(copy);
    const { result } = await center.done(await center.vms.remove(owner, vm.id, false));
    expect(result).toBe('deleted; 1 of its disks stays');
    expect(await readdir(join(center.storage, 'vms'))).not.toContain(vm.id);
    expect(await center.vms.disks.list()).toContainEqual(
      expect.objectContaining({ id: disk.id, vmId: null }),
    );
    expect(await refusal(center.vms.get(vm.id))).toMatchObject({ code: 'VM_NOT_FOUND' });
  });
});
