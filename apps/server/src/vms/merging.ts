import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { removeForGood, type Machine } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import * as disks from './disks-repository.ts';
import type { DiskRow, KeptDisk } from './disks-repository.ts';
import { inOurWords, wrongState } from './errors.ts';
import { chainOf, exists } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { MachineRow } from './repository.ts';
import * as repository from './snapshots-repository.ts';
import type { SnapshotRow } from './snapshots-repository.ts';

/** Something that lies directly on a file that is to go. */
type Above = { disk: DiskRow } | { snapshot: SnapshotRow; diskId: string; kept: KeptDisk };

/** What is to be done so that a snapshot can go. */
export interface Merge {
  steps: { base: KeptDisk; above: Above }[];
  /** Something of it stays, because more than one lies on it. */
  stays: boolean;
}

/**
 * What lies on the files of a snapshot takes them in, so that the snapshot can go and what is later stays. Every step may
 * be interrupted anywhere, and be done again.
 */
export function createMerging({ db, hypervisor }: { db: Kysely<Database>; hypervisor: Hypervisor }) {
  function findAbove(file: string, all: readonly DiskRow[], snapshots: readonly SnapshotRow[]): Above[] {
    const isOn = ({ chain }: KeptDisk) => chain[0]?.file === file;
    return [
      ...all.filter(isOn).map((disk) => ({ disk })),
      ...snapshots.flatMap((snapshot) =>
        Object.entries(snapshot.files)
          .filter(([, kept]) => isOn(kept))
          .map(([diskId, kept]) => ({ snapshot, diskId, kept })),
      ),
    ];
  }

  /**
   * The disk goes on in what it lay on, which has become the same. As long as the file of the disk is there, it holds all
   * of the disk: so it goes before the row says so, and whoever finds it gone knows that the base is the disk.
   */
  async function mergeDisk(disk: DiskRow, base: KeptDisk, machine: Machine | null): Promise<void> {
    const { root } = await hypervisor.storage();
    await disks.updateDisk(db, disk.id, { pending: base });
    if (machine) await machine.commitOverlay(disk.id, base.file);
    else {
      await commit(disk);
      await removeForGood(join(root, disk.file));
    }
    await disks.updateDisk(db, disk.id, { ...base, pending: null });
  }

  async function commit(above: KeptDisk): Promise<void> {
    const image = chainOf(await hypervisor.storage(), above);
    const { backing } = image;
    if (!backing) throw new Error(`${above.file} lies on nothing`);
    await inOurWords(() => hypervisor.images.commitOverlay({ ...image, backing }));
  }

  /** Takes the place and the name of the later one, for that is what everything above it refers to. */
  async function mergeKept(above: KeptDisk, base: KeptDisk): Promise<void> {
    const { root } = await hypervisor.storage();
    if (await exists(join(root, base.file))) {
      await commit(above);
      await rename(join(root, base.file), join(root, above.file));
    }
    await forgetBase(above, base);
  }

  /** A base that has taken another's name: it lies in no chain any more. */
  async function forgetBase(above: KeptDisk, base: KeptDisk): Promise<void> {
    // Looks at what it lies on. Where that is not what the base lay on, the base is lost, and nothing may be said to be well.
    const storage = await hypervisor.storage();
    const become = { ...base, file: above.file };
    await inOurWords(() => hypervisor.images.listSnapshots(chainOf(storage, become)));
    const without = (chain: KeptDisk['chain']) => chain.filter(({ file }) => file !== base.file);
    await db.transaction().execute(async (trx) => {
      for (const disk of await disks.listDisks(trx)) {
        if (disk.chain.some(({ file }) => file === base.file)) {
          await disks.updateDisk(trx, disk.id, { chain: without(disk.chain) });
        }
      }
      for (const snapshot of await repository.listAllOn(trx, base.file)) {
        const files = Object.fromEntries(
          Object.entries(snapshot.files).map(([diskId, kept]) => [
            diskId,
            { ...kept, chain: without(kept.chain) },
          ]),
        );
        await repository.updateSnapshot(trx, snapshot.id, { files });
      }
    });
  }

  return {
    /** @throws CodedError VM_WRONG_STATE where only a stopped machine lets it happen */
    async plan(vm: MachineRow, machine: Machine | null, snapshot: SnapshotRow): Promise<Merge> {
      // Those of no machine as well: what was detached may lie on it.
      const all = await disks.listDisks(db);
      const others = (await repository.listSnapshots(db, vm.id)).filter(({ id }) => id !== snapshot.id);
      const merge: Merge = { steps: [], stays: false };
      for (const base of Object.values(snapshot.files)) {
        const [one, ...more] = findAbove(base.file, all, others);
        if (!one) continue;
        if (machine && more.length === 0 && 'snapshot' in one) {
          throw wrongState(
            vm.name,
            vm.status,
            'uses what lies on it: stop it, or delete the later snapshot first',
          );
        }
        const kept = 'disk' in one ? one.disk : one.kept;
        const isNamed = (file: string, ...kinds: SnapshotRow['kind'][]) =>
          others.some(
            (other) =>
              kinds.includes(other.kind) && Object.values(other.files).some((named) => named.file === file),
          );
        // One with memory lies within its file under a name: what is written into the file does not touch it, but it must
        // neither go with the file nor find itself under another file's name.
        const isHeld =
          isNamed(base.file, 'disk') ||
          isNamed(kept.file, 'ram') ||
          ('snapshot' in one && isNamed(base.file, 'ram'));
        const isElsewhere = 'disk' in one ? one.disk.vmId !== vm.id : kept.format !== base.format;
        if (more.length > 0 || isHeld || isElsewhere) merge.stays = true;
        else merge.steps.push({ base, above: one });
      }
      return merge;
    },

    async carryOut({ steps }: Merge, machine: Machine | null): Promise<void> {
      for (const { base, above } of steps) {
        if ('disk' in above) await mergeDisk(above.disk, base, machine);
        else await mergeKept(above.kept, base);
      }
    },

    /** Writes down what a deletion that was interrupted had already done to the files of a stopped machine. */
    async finishRenames(vm: MachineRow): Promise<void> {
      const { root } = await hypervisor.storage();
      const all = await repository.listSnapshots(db, vm.id);
      for (const { id, kind, state, files } of all) {
        if (kind !== 'disk' || state !== 'deleting') continue;
        for (const base of Object.values(files)) {
          const others = all.filter((other) => other.id !== id);
          const above = findAbove(base.file, [], others).find((one) => 'snapshot' in one);
          if (!above || !('snapshot' in above) || (await exists(join(root, base.file)))) continue;
          if (!(await exists(join(root, above.kept.file)))) {
            throw new CodedError('VM_IMPOSSIBLE', `${base.file} and ${above.kept.file} are both missing`);
          }
          await forgetBase(above.kept, base);
        }
      }
    },
  };
}
