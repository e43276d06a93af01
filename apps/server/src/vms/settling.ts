import { join } from 'node:path';
import { CodedError, isVmLive, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { removeForGood, type DiskNow, type Machine, type Storage } from '@vmo/hypervisor';
import type { Kysely, Transaction } from 'kysely';
import * as disks from './disks-repository.ts';
import type { DiskRow, KeptDisk } from './disks-repository.ts';
import { inOurWords } from './errors.ts';
import { chainOf, exists, removeUnneeded, sizeOnHost } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import { insertLeftovers } from './leftovers-repository.ts';
import type { Live } from './live.ts';
import { createMerging } from './merging.ts';
import { findVm, type MachineRow } from './repository.ts';
import * as repository from './snapshots-repository.ts';
import type { SnapshotRow } from './snapshots-repository.ts';

export interface SettlingDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  live: Live;
}

/** How the hypervisor finds a snapshot within the disks. */
export const tagOf = (snapshot: Pick<SnapshotRow, 'id'>) => `vmo-${snapshot.id}`;

type Pending = DiskRow & { pending: KeptDisk };
const isPending = (disk: DiskRow): disk is Pending => disk.pending !== null;
/** It is being put into what it lies on; else it gets a new file. */
const isMerge = ({ chain, pending }: Pending) => chain[0]?.file === pending.file;
const isOverlay = ({ file, pending }: Pending) => pending.chain[0]?.file === file;

export type Settling = ReturnType<typeof createSettling>;

/**
 * Makes our books true again where a switch of files was interrupted: by a crash of ours, a database that was away, or a
 * hypervisor that refused. What is switched to is written down before, so one of two files holds the disk; which of them,
 * QEMU says of a machine that runs, and of one that does not the files themselves.
 */
export function createSettling({ db, hypervisor, live }: SettlingDeps) {
  const merging = createMerging({ db, hypervisor });

  /** A snapshot is whole: it is kept, and the machine goes on from it. */
  async function complete(
    trx: Transaction<Database>,
    snapshot: SnapshotRow,
    sizeBytes: number | null,
  ): Promise<void> {
    const parent = (await repository.listSnapshots(trx, snapshot.vmId)).find(({ current }) => current);
    await repository.updateSnapshot(trx, snapshot.id, {
      ...{ state: 'ready', sizeBytes },
      parentId: parent?.id ?? null,
    });
    await repository.makeCurrent(trx, snapshot.vmId, snapshot.id);
  }

  /** Those that have been switched, as the machine itself says. */
  function askMachine(vm: MachineRow, open: readonly Pending[], now: readonly DiskNow[]): Set<string> {
    const switched = new Set<string>();
    for (const { id, name, file, pending } of open) {
      const found = now.find(({ diskId }) => diskId === id)?.file ?? null;
      if (found === pending.file) switched.add(id);
      else if (found !== file) {
        throw new CodedError(
          'VM_IMPOSSIBLE',
          `${name} of ${vm.name} should be on ${file} or ${pending.file}, and is on ${found ?? 'none of ours'}`,
        );
      }
    }
    return switched;
  }

  /** The same of a machine that does not run. */
  async function askFiles(storage: Storage, open: readonly Pending[]): Promise<Set<string>> {
    const switched = new Set<string>();
    const overlays: Pending[] = [];
    let written = false;
    for (const disk of open) {
      if (isMerge(disk)) {
        if (!(await exists(join(storage.root, disk.file)))) switched.add(disk.id);
      } else if (isOverlay(disk)) {
        if (!(await exists(join(storage.root, disk.pending.file)))) continue;
        overlays.push(disk);
        const image = chainOf(storage, disk.pending);
        written ||= !(await inOurWords(() => hypervisor.images.isUntouched(image)));
      }
      // Anything else went back to a snapshot, which counts when the row says so.
    }
    // All were switched at one moment, or none; and what nobody has written to shows what lies below it.
    if (written) for (const { id } of overlays) switched.add(id);
    return switched;
  }

  async function settleDisks(
    vm: MachineRow,
    machine: Machine | null,
    now: readonly DiskNow[],
  ): Promise<void> {
    const open = (await disks.listDisksOf(db, vm.id)).filter(isPending);
    const storage = await hypervisor.storage();
    const switched = machine ? askMachine(vm, open, now) : await askFiles(storage, open);
    // Before the guest may write: see `mergeDisk`.
    const merged = open.filter((disk) => switched.has(disk.id) && isMerge(disk));
    for (const { file } of merged) await removeForGood(join(storage.root, file));
    await machine?.goOn();
    const left = open
      .map(({ id, file, pending }) => (switched.has(id) ? file : pending.file))
      .filter((file) => !file.startsWith('images/'));
    await db.transaction().execute(async (trx) => {
      for (const { id, pending } of open) {
        await disks.updateDisk(trx, id, { ...(switched.has(id) ? pending : {}), pending: null });
      }
      await insertLeftovers(trx, left);
    });
    await removeUnneeded(db, storage, left);
  }

  /** Which of its disks have a snapshot with memory within them. */
  async function tagged(snapshot: SnapshotRow, now: readonly DiskNow[] | null): Promise<string[]> {
    const tag = tagOf(snapshot);
    if (now) {
      const having = now.filter(({ tags }) => tags.includes(tag)).map(({ diskId }) => diskId);
      return Object.keys(snapshot.files).filter((diskId) => having.includes(diskId));
    }
    const storage = await hypervisor.storage();
    const found: string[] = [];
    for (const [diskId, kept] of Object.entries(snapshot.files)) {
      const within = await inOurWords(() => hypervisor.images.listSnapshots(chainOf(storage, kept)));
      if (within.some(({ name }) => name === tag)) found.push(diskId);
    }
    return found;
  }

  /** One that had begun: whole, or none. */
  async function settleSnapshot(
    vm: MachineRow,
    snapshot: SnapshotRow,
    machine: Machine | null,
    now: readonly DiskNow[] | null,
  ): Promise<void> {
    const kept = Object.entries(snapshot.files);
    if (snapshot.kind === 'disk') {
      const rows = await disks.listDisksOf(db, vm.id);
      const isOn = ([diskId, { file }]: [string, KeptDisk]) =>
        rows.some(({ id, chain }) => id === diskId && chain[0]?.file === file);
      const sizeBytes = await bytesOf(Object.values(snapshot.files));
      await db.transaction().execute(async (trx) => {
        if (kept.every(isOn)) await complete(trx, snapshot, sizeBytes);
        else await repository.deleteSnapshot(trx, snapshot);
      });
      return;
    }
    const having = await tagged(snapshot, now);
    if (having.length === kept.length) {
      await db.transaction().execute((trx) => complete(trx, snapshot, null));
      return;
    }
    if (machine) await machine.deleteSnapshot(tagOf(snapshot), having);
    else await removeTags(snapshot, having);
    await db.transaction().execute((trx) => repository.deleteSnapshot(trx, snapshot));
  }

  /** Out of the files of disks that no machine uses. */
  async function removeTags(snapshot: SnapshotRow, diskIds: readonly string[]): Promise<void> {
    const storage = await hypervisor.storage();
    for (const diskId of diskIds) {
      const kept = snapshot.files[diskId];
      if (kept) {
        await inOurWords(() => hypervisor.images.deleteSnapshot(chainOf(storage, kept), tagOf(snapshot)));
      }
    }
  }

  async function bytesOf(kept: readonly KeptDisk[]): Promise<number> {
    const { root } = await hypervisor.storage();
    return sizeOnHost(kept.map(({ file }) => join(root, file)));
  }

  return {
    merging,
    complete,
    bytesOf,

    /**
     * Of one machine, in its turn: while another operation switches its files, they are not settled.
     * @throws CodedError VM_WRONG_STATE where it should run and does not answer, VM_IMPOSSIBLE where no file fits
     */
    async settle(vmId: VmId): Promise<void> {
      const vm = await findVm(db, vmId);
      if (!vm) return;
      await repository.deleteNeverBegun(db, vmId);
      const begun = (await repository.listSnapshots(db, vmId)).filter(({ state }) => state === 'creating');
      const hasBegun = begun.filter(({ files }) => Object.keys(files).length > 0);
      const open = (await disks.listDisksOf(db, vmId)).filter(isPending);
      const machine =
        isVmLive(vm.status) && hasBegun.length + open.length > 0 ? await live.require(vmId, vm.name) : null;
      if (isVmLive(vm.status) && !machine) return;
      const now = machine ? await inOurWords(() => machine.settleDisks()) : null;
      if (open.length > 0) await settleDisks(vm, machine, now ?? []);
      for (const snapshot of hasBegun) await settleSnapshot(vm, snapshot, machine, now);
      if (!machine) await merging.finishRenames(vm);
    },
  };
}
