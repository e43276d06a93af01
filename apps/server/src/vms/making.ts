import { constants } from 'node:fs';
import { chmod, copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isVmLive, VmId, type VmId as Id } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { sizeInWords } from '../kernel/words.ts';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import { requireReady } from './attaching.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { inOurWords, noSuchVm, toCoded, wrongState } from './errors.ts';
import { chainOf, exists, ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Carrier, Turn } from './operations.ts';
import { keepRequest } from './operations-repository.ts';
import * as repository from './repository.ts';
import { listFilesOf } from './snapshots-repository.ts';
import type { Telling } from './telling.ts';

const CreateRequest = z.object({ smallGuest: z.boolean().default(false) });
const CloneRequest = z.union([
  z.object({ from: VmId }),
  /** Disks that a throw-away machine left, by the places that they had in it. */
  z.object({ kept: z.array(disks.KeptDisk.extend({ slot: z.int() })) }),
]);
export type KeptDisks = Extract<z.infer<typeof CloneRequest>, { kept: unknown }>['kept'];
const DeleteRequest = z.object({
  disks: z.boolean(),
  /** That go with the rows; there as soon as those are gone. */
  files: z.array(z.string()).default([]),
});

export interface MakingDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  telling: Telling;
  /** Makes the files of a machine's disks what its rows say. */
  settle: (vmId: Id) => Promise<unknown>;
  /** Puts the small guest among the images. */
  buildSmallGuest(): Promise<void>;
}

/** How machines are made and removed, with their files. */
export function createMaking({ db, hypervisor, telling, settle, buildSmallGuest }: MakingDeps) {
  let building: Promise<void> | null = null;

  /** Once for all who want it at the same time. */
  function buildOnce(): Promise<void> {
    building ??= buildSmallGuest().finally(() => {
      building = null;
    });
    return building;
  }

  async function made(vmId: Id, disk: DiskRow, sizeBytes = disk.sizeBytes): Promise<void> {
    await disks.updateDisk(db, disk.id, { state: 'ready', sizeBytes, reason: null, code: null });
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

  /** Nothing half made stays, and the machine says why it cannot start. */
  async function giveUp(vmId: Id, what: string, thrown: unknown): Promise<void> {
    const error = toCoded(thrown);
    const reason = error instanceof CodedError ? error.message : 'the server log says why';
    const code = error instanceof CodedError ? error.code : 'INTERNAL';
    const { root } = await hypervisor.storage();
    for (const disk of await disks.listDisksOf(db, vmId)) {
      await rm(join(root, disk.file), { force: true });
      await disks.updateDisk(db, disk.id, { state: 'failed', reason, code });
    }
    await repository.updateVm(db, vmId, { reason: `${what}: ${reason}` });
    await telling.changed(vmId);
  }

  async function create({ operation }: Turn): Promise<string> {
    const { vmId } = operation;
    if (!(await repository.findVm(db, vmId))) throw noSuchVm(vmId);
    if (CreateRequest.parse(operation.request).smallGuest) {
      try {
        await inOurWords(buildOnce);
      } catch (error) {
        await giveUp(vmId, 'the small guest was not built', error);
        throw error;
      }
      return 'made, with the small guest of this machine';
    }
    const [root] = await disks.listDisksOf(db, vmId);
    if (!root) return 'made, without a disk';
    if (root.state !== 'ready') {
      try {
        await inOurWords(() => makeRoot(root));
      } catch (error) {
        await giveUp(vmId, 'its first disk was not made', error);
        throw error;
      }
      await made(vmId, root);
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
    const request = CloneRequest.parse(operation.request);
    try {
      if ('kept' in request) return await copyKept(request.kept, operation.vmId);
      return await copyAll(request.from, operation.vmId);
    } catch (error) {
      await giveUp(operation.vmId, 'its disks were not copied', error);
      throw error;
    }
  }

  async function copyAll(from: Id, to: Id): Promise<string> {
    const source = await repository.findVm(db, from);
    if (!source) throw noSuchVm(from);
    if (isVmLive(source.status)) throw wrongState(source.name, source.status, 'cannot be cloned');
    await settle(from);
    const storage = await hypervisor.storage();
    const sources = new Map((await disks.listDisksOf(db, from)).map((disk) => [disk.slot, disk]));
    const copies = await disks.listDisksOf(db, to);
    for (const disk of copies) {
      if (disk.state === 'ready') continue;
      const original = sources.get(disk.slot);
      if (!original) throw new CodedError('VM_WRONG_STATE', `${source.name} has lost a disk meanwhile`);
      requireReady(original);
      const { path } = await prepare(disk);
      await inOurWords(() =>
        hypervisor.images.convertImage({
          source: chainOf(storage, original),
          target: path,
          targetFormat: disk.format,
          inspect: { guestWritten: true },
        }),
      );
      // What was asked of the source before has been done since.
      await made(to, disk, original.sizeBytes);
    }
    return `a copy of ${source.name}, ${copies.length} ${copies.length === 1 ? 'disk' : 'disks'}`;
  }

  async function copyKept(kept: KeptDisks, to: Id): Promise<string> {
    const storage = await hypervisor.storage();
    const copies = await disks.listDisksOf(db, to);
    for (const disk of copies) {
      const original = kept.find(({ slot }) => slot === disk.slot);
      if (!original || disk.state === 'ready') continue;
      const source = chainOf(storage, original);
      if (!(await exists(source.path))) {
        throw new CodedError(
          'VM_WRONG_STATE',
          'the kept disk is gone: the time was over for which it was kept',
        );
      }
      const { path } = await prepare(disk);
      // What lies on an image still lies on it; else what is below becomes part of the copy.
      const isShallow = disk.chain.length > 0;
      await inOurWords(() =>
        isShallow
          ? copyFile(source.path, path, constants.COPYFILE_FICLONE)
          : hypervisor.images.convertImage({ source, target: path, targetFormat: disk.format }),
      );
      if (isShallow) await chmod(path, 0o600);
      await made(to, disk);
    }
    return 'a machine of the kept disk';
  }

  async function remove({ operation, again }: Turn): Promise<string> {
    const { vmId } = operation;
    const request = DeleteRequest.parse(operation.request);
    const vm = await repository.findVm(db, vmId);
    if (!vm) {
      if (!again) throw noSuchVm(vmId);
      await removeFiles(vmId, request.files);
      return 'deleted';
    }
    if (isVmLive(vm.status)) throw wrongState(vm.name, vm.status, 'cannot be deleted');
    const all = await disks.listDisksOf(db, vmId);
    const going = all.filter(({ slot, state }) => slot === 0 || request.disks || state !== 'ready');
    // Rows first: a file that is left over costs room, a row without its file costs a machine.
    const meant = going.flatMap(({ pending }) => (pending ? [pending] : []));
    const files = [...ownFiles([...going, ...meant]), ...(await listFilesOf(db, vmId))];
    await db.transaction().execute(async (trx) => {
      for (const disk of all) {
        if (going.includes(disk)) await disks.deleteDisk(trx, disk.id);
        else await disks.updateDisk(trx, disk.id, disks.detached);
      }
      await repository.deleteVm(trx, vmId);
      await keepRequest(trx, operation.id, { ...request, files });
    });
    await removeFiles(vmId, files);
    const stay = all.length - going.length;
    return stay === 0 ? 'deleted' : `deleted; ${stay} of its disks ${stay === 1 ? 'stays' : 'stay'}`;
  }

  async function removeFiles(vmId: Id, files: readonly string[]): Promise<void> {
    const storage = await hypervisor.storage();
    await removeUnneeded(db, storage, files);
    // Disks that stay may lie on files in there only if they are the first one's own, which goes.
    await rm(storage.vmDirectory(vmId), { recursive: true, force: true });
    telling.deleted(vmId);
  }

  return {
    create: { carryOut: create, idempotent: true },
    clone: {
      carryOut: clone,
      idempotent: true,
      holds({ request }) {
        const parsed = CloneRequest.parse(request);
        return 'from' in parsed ? [parsed.from] : [];
      },
    },
    delete: { carryOut: remove, idempotent: true },
  } satisfies Record<string, Carrier>;
}
