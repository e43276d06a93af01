import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isVmLive, SnapshotId, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import { newId } from '../kernel/ids.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { inOurWords, noSuchVm, wrongState } from './errors.ts';
import { chainOf, ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Live } from './live.ts';
import { createMerging } from './merging.ts';
import type { Carrier, Turn } from './operations.ts';
import { findVm, type MachineRow } from './repository.ts';
import * as repository from './snapshots-repository.ts';
import type { KeptDisk, SnapshotRow } from './snapshots-repository.ts';

export const SnapshotRequest = z.object({ snapshotId: SnapshotId });

export interface SnapshotsDeps {
  db: Kysely<Database>;
  jobs: Pick<Jobs, 'note'>;
  hypervisor: Hypervisor;
  live: Live;
}

/** How the hypervisor finds a snapshot within the disks. */
const tagOf = (snapshot: SnapshotRow) => `vmo-${snapshot.id}`;

const keep = ({ file, format, chain }: DiskRow): KeptDisk => ({ file, format, chain });

/** How snapshots are taken, gone back to and removed. */
export function createSnapshots({ db, jobs, hypervisor, live }: SnapshotsDeps) {
  const merging = createMerging({ db, hypervisor });

  async function find(vmId: VmId): Promise<MachineRow> {
    const vm = await findVm(db, vmId);
    if (!vm) throw noSuchVm(vmId);
    return vm;
  }

  async function findSnapshot(turn: Turn): Promise<SnapshotRow> {
    const { snapshotId } = SnapshotRequest.parse(turn.operation.request);
    const snapshot = await repository.findSnapshot(db, snapshotId);
    if (!snapshot) throw noSuchSnapshot(snapshotId);
    return snapshot;
  }

  /** @returns null while it is stopped. @throws CodedError VM_WRONG_STATE in between */
  async function machineOf(vm: MachineRow, asked: string): Promise<Machine | null> {
    if (!isVmLive(vm.status)) return null;
    if (vm.status !== 'running' && vm.status !== 'paused') throw wrongState(vm.name, vm.status, asked);
    return live.require(vm.id, vm.name);
  }

  async function note(vm: MachineRow, words: string): Promise<void> {
    if (vm.jobId !== null && isVmLive(vm.status)) await jobs.note(vm.jobId, [words]);
  }

  async function take(turn: Turn): Promise<string> {
    const snapshot = await findSnapshot(turn);
    try {
      return await takeOne(turn, snapshot);
    } catch (error) {
      await db.transaction().execute((trx) => repository.deleteSnapshot(trx, snapshot));
      throw error;
    }
  }

  async function takeOne({ operation, actor }: Turn, snapshot: SnapshotRow): Promise<string> {
    const vm = await find(operation.vmId);
    const machine = await machineOf(vm, 'cannot be kept as a snapshot');
    const writable = (await disks.listDisksOf(db, vm.id)).filter(({ readOnly }) => !readOnly);
    if (writable.length === 0)
      throw new CodedError('VM_IMPOSSIBLE', `${vm.name} has no disk that a snapshot could be in`);
    if (writable.some(({ attachment }) => attachment !== 'attached')) {
      throw new CodedError(
        'VM_IMPOSSIBLE',
        `a disk of ${vm.name} is being attached or detached: wait for it`,
      );
    }
    await note(vm, `snapshot ${snapshot.name} (${snapshot.kind}) by ${actor.name}`);
    const files = Object.fromEntries(writable.map((disk) => [disk.id, keep(disk)]));
    const changed =
      snapshot.kind === 'ram'
        ? await saveMemory(vm, machine, snapshot, writable)
        : await layOverlays(vm, machine, writable);
    const sizeBytes = snapshot.kind === 'ram' ? null : await bytesOf(writable);
    await db.transaction().execute(async (trx) => {
      for (const disk of changed) await disks.updateDisk(trx, disk.id, keep(disk));
      const parent = (await repository.listSnapshots(trx, vm.id)).find(({ current }) => current);
      const parentId = parent?.id ?? null;
      await repository.updateSnapshot(trx, snapshot.id, { state: 'ready', files, sizeBytes, parentId });
      await repository.makeCurrent(trx, vm.id, snapshot.id);
    });
    return `kept as ${snapshot.name}${snapshot.kind === 'ram' ? ', with its memory' : ''}`;
  }

  async function saveMemory(
    vm: MachineRow,
    machine: Machine | null,
    snapshot: SnapshotRow,
    writable: readonly DiskRow[],
  ): Promise<DiskRow[]> {
    if (!machine) throw wrongState(vm.name, vm.status, 'has no memory to keep: take a snapshot of kind disk');
    requireQcow2(writable);
    await machine.saveSnapshot(
      tagOf(snapshot),
      writable.map(({ id }) => id),
    );
    return [];
  }

  /** Every disk is written to a new file from now on; what it was stays as it is. */
  async function layOverlays(
    vm: MachineRow,
    machine: Machine | null,
    writable: readonly DiskRow[],
  ): Promise<DiskRow[]> {
    const storage = await hypervisor.storage();
    const overlays = writable.map((disk): DiskRow => overlayOn(vm.id, disk, keep(disk)));
    if (machine) await machine.takeOverlays(overlays.map(({ id, file }) => ({ diskId: id, file })));
    else for (const overlay of overlays) await makeOverlay(storage.root, overlay);
    return overlays;
  }

  function overlayOn(vmId: VmId, disk: DiskRow, below: KeptDisk): DiskRow {
    const file = disk.slot === 0 ? `vms/${vmId}/${newId()}.qcow2` : `disks/${newId()}.qcow2`;
    return {
      ...disk,
      file,
      format: 'qcow2',
      chain: [{ file: below.file, format: below.format }, ...below.chain],
    };
  }

  async function makeOverlay(root: string, overlay: DiskRow): Promise<void> {
    const { backing } = chainOf(await hypervisor.storage(), overlay);
    if (!backing) throw new Error(`the overlay ${overlay.file} lies on nothing`);
    await inOurWords(() => hypervisor.images.createOverlay({ path: join(root, overlay.file), backing }));
  }

  async function bytesOf(kept: readonly DiskRow[]): Promise<number> {
    const { root } = await hypervisor.storage();
    const sizes = await Promise.all(kept.map(({ file }) => stat(join(root, file)).catch(() => null)));
    return sizes.reduce((sum, stats) => sum + (stats?.blocks ?? 0) * 512, 0);
  }

  /** What a snapshot keeps of each disk that the machine still has. @throws CodedError VM_IMPOSSIBLE where one is gone */
  async function match(vm: MachineRow, snapshot: SnapshotRow): Promise<{ disk: DiskRow; kept: KeptDisk }[]> {
    const present = new Map<string, DiskRow>(
      (await disks.listDisksOf(db, vm.id)).map((disk) => [disk.id, disk]),
    );
    return Object.entries(snapshot.files).map(([diskId, kept]) => {
      const disk = present.get(diskId);
      if (disk) return { disk, kept };
      throw new CodedError(
        'VM_IMPOSSIBLE',
        `${snapshot.name} keeps a disk that ${vm.name} does not have any more: attach it first`,
      );
    });
  }

  async function restore(turn: Turn): Promise<string> {
    const { operation, actor } = turn;
    const snapshot = await findSnapshot(turn);
    if (snapshot.state !== 'ready')
      throw new CodedError('VM_IMPOSSIBLE', `${snapshot.name} is ${snapshot.state}`);
    const vm = await find(operation.vmId);
    const machine = await machineOf(vm, 'cannot go back to a snapshot');
    const matched = await match(vm, snapshot);
    if (snapshot.kind === 'ram') {
      if (!machine) throw wrongState(vm.name, vm.status, 'has no memory to fill: start it, then restore');
      requireSameFiles(snapshot, matched);
      await note(vm, `back to snapshot ${snapshot.name} by ${actor.name}`);
      await machine.loadSnapshot(tagOf(snapshot), Object.keys(snapshot.files));
      await repository.makeCurrent(db, vm.id, snapshot.id);
    } else {
      if (machine) throw wrongState(vm.name, vm.status, 'has its disks in use: stop it, then restore');
      await switchDisks(vm, snapshot, matched);
    }
    return `back to ${snapshot.name}`;
  }

  /** Each disk goes on in a new file on what was kept; what it was is removed, unless another snapshot needs it. */
  async function switchDisks(
    vm: MachineRow,
    snapshot: SnapshotRow,
    matched: readonly { disk: DiskRow; kept: KeptDisk }[],
  ): Promise<void> {
    const storage = await hypervisor.storage();
    const overlays = matched.map(({ disk, kept }) => overlayOn(vm.id, disk, kept));
    for (const overlay of overlays) await makeOverlay(storage.root, overlay);
    await db.transaction().execute(async (trx) => {
      for (const overlay of overlays) await disks.updateDisk(trx, overlay.id, keep(overlay));
      await repository.makeCurrent(trx, vm.id, snapshot.id);
    });
    await removeUnneeded(db, storage, ownFiles(matched.map(({ disk }) => disk)));
  }

  async function remove(turn: Turn): Promise<string> {
    const snapshot = await findSnapshot(turn);
    const vm = await find(turn.operation.vmId);
    const machine = await machineOf(vm, 'cannot lose a snapshot now');
    await repository.updateSnapshot(db, snapshot.id, { state: 'deleting' });
    try {
      const words = await removeOne(vm, machine, snapshot);
      await note(vm, `snapshot ${snapshot.name} deleted by ${turn.actor.name}`);
      return words;
    } catch (error) {
      await repository.updateSnapshot(db, snapshot.id, { state: 'ready' });
      throw error;
    }
  }

  async function removeOne(vm: MachineRow, machine: Machine | null, snapshot: SnapshotRow): Promise<string> {
    const files = ownFiles(Object.values(snapshot.files));
    let words = `${snapshot.name} is deleted`;
    if (snapshot.kind === 'ram') {
      if (!machine) {
        throw wrongState(
          vm.name,
          vm.status,
          'keeps this within its disks: it is deleted while the machine runs',
        );
      }
      requireSameFiles(snapshot, await match(vm, snapshot));
      await machine.deleteSnapshot(tagOf(snapshot), Object.keys(snapshot.files));
    } else {
      const shared = await merging.mergeAbove(vm, machine, snapshot);
      if (shared) words += '; its bytes stay, because several others lie on them';
    }
    await db.transaction().execute(async (trx) => {
      // Read again: its place in the tree may have changed.
      const now = await repository.findSnapshot(trx, snapshot.id);
      if (now) await repository.deleteSnapshot(trx, now);
    });
    await removeUnneeded(db, await hypervisor.storage(), files);
    return words;
  }

  return {
    snapshot: { carryOut: take, idempotent: false },
    restore: { carryOut: restore, idempotent: false },
    'delete-snapshot': { carryOut: remove, idempotent: false },
  } satisfies Record<string, Carrier>;
}

export const noSuchSnapshot = (id: string) =>
  new CodedError('SNAPSHOT_NOT_FOUND', `there is no snapshot ${id}`);

/** @throws CodedError VM_IMPOSSIBLE */
export function requireQcow2(writable: readonly DiskRow[]): void {
  const raw = writable.find(({ format }) => format !== 'qcow2');
  if (raw) {
    throw new CodedError(
      'VM_IMPOSSIBLE',
      `a snapshot with memory lies within the disks, and ${raw.name} is raw, which has no room for it: take one of kind disk`,
    );
  }
}

/** A snapshot within a disk can be reached only while the machine writes to that very file. */
function requireSameFiles(
  snapshot: SnapshotRow,
  matched: readonly { disk: DiskRow; kept: KeptDisk }[],
): void {
  if (matched.every(({ disk, kept }) => disk.file === kept.file)) return;
  throw new CodedError(
    'VM_IMPOSSIBLE',
    `${snapshot.name} lies within the disks as they were before a later snapshot of kind disk: delete or restore that first`,
  );
}
