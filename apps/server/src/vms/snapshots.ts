import { CodedError, isVmLive, SnapshotId, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import { newId } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow, KeptDisk } from './disks-repository.ts';
import { inOurWords, noSuchVm, wrongState } from './errors.ts';
import { chainOf, exists, ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import { insertLeftovers } from './leftovers-repository.ts';
import type { Live } from './live.ts';
import type { Carrier, Turn } from './operations.ts';
import { findVm, type MachineRow } from './repository.ts';
import * as repository from './snapshots-repository.ts';
import type { SnapshotRow } from './snapshots-repository.ts';
import { tagOf, type Settling } from './settling.ts';

export const SnapshotRequest = z.object({ snapshotId: SnapshotId });

export interface SnapshotsDeps {
  db: Kysely<Database>;
  jobs: Pick<Jobs, 'note'>;
  hypervisor: Hypervisor;
  live: Live;
  settling: Settling;
  logger: Logger;
}

const keep = ({ file, format, chain }: DiskRow): KeptDisk => ({ file, format, chain });

/** How snapshots are taken, gone back to and removed. */
export function createSnapshots({ db, jobs, hypervisor, live, settling, logger }: SnapshotsDeps) {
  const { merging } = settling;

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

  /** Where it was interrupted, what came of it is known by now: see `settle`. */
  async function take(turn: Turn): Promise<string> {
    const { snapshotId } = SnapshotRequest.parse(turn.operation.request);
    const snapshot = await repository.findSnapshot(db, snapshotId);
    if (!snapshot && turn.again) throw interrupted('before anything was kept');
    if (!snapshot) throw noSuchSnapshot(snapshotId);
    if (snapshot.state === 'ready') return kept(snapshot);
    try {
      await takeOne(turn, snapshot);
    } catch (error) {
      if (!(await isKept(snapshot))) throw error;
    }
    return kept(snapshot);
  }

  /** After something failed: whether it is there all the same. What is left of it goes. */
  async function isKept(snapshot: SnapshotRow): Promise<boolean> {
    try {
      await settling.settle(snapshot.vmId);
      const now = await repository.findSnapshot(db, snapshot.id);
      if (now?.state === 'creating') {
        await db.transaction().execute((trx) => repository.deleteSnapshot(trx, now));
      }
      return now?.state === 'ready';
    } catch (error) {
      // The next operation on this machine tries again: until then nothing is started on it, and nothing removed.
      logger.warn({ err: error, vmId: snapshot.vmId }, 'what came of a snapshot cannot be told yet');
      return false;
    }
  }

  async function takeOne({ operation, actor }: Turn, snapshot: SnapshotRow): Promise<void> {
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
    if (snapshot.kind === 'ram') {
      if (!machine)
        throw wrongState(vm.name, vm.status, 'has no memory to keep: take a snapshot of kind disk');
      requireQcow2(writable);
      await repository.updateSnapshot(db, snapshot.id, { files, hardware: await machine.hardware() });
      await machine.saveSnapshot(
        tagOf(snapshot),
        writable.map(({ id }) => id),
      );
      await db.transaction().execute((trx) => settling.complete(trx, { ...snapshot, files }, null));
    } else {
      const overlays = writable.map((disk) => ({ id: disk.id, to: overlayOn(vm.id, disk, keep(disk)) }));
      await db.transaction().execute(async (trx) => {
        await repository.updateSnapshot(trx, snapshot.id, { files });
        for (const { id, to } of overlays) await disks.updateDisk(trx, id, { pending: to });
      });
      await layOverlays(machine, overlays);
      const sizeBytes = await settling.bytesOf(Object.values(files));
      await db.transaction().execute(async (trx) => {
        for (const { id, to } of overlays) await disks.updateDisk(trx, id, { ...to, pending: null });
        await settling.complete(trx, { ...snapshot, files }, sizeBytes);
      });
    }
  }

  /** Every disk is written to a new file from now on; what it was stays as it is. */
  async function layOverlays(
    machine: Machine | null,
    overlays: readonly { id: string; to: KeptDisk }[],
  ): Promise<void> {
    if (machine) await machine.takeOverlays(overlays.map(({ id, to }) => ({ diskId: id, file: to.file })));
    else for (const { to } of overlays) await makeOverlay(to);
  }

  function overlayOn(vmId: VmId, disk: DiskRow, below: KeptDisk): KeptDisk {
    const file = disk.slot === 0 ? `vms/${vmId}/${newId()}.qcow2` : `disks/${newId()}.qcow2`;
    return { file, format: 'qcow2', chain: [{ file: below.file, format: below.format }, ...below.chain] };
  }

  /** @returns its size in bytes, as a guest sees it: that of what it lies on */
  async function makeOverlay(overlay: KeptDisk): Promise<number> {
    const storage = await hypervisor.storage();
    const { path, backing } = chainOf(storage, overlay);
    if (!backing) throw new Error(`the overlay ${overlay.file} lies on nothing`);
    return inOurWords(() => hypervisor.images.createOverlay({ path, backing }));
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
    if (snapshot.state !== 'ready') {
      const words = snapshot.state === 'deleting' ? 'half deleted: delete it again' : 'not kept yet';
      throw new CodedError('VM_IMPOSSIBLE', `${snapshot.name} is ${words}`);
    }
    const vm = await find(operation.vmId);
    const machine = await machineOf(vm, 'cannot go back to a snapshot');
    const matched = await match(vm, snapshot);
    if (snapshot.kind === 'ram') {
      // The guest may have run on from there: to go back twice would take that from it.
      if (turn.again) throw interrupted('so it may have gone back, or not: look at what the machine is now');
      if (!machine) throw wrongState(vm.name, vm.status, 'has no memory to fill: start it, then restore');
      requireSameFiles(snapshot, matched);
      await requireSameHardware(vm, machine, snapshot);
      await note(vm, `back to snapshot ${snapshot.name} by ${actor.name}`);
      await fillMemory(vm, machine, snapshot);
    } else {
      if (machine) throw wrongState(vm.name, vm.status, 'has its disks in use: stop it, then restore');
      await switchDisks(vm, snapshot, matched);
    }
    return `back to ${snapshot.name}`;
  }

  /** QEMU would find it out after the disks have gone back. */
  async function requireSameHardware(vm: MachineRow, machine: Machine, snapshot: SnapshotRow): Promise<void> {
    const then = snapshot.hardware;
    if (then === null) return;
    const now = await machine.hardware();
    const names = new Map<string, string>(
      (await disks.listDisks(db)).map(({ id, name }) => [id, `the disk ${name}`]),
    );
    const differences = [...new Set([...Object.keys(then), ...Object.keys(now)])]
      .filter((part) => then[part] !== now[part])
      .map(
        (part) =>
          `${names.get(part) ?? part} was ${then[part] ?? 'not there'}, and is ${now[part] ?? 'not there'}`,
      );
    if (differences.length === 0) return;
    throw new CodedError(
      'VM_IMPOSSIBLE',
      `the memory in ${snapshot.name} fits the machine as it was then, and ${vm.name} has other hardware now: ${differences.join('; ')}`,
    );
  }

  async function fillMemory(vm: MachineRow, machine: Machine, snapshot: SnapshotRow): Promise<void> {
    try {
      await machine.loadSnapshot(tagOf(snapshot), Object.keys(snapshot.files));
    } finally {
      if (machine.broken !== null) await live.tellAgain(vm.id);
    }
    await repository.makeCurrent(db, vm.id, snapshot.id);
  }

  /** Each disk goes on in a new file on what was kept; what it was is removed, unless another snapshot needs it. */
  async function switchDisks(
    vm: MachineRow,
    snapshot: SnapshotRow,
    matched: readonly { disk: DiskRow; kept: KeptDisk }[],
  ): Promise<void> {
    const storage = await hypervisor.storage();
    const overlays = matched.map(({ disk, kept }) => ({ id: disk.id, to: overlayOn(vm.id, disk, kept) }));
    await db.transaction().execute(async (trx) => {
      for (const { id, to } of overlays) await disks.updateDisk(trx, id, { pending: to });
    });
    const made: ((typeof overlays)[number] & { sizeBytes: number })[] = [];
    for (const overlay of overlays) made.push({ ...overlay, sizeBytes: await makeOverlay(overlay.to) });
    const left = ownFiles(matched.map(({ disk }) => disk));
    await db.transaction().execute(async (trx) => {
      for (const { id, to, sizeBytes } of made) {
        await disks.updateDisk(trx, id, { ...to, sizeBytes, pending: null });
      }
      await repository.makeCurrent(trx, vm.id, snapshot.id);
      await insertLeftovers(trx, left);
    });
    await removeUnneeded(db, storage, left);
  }

  /** May be begun again: from the moment that it is `deleting` a snapshot can only go. */
  async function remove(turn: Turn): Promise<string> {
    const { snapshotId } = SnapshotRequest.parse(turn.operation.request);
    const snapshot = await repository.findSnapshot(db, snapshotId);
    if (!snapshot && turn.again) return 'deleted';
    if (!snapshot) throw noSuchSnapshot(snapshotId);
    const vm = await find(turn.operation.vmId);
    const machine = await machineOf(vm, 'cannot lose a snapshot now');
    // What cannot be is said before anything is touched.
    const tags = snapshot.kind === 'ram' ? await planTags(vm, machine, snapshot) : null;
    const merge = snapshot.kind === 'disk' ? await merging.plan(vm, machine, snapshot) : null;
    await repository.updateSnapshot(db, snapshot.id, { state: 'deleting' });
    if (tags) await removeTags(snapshot, tags, machine);
    if (merge) await merging.carryOut(merge, machine);
    const left = ownFiles(Object.values(snapshot.files));
    await db.transaction().execute(async (trx) => {
      // Read again: its place in the tree may have changed.
      const now = await repository.findSnapshot(trx, snapshot.id);
      if (now) await repository.deleteSnapshot(trx, now);
      await insertLeftovers(trx, left);
    });
    await removeUnneeded(db, await hypervisor.storage(), left);
    await note(vm, `snapshot ${snapshot.name} deleted by ${turn.actor.name}`);
    return `${snapshot.name} is deleted${merge?.stays === true ? '; its bytes stay, because several others lie on them' : ''}`;
  }

  /** One with memory lies within the files of the disks, some of which the machine may have open. */
  async function planTags(vm: MachineRow, machine: Machine | null, snapshot: SnapshotRow) {
    const rows = await disks.listDisksOf(db, vm.id);
    const plan: { live: string[]; cold: KeptDisk[] } = { live: [], cold: [] };
    for (const [diskId, kept] of Object.entries(snapshot.files)) {
      const isOpen = ({ file, chain }: DiskRow) => [{ file }, ...chain].some((one) => one.file === kept.file);
      if (machine && rows.some(({ id, file }) => id === diskId && file === kept.file)) plan.live.push(diskId);
      else if (machine && rows.some(isOpen)) {
        throw wrongState(
          vm.name,
          vm.status,
          'runs on a file that this lies within: stop it, or delete the later snapshot first',
        );
      } else plan.cold.push(kept);
    }
    return plan;
  }

  async function removeTags(
    snapshot: SnapshotRow,
    { live: open, cold }: { live: string[]; cold: KeptDisk[] },
    machine: Machine | null,
  ): Promise<void> {
    const tag = tagOf(snapshot);
    if (machine && open.length > 0) await machine.deleteSnapshot(tag, open);
    const storage = await hypervisor.storage();
    for (const kept of cold) {
      const image = chainOf(storage, kept);
      // Gone with a disk that was deleted.
      if (!(await exists(image.path))) continue;
      const within = await inOurWords(() => hypervisor.images.listSnapshots(image));
      if (within.some(({ name }) => name === tag)) {
        await inOurWords(() => hypervisor.images.deleteSnapshot(image, tag));
      }
    }
  }

  return {
    snapshot: { carryOut: take, idempotent: true },
    restore: { carryOut: restore, idempotent: true },
    'delete-snapshot': { carryOut: remove, idempotent: true },
  } satisfies Record<string, Carrier>;
}

const kept = ({ name, kind }: SnapshotRow) => `kept as ${name}${kind === 'ram' ? ', with its memory' : ''}`;

/** @param what as `before anything was kept` */
const interrupted = (what: string) =>
  new CodedError('VM_WRONG_STATE', `the cockpit ended in the middle of it, ${what}`);

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
