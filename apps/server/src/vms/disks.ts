import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CodedError,
  DiskId,
  type Disk,
  type DiskResize,
  type NewDisk,
  type VmOperation,
} from '@vmo/contract';
import { isForeignKeyViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import { requireFree, requireReady } from './attaching.ts';
import type { DiskWork } from './disk-work.ts';
import * as repository from './disks-repository.ts';
import type { DiskRow, NewDiskRow } from './disks-repository.ts';
import { noSuchDisk } from './errors.ts';
import { ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Images } from './images.ts';
import { insertLeftovers } from './leftovers-repository.ts';
import type { Operations } from './operations.ts';
import { findVm, lockVm } from './repository.ts';

/** Disks have whole ones. */
const sectorBytes = 512;

export interface DisksDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  images: Images;
  operations: Operations;
  work: DiskWork;
}

export interface Grown {
  disk: Disk;
  /** Of the machine that uses it; null: nobody does. */
  operation: VmOperation | null;
}

/** Disks as people ask for them: what takes time is done behind the answer. */
export function createDisks({ db, hypervisor, images, operations, work }: DisksDeps) {
  async function show(disk: DiskRow, vmName: string | null): Promise<Disk> {
    const { root } = await hypervisor.storage();
    const stats = await stat(join(root, disk.file)).catch(() => null);
    const { id, name, format, sizeBytes, image, vmId, state, reason, code, createdAt, createdBy } = disk;
    // POSIX counts in blocks of 512 bytes, whatever the file system's own are.
    const usedBytes = stats ? stats.blocks * 512 : null;
    return {
      ...{ id, name, format, sizeBytes, usedBytes, image, state, reason, code },
      ...{ vmId, vmName, createdAt, createdBy },
    };
  }

  async function get(id: DiskId): Promise<Disk> {
    const disk = await repository.findDisk(db, id);
    if (!disk) throw noSuchDisk(id);
    const vm = disk.vmId === null ? undefined : await findVm(db, disk.vmId);
    return show(disk, vm?.name ?? null);
  }

  async function growFree(actor: Actor, id: DiskId, sizeBytes: number): Promise<Disk> {
    const growing = await db.transaction().execute(async (trx) => {
      const disk = await repository.lockDisk(trx, id);
      if (!disk) throw noSuchDisk(id);
      requireFree(disk, null);
      requireReady(disk);
      checkGrowth(disk, sizeBytes);
      const patch = { state: 'growing', growTo: sizeBytes, reason: null, code: null } as const;
      await repository.updateDisk(trx, id, patch);
      await audit.record(trx, actor, 'disk.resize', id, { sizeBytes });
      return { ...disk, ...patch };
    });
    work.begin(growing);
    return show(growing, null);
  }

  return {
    get,

    async list(): Promise<Disk[]> {
      const rows = await repository.listDisks(db);
      return Promise.all(rows.map((row) => show(row, row.vmName)));
    },

    /** @throws CodedError IMAGE_NOT_FOUND and others of images, INVALID_INPUT; what fails later is told by its state */
    async create(actor: Actor, wanted: z.output<typeof NewDisk>): Promise<Disk> {
      const image = wanted.image === undefined ? null : (await images.finder())(wanted.image, 'disk');
      const overlay = image !== null && wanted.copy !== true;
      const sizeBytes = wanted.sizeBytes ?? image?.virtualSizeBytes ?? null;
      if (sizeBytes === null) throw invalid('sizeBytes', 'is needed for an empty disk');
      if (image && sizeBytes < (image.virtualSizeBytes ?? 0)) {
        throw invalid('sizeBytes', `must be at least ${image.virtualSizeBytes ?? 0}, the size of the image`);
      }
      if (overlay && wanted.format === 'raw') throw invalid('format', 'must be qcow2 for a disk on an image');
      const id = DiskId.parse(newId());
      const format = wanted.format ?? 'qcow2';
      const below = image ? [{ file: `images/${image.name}`, format: image.format ?? 'raw' }] : [];
      const row: NewDiskRow = {
        ...{ id, name: wanted.name, format, sizeBytes, readOnly: false, createdBy: actor.name },
        file: `disks/${id}.${format}`,
        chain: overlay ? below : [],
        // Also while it is only copied from: what is being read must not be deleted.
        image: image?.name ?? null,
        ...repository.detached,
      };
      try {
        const disk = await db.transaction().execute(async (trx) => {
          const inserted = await repository.insertDisk(trx, row);
          await audit.record(trx, actor, 'disk.create', id, { name: row.name, sizeBytes });
          return inserted;
        });
        work.begin(disk);
        return await show(disk, null);
      } catch (error) {
        if (isForeignKeyViolation(error) && row.image !== null) throw await images.unknown(row.image);
        throw error;
      }
    },

    /** Through its machine, where it has one: also while that runs. */
    async resize(
      actor: Actor,
      id: DiskId,
      { sizeBytes: wanted }: z.output<typeof DiskResize>,
    ): Promise<Grown> {
      const disk = await repository.findDisk(db, id);
      if (!disk) throw noSuchDisk(id);
      checkGrowth(disk, wanted);
      const sizeBytes = Math.ceil(wanted / sectorBytes) * sectorBytes;
      const { vmId } = disk;
      if (vmId === null) return { disk: await growFree(actor, id, sizeBytes), operation: null };
      if (disk.state === 'failed') requireReady(disk);
      const inserted = await db.transaction().execute(async (trx) => {
        const vm = await lockVm(trx, vmId);
        if (!vm) throw noSuchDisk(id);
        const request = { diskId: id, sizeBytes };
        return operations.insert(trx, actor, { vm, kind: 'resize-disk', request, detail: disk.name });
      });
      const [operation = null] = operations.take(inserted);
      return { disk: await get(id), operation };
    },

    /** @throws CodedError DISK_NOT_FOUND, DISK_IN_USE which names the machine, DISK_NOT_READY while it grows */
    async remove(actor: Actor, id: DiskId): Promise<void> {
      const disk = await db.transaction().execute(async (trx) => {
        const found = await repository.lockDisk(trx, id);
        if (!found) throw noSuchDisk(id);
        const vm = found.vmId === null ? undefined : await findVm(trx, found.vmId);
        requireFree(found, vm?.name ?? null);
        if (found.state === 'growing') requireReady(found);
        await repository.deleteDisk(trx, id);
        await insertLeftovers(trx, ownFiles([found]));
        await audit.record(trx, actor, 'disk.delete', id, { name: found.name });
        return found;
      });
      work.giveUp(id);
      await removeUnneeded(db, await hypervisor.storage(), ownFiles([disk]));
    },
  };
}

function checkGrowth(disk: DiskRow, sizeBytes: number): void {
  if (sizeBytes >= disk.sizeBytes) return;
  throw invalid('sizeBytes', `must be at least ${disk.sizeBytes}: what shrinks, loses`);
}

function invalid(path: string, message: string): CodedError {
  return new CodedError('INVALID_INPUT', `${path} ${message}`, { issues: [{ path, message }] });
}
