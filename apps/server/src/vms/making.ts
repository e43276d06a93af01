import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, VmId, type VmId as Id } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { inOurWords, noSuchVm, wrongState } from './errors.ts';
import { chainOf, ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Carrier, Turn } from './operations.ts';
import * as repository from './repository.ts';
import { listFilesOf } from './snapshots-repository.ts';
import type { Telling } from './telling.ts';
import { sizeInWords } from './words.ts';

const CloneRequest = z.object({ from: VmId });
const DeleteRequest = z.object({ disks: z.boolean() });

export interface MakingDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  telling: Telling;
}

/** How machines are made and removed, with their files. */
export function createMaking({ db, hypervisor, telling }: MakingDeps) {
  async function attached(vmId: Id, disk: DiskRow): Promise<void> {
    await disks.updateDisk(db, disk.id, { attachment: 'attached' });
    await telling.changed(vmId);
  }

  /** What a first attempt has left is no disk yet. */
  async function prepare(disk: DiskRow): Promise<{ path: string }> {
    const { root } = await hypervisor.storage();
    const path = join(root, disk.file);
    await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
    await rm(path, { force: true });
    return { path };
  }

  async function create({ operation }: Turn): Promise<string> {
    const { vmId } = operation;
    if (!(await repository.findVm(db, vmId))) throw noSuchVm(vmId);
    const [root] = await disks.listDisksOf(db, vmId);
    if (!root) return 'made, without a disk';
    if (root.attachment === 'attaching') {
      try {
        await inOurWords(() => makeRoot(root));
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        await repository.updateVm(db, vmId, { reason: `its first disk was not made: ${words}` });
        await telling.changed(vmId);
        throw error;
      }
      await attached(vmId, root);
    }
    const on = root.image === null ? 'an empty disk' : `a disk on ${root.image}`;
    return `made, with ${on} of ${sizeInWords(root.sizeBytes)}`;
  }

  async function makeRoot(root: DiskRow): Promise<void> {
    const storage = await hypervisor.storage();
    const { path } = await prepare(root);
    const { backing } = chainOf(storage, root);
    if (backing) await hypervisor.images.createOverlay({ path, backing, sizeBytes: root.sizeBytes });
    else await hypervisor.images.createDisk({ path, sizeBytes: root.sizeBytes, format: root.format });
  }

  /** The new machine and its rows are there already; here its disks are filled. */
  async function clone({ operation }: Turn): Promise<string> {
    const { from } = CloneRequest.parse(operation.request);
    const source = await repository.findVm(db, from);
    if (!source) throw noSuchVm(from);
    if (source.status !== 'stopped' && source.status !== 'crashed') {
      throw wrongState(source.name, source.status, 'cannot be cloned');
    }
    const storage = await hypervisor.storage();
    const sources = new Map((await disks.listDisksOf(db, from)).map((disk) => [disk.slot, disk]));
    let copied = 0;
    for (const disk of await disks.listDisksOf(db, operation.vmId)) {
      if (disk.attachment !== 'attaching') continue;
      const original = sources.get(disk.slot);
      if (!original) throw new CodedError('VM_WRONG_STATE', `${source.name} has lost a disk meanwhile`);
      if (original.pending !== null) {
        const words = `a switch of the files of ${source.name} was interrupted: start it, which settles that, then clone it`;
        throw new CodedError('VM_WRONG_STATE', words);
      }
      const { path } = await prepare(disk);
      await inOurWords(() =>
        hypervisor.images.convertImage({
          source: chainOf(storage, original),
          target: path,
          targetFormat: disk.format,
          inspect: { guestWritten: true },
        }),
      );
      await attached(operation.vmId, disk);
      copied += 1;
    }
    return `a copy of ${source.name}, ${copied} ${copied === 1 ? 'disk' : 'disks'}`;
  }

  async function remove({ operation, again }: Turn): Promise<string> {
    const { vmId } = operation;
    const request = DeleteRequest.parse(operation.request);
    const vm = await repository.findVm(db, vmId);
    if (!vm) {
      if (again) return 'deleted';
      throw noSuchVm(vmId);
    }
    if (vm.status !== 'stopped' && vm.status !== 'crashed') {
      throw wrongState(vm.name, vm.status, 'cannot be deleted');
    }
    const storage = await hypervisor.storage();
    const all = await disks.listDisksOf(db, vmId);
    const going = all.filter(({ slot }) => slot === 0 || request.disks);
    // Rows first: a file that is left over costs room, a row without its file costs a machine.
    const meant = going.flatMap(({ pending }) => (pending ? [pending] : []));
    const files = [...ownFiles([...going, ...meant]), ...(await listFilesOf(db, vmId))];
    await db.transaction().execute(async (trx) => {
      for (const disk of all) {
        if (going.includes(disk)) await disks.deleteDisk(trx, disk.id);
        else await disks.updateDisk(trx, disk.id, disks.detached);
      }
      await repository.deleteVm(trx, vmId);
    });
    await removeUnneeded(db, storage, files);
    // Disks that stay may lie on files in there only if they are the first one's own, which goes.
    await rm(storage.vmDirectory(vmId), { recursive: true, force: true });
    telling.deleted(vmId);
    const stay = all.length - going.length;
    return stay === 0 ? 'deleted' : `deleted; ${stay} of its disks ${stay === 1 ? 'stays' : 'stay'}`;
  }

  return {
    create: { carryOut: create, idempotent: true },
    clone: { carryOut: clone, idempotent: true },
    delete: { carryOut: remove, idempotent: true },
  } satisfies Record<string, Carrier>;
}
