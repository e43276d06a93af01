import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, type JobId, type MachineRequest, type NeededImage } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { inOurWords } from './errors.ts';
import { chainOf } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { ImageCopies } from './image-copies.ts';
import { findImage } from './images-repository.ts';

export interface ReceivedDeps {
  db: Kysely<Database>;
  hypervisor: Pick<Hypervisor, 'storage' | 'images'>;
  copies: Pick<ImageCopies, 'needed'>;
}

type Overlay = MachineRequest['overlays'][number];

/** Disks of throw-away machines that come from the machine of another agent, file by file and piece by piece. */
export function createReceived({ db, hypervisor, copies }: ReceivedDeps) {
  const folderOf = async (id: JobId) => (await hypervisor.storage()).vmDirectory(id);
  const partOf = (folder: string, index: number) => join(folder, `received-${String(index)}.part`);

  return {
    /**
     * What the disks rest on is here, as it was when they were made.
     * @throws CodedError IMAGE_NOT_FOUND that names the one that is not
     */
    async requireImages(images: readonly NeededImage[]): Promise<void> {
      for (const { name, sha256 } of images) {
        const row = await findImage(db, name);
        const isHere = row?.state === 'ready' && (await copies.needed(row)).sha256 === sha256;
        if (isHere) continue;
        const what = row ? 'is another one now' : 'is not on the server any more';
        throw new CodedError('IMAGE_NOT_FOUND', `the disk rests on the image ${name}, which ${what}`);
      }
    },

    /** Bytes that the storage has free. */
    async freeBytes(): Promise<number> {
      const { bavail, bsize } = await statfs((await hypervisor.storage()).root);
      return bavail * bsize;
    },

    /** How much of each file is here. */
    async offsets(id: JobId, count: number): Promise<number[]> {
      const folder = await folderOf(id);
      await mkdir(folder, { recursive: true, mode: 0o711 });
      return Promise.all(
        Array.from({ length: count }, (_, index) =>
          stat(partOf(folder, index)).then(
            ({ size }) => size,
            () => 0,
          ),
        ),
      );
    },

    /** At its place. */
    async write(id: JobId, index: number, offset: number, bytes: Uint8Array): Promise<void> {
      const path = partOf(await folderOf(id), index);
      await (await open(path, 'a', 0o600)).close();
      await using file = await open(path, 'r+');
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
      await file.datasync();
    },

    /**
     * Everything came: from here on it is as if the machine had run here.
     * @throws CodedError IMAGE_REFUSED when it is not what was announced, or no disk of this machine
     */
    async complete(id: JobId, overlays: readonly Overlay[], digests: readonly string[]): Promise<void> {
      const storage = await hypervisor.storage();
      const folder = storage.vmDirectory(id);
      for (const [index, { file, below, sizeBytes }] of overlays.entries()) {
        const path = partOf(folder, index);
        if ((await hashOf(path)) !== digests[index])
          throw new CodedError('IMAGE_REFUSED', 'the disk came damaged: ask for it again');
        const { backing } = chainOf(storage, { file, format: 'qcow2', chain: below });
        await inOurWords(() => hypervisor.images.putOnto({ path, backing, sizeBytes }));
      }
      for (const [index, { file }] of overlays.entries())
        await rename(partOf(folder, index), join(storage.root, file));
    },

    async discard(id: JobId): Promise<void> {
      await rm(await folderOf(id), { recursive: true, force: true });
    },
  };
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
  return hash.digest('hex');
}
