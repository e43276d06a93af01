import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '@vmo/db';
import type { Machine } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { inOurWords, wrongState } from './errors.ts';
import { chainOf } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { MachineRow } from './repository.ts';
import * as repository from './snapshots-repository.ts';
import type { KeptDisk, SnapshotRow } from './snapshots-repository.ts';

/** Something that lies directly on a file that is to go. */
type Above = { disk: DiskRow } | { snapshot: SnapshotRow; diskId: string; kept: KeptDisk };

/** What lies on the files of a snapshot takes them in, so that the snapshot can go and what is later stays. */
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

  /** The disk goes on in what it lay on, which has become the same. */
  async function mergeDisk(disk: DiskRow, base: KeptDisk, machine: Machine | null): Promise<void> {
    const storage = await hypervisor.storage();
    if (machine) await machine.commitOverlay(disk.id, base.file);
    else await commit(disk);
    await disks.updateDisk(db, disk.id, base);
    await rm(join(storage.root, disk.file), { force: true });
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
    await commit(above);
    await rename(join(root, base.file), join(root, above.file));
    const without = (one: KeptDisk): KeptDisk => ({
      ...one,
      chain: one.chain.filter(({ file }) => file !== base.file),
    });
    await db.transaction().execute(async (trx) => {
      for (const disk of await disks.listDisks(trx)) {
        if (disk.chain.some(({ file }) => file === base.file)) {
          await disks.updateDisk(trx, disk.id, { chain: without(disk).chain });
        }
      }
      for (const snapshot of await repository.listAllOn(trx, base.file)) {
        const files = Object.fromEntries(
          Object.entries(snapshot.files).map(([diskId, kept]) => [diskId, without(kept)]),
        );
        await repository.updateSnapshot(trx, snapshot.id, { files });
      }
    });
  }

  return {
    /**
     * @returns whether something of it stays, because more than one lies on it
     * @throws CodedError VM_WRONG_STATE where only a stopped machine lets it happen
     */
    async mergeAbove(vm: MachineRow, machine: Machine | null, snapshot: SnapshotRow): Promise<boolean> {
      // Those of no machine as well: what was detached may lie on it.
      const all = await disks.listDisks(db);
      const others = (await repository.listSnapshots(db, vm.id)).filter(({ id }) => id !== snapshot.id);
      const found = Object.values(snapshot.files).map((base) => ({
        base,
        above: findAbove(base.file, all, others),
      }));
      if (
        machine &&
        found.some(({ above }) => above.length === 1 && above.some((one) => 'snapshot' in one))
      ) {
        throw wrongState(
          vm.name,
          vm.status,
          'uses what lies on it: stop it, or delete the later snapshot first',
        );
      }
      let stays = false;
      for (const { base, above } of found) {
        const [one, ...more] = above;
        if (!one) continue;
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
        if (more.length > 0 || isHeld || isElsewhere) stays = true;
        else if ('disk' in one) await mergeDisk(one.disk, base, machine);
        else await mergeKept(one.kept, base);
      }
      return stays;
    },
  };
}
