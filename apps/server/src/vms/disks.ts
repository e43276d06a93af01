import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, DiskId, type Disk, type DiskResize, type NewDisk } from '@vmo/contract';
import { isForeignKeyViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import { requireFree } from './attaching.ts';
import * as repository from './disks-repository.ts';
import type { DiskRow, NewDiskRow } from './disks-repository.ts';
import { inOurWords, noSuchDisk } from './errors.ts';
import { chainOf, ownFiles, removeUnneeded } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Images } from './images.ts';
import type { Operations } from './operations.ts';
import { findVm } from './repository.ts';

export interface DisksDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  images: Images;
  operations: Operations;
  grow(disk: DiskRow, sizeBytes: number): Promise<void>;
}

export function createDisks({ db, hypervisor, images, operations, grow }: DisksDeps) {
  /** Disks of nobody that are being worked on: one thing at a time. */
  const busy = new Set<string>();

  async function show(disk: DiskRow, vmName: string | null): Promise<Disk> {
    const { root } = await hypervisor.storage();
    const stats = await stat(join(root, disk.file)).catch(() => null);
    const { id, name, format, sizeBytes, image, vmId, createdAt, createdBy } = disk;
    // POSIX counts in blocks of 512 bytes, whatever the file system's own are.
    const usedBytes = stats ? stats.blocks * 512 : null;
    return { id, name, format, sizeBytes, usedBytes, image, vmId, vmName, createdAt, createdBy };
  }

  async function get(id: DiskId): Promise<Disk> {
    const disk = await repository.findDisk(db, id);
    if (!disk) throw noSuchDisk(id);
    const vm = disk.vmId === null ? undefined : await findVm(db, disk.vmId);
    return show(disk, vm?.name ?? null);
  }

  async function alone<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (busy.has(id)) throw new CodedError('DISK_IN_USE', 'something else is being done with this disk');
    busy.add(id);
    try {
      return await work();
    } finally {
      busy.delete(id);
    }
  }

  /** Makes the file, as the row is going to say. @returns the size that it got */
  async function make(
    disk: NewDiskRow,
    wanted: z.output<typeof NewDisk>,
    imageFile: NewDiskRow['chain'],
  ): Promise<number> {
    const storage = await hypervisor.storage();
    const path = join(storage.root, disk.file);
    const [source] = imageFile;
    if (!source) {
      return hypervisor.images.createDisk({ path, sizeBytes: disk.sizeBytes, format: disk.format });
    }
    const backing = chainOf(storage, { ...source, chain: [] });
    if (wanted.copy !== true) {
      return hypervisor.images.createOverlay({ path, backing, sizeBytes: disk.sizeBytes });
    }
    await hypervisor.images.convertImage({
      ...{ source: backing, target: path, targetFormat: disk.format },
      inspect: { guestWritten: true },
    });
    const image = { path, format: disk.format, guestWritten: true };
    return hypervisor.images.resizeDisk({ ...image, sizeBytes: disk.sizeBytes });
  }

  return {
    get,

    async list(): Promise<Disk[]> {
      const rows = await repository.listDisks(db);
      return Promise.all(rows.map((row) => show(row, row.vmName)));
    },

    /** @throws CodedError IMAGE_NOT_FOUND and others of images, INVALID_INPUT, STORAGE_FULL */
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
        image: overlay ? image.name : null,
        ...repository.detached,
      };
      row.sizeBytes = await inOurWords(() => make(row, wanted, below));
      try {
        const disk = await db.transaction().execute(async (trx) => {
          const inserted = await repository.insertDisk(trx, row);
          await audit.record(trx, actor, 'disk.create', id, { name: row.name, sizeBytes: row.sizeBytes });
          return inserted;
        });
        return await show(disk, null);
      } catch (error) {
        const { root } = await hypervisor.storage();
        await rm(join(root, row.file), { force: true });
        if (isForeignKeyViolation(error) && row.image !== null) throw await images.unknown(row.image);
        throw error;
      }
    },

    /** Through its machine, where it has one: also while that runs. */
    async resize(actor: Actor, id: DiskId, { sizeBytes }: z.output<typeof DiskResize>): Promise<Disk> {
      const disk = await repository.findDisk(db, id);
      if (!disk) throw noSuchDisk(id);
      if (sizeBytes < disk.sizeBytes) {
        throw invalid('sizeBytes', `must be at least ${disk.sizeBytes}: what shrinks, loses`);
      }
      const { vmId } = disk;
      if (vmId === null) {
        await alone(id, async () => {
          const size = Math.ceil(sizeBytes / 512) * 512;
          await grow(disk, size);
          await db.transaction().execute(async (trx) => {
            await repository.updateDisk(trx, id, { sizeBytes: size });
            await audit.record(trx, actor, 'disk.resize', id, { sizeBytes: size });
          });
        });
        return get(id);
      }
      const vm = await findVm(db, vmId);
      if (!vm) throw noSuchDisk(id);
      const work = {
        vm,
        kind: 'resize-disk',
        request: { diskId: id, sizeBytes },
        detail: disk.name,
      } as const;
      const operation = await db.transaction().execute((trx) => operations.insert(trx, actor, work));
      const ended = operations.ended(operation.id);
      operations.take(operation);
      const { status, result } = await ended;
      if (status === 'failed') throw new CodedError('VM_IMPOSSIBLE', result ?? 'the disk was not resized');
      return get(id);
    },

    /** @throws CodedError DISK_NOT_FOUND, DISK_IN_USE which names the machine */
    async remove(actor: Actor, id: DiskId): Promise<void> {
      const disk = await alone(id, () =>
        db.transaction().execute(async (trx) => {
          const found = await repository.lockDisk(trx, id);
          if (!found) throw noSuchDisk(id);
          const vm = found.vmId === null ? undefined : await findVm(trx, found.vmId);
          requireFree(found, vm?.name ?? null);
          await repository.deleteDisk(trx, id);
          await audit.record(trx, actor, 'disk.delete', id, { name: found.name });
          return found;
        }),
      );
      await removeUnneeded(db, await hypervisor.storage(), ownFiles([disk]));
    },
  };
}

function invalid(path: string, message: string): CodedError {
  return new CodedError('INVALID_INPUT', `${path} ${message}`, { issues: [{ path, message }] });
}
