import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, type DiskId, type ErrorCode } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Logger } from '../kernel/logger.ts';
import * as repository from './disks-repository.ts';
import type { DiskPatch, DiskRow } from './disks-repository.ts';
import { inOurWords, toCoded } from './errors.ts';
import { chainOf } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import { findImage } from './images-repository.ts';
import { insist } from './insist.ts';
import { createSemaphore } from './semaphore.ts';

/** Copies read and write all they can. What only writes metadata does not wait for them. */
const copiesAtOnce = 2;

export interface DiskWorkDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  logger: Logger;
}

export type DiskWork = ReturnType<typeof createDiskWork>;

/** A copy has nothing below it, and an image that it comes from. */
const isCopy = (disk: DiskRow) => disk.image !== null && disk.chain.length === 0;

/** Makes disks of nobody and lets them grow, behind the answer. Their rows say how it goes, also to a new process. */
export function createDiskWork({ db, hypervisor, logger }: DiskWorkDeps) {
  const underWay = new Map<DiskId, { abort: AbortController; over: Promise<void> }>();
  const copies = createSemaphore(copiesAtOnce);
  let stopped = false;

  /** @returns the size that it got */
  async function make(disk: DiskRow, signal: AbortSignal): Promise<number> {
    const { images } = hypervisor;
    const storage = await hypervisor.storage();
    const path = join(storage.root, disk.file);
    const { sizeBytes, format } = disk;
    // What a first attempt has left is no disk yet.
    await rm(path, { force: true });
    if (disk.image === null) return images.createDisk({ path, sizeBytes, format });
    const { backing } = chainOf(storage, disk);
    if (backing) return images.createOverlay({ path, backing, sizeBytes });
    const image = await findImage(db, disk.image);
    if (!image) throw new CodedError('IMAGE_NOT_FOUND', `there is no image ${disk.image}`);
    const source = { path: storage.imagePath(image.name), format: image.format ?? ('raw' as const) };
    const inspect = { guestWritten: true };
    await images.convertImage({ source, target: path, targetFormat: format, inspect, signal });
    return images.resizeDisk({ path, format, sizeBytes, ...inspect });
  }

  async function grow(disk: DiskRow, sizeBytes: number): Promise<void> {
    const storage = await hypervisor.storage();
    const request = { ...chainOf(storage, disk), sizeBytes, guestWritten: true };
    await inOurWords(() => hypervisor.images.resizeDisk(request));
  }

  function failureOf(thrown: unknown, disk: DiskRow): { reason: string; code: ErrorCode } {
    const error = toCoded(thrown);
    if (error instanceof CodedError) return { reason: error.message, code: error.code };
    logger.error({ err: error, disk: disk.id }, 'work on a disk failed unexpectedly');
    return { reason: 'something went wrong here: the server log says what', code: 'INTERNAL' };
  }

  const removeFile = async (disk: DiskRow): Promise<void> =>
    rm(join((await hypervisor.storage()).root, disk.file), { force: true });

  async function carryOut(disk: DiskRow, signal: AbortSignal): Promise<void> {
    const made = disk.state === 'creating';
    let patch: DiskPatch;
    try {
      const sizeBytes = made ? await make(disk, signal) : (disk.growTo ?? disk.sizeBytes);
      if (!made) await grow(disk, sizeBytes);
      patch = { state: 'ready', sizeBytes, growTo: null, reason: null, code: null };
      if (isCopy(disk)) patch.image = null;
    } catch (error) {
      // We are ending: the next process of ours begins it anew.
      if (stopped) return;
      if (made) await removeFile(disk);
      patch = { state: made ? 'failed' : 'ready', growTo: null, ...failureOf(error, disk) };
    }
    const isThere = await insist(
      () => repository.updateDisk(db, disk.id, patch, disk.state),
      () => stopped,
    );
    // Somebody gave it up meanwhile.
    if (!isThere && made) await removeFile(disk);
  }

  function begin(disk: DiskRow): void {
    const abort = new AbortController();
    const work = () => carryOut(disk, abort.signal);
    const over = (isCopy(disk) && disk.state === 'creating' ? copies(work) : work())
      .catch((error: unknown) => {
        if (!stopped) logger.error({ err: error, disk: disk.id }, 'work on a disk was given up');
      })
      .finally(() => underWay.delete(disk.id));
    underWay.set(disk.id, { abort, over });
  }

  return {
    /** Begins what the row of a disk says that is to be done. */
    begin,
    /** Lets a disk grow that no guest runs on. @throws CodedError */
    grow,

    /** When nothing is done with this disk any more, and its row says what came of it. undefined: nothing is. */
    settled: (id: DiskId): Promise<void> | undefined => underWay.get(id)?.over,

    /** Stops making a disk whose row is gone. */
    giveUp(id: DiskId): void {
      underWay.get(id)?.abort.abort();
    },

    /** Goes on with what was begun when we ended. */
    async start(): Promise<void> {
      for (const disk of await repository.listUnfinished(db)) begin(disk);
    },

    stop(): void {
      stopped = true;
      for (const { abort } of underWay.values()) abort.abort();
    },
  };
}
