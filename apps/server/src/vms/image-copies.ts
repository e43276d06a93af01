import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import type { Readable } from 'node:stream';
import { CodedError, type NeededImage } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Storage } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { toCoded } from './errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import * as repository from './images-repository.ts';
import type { ImageRow } from './images-repository.ts';

type Opened = Awaited<ReturnType<Storage['openInside']>>;

export interface ImageCopiesDeps {
  db: Kysely<Database>;
  hypervisor: Pick<Hypervisor, 'storage'>;
}

/** The same file, not written to since. */
export const identityOf = ({ ino, size, mtimeNs }: BigIntStats): string => [ino, size, mtimeNs].join(':');

/** Images by what is in them, for agents that have copies of their own. */
export function createImageCopies({ db, hypervisor }: ImageCopiesDeps) {
  const hashing = new Map<string, Promise<string>>();

  async function open(name: string): Promise<Opened> {
    return (await hypervisor.storage()).openInside(`images/${name}`).catch((error: unknown) => {
      throw toCoded(error);
    });
  }

  async function digest(row: ImageRow, { file, bytes }: Opened): Promise<string> {
    const identity = identityOf(await file.stat({ bigint: true }));
    if (row.sha256 !== null && row.sha256Of === identity) return row.sha256;
    const hash = createHash('sha256');
    for await (const chunk of file.createReadStream({ autoClose: false, start: 0, end: bytes - 1 }))
      hash.update(chunk as Buffer);
    const sha256 = hash.digest('hex');
    if (identityOf(await file.stat({ bigint: true })) !== identity) {
      throw new CodedError(
        'IMAGE_NOT_READY',
        `${row.name} is being written to: try again when it is complete`,
      );
    }
    await repository.updateImage(db, row.name, { sha256, sha256Of: identity });
    return sha256;
  }

  return {
    /**
     * An image as an agent elsewhere needs it. The first time after its file has changed all of it is read.
     * @throws CodedError IMAGE_NOT_READY, IMAGE_REFUSED
     */
    async needed(row: ImageRow): Promise<NeededImage> {
      await using opened = closing(await open(row.name));
      const known = hashing.get(row.name) ?? digest(row, opened).finally(() => hashing.delete(row.name));
      hashing.set(row.name, known);
      return { name: row.name, sha256: await known, sizeBytes: opened.bytes };
    },

    /** The bytes of an image from `offset` on. @throws CodedError IMAGE_NOT_FOUND */
    async read(sha256: string, offset: number): Promise<{ sizeBytes: number; bytes: Readable }> {
      for (const row of await repository.findImagesBySha256(db, sha256)) {
        const opened = await open(row.name).catch((error: unknown) => {
          if (error instanceof CodedError) return null;
          throw error;
        });
        if (!opened) continue;
        const isIt = identityOf(await opened.file.stat({ bigint: true })) === row.sha256Of;
        if (isIt && offset < opened.bytes) {
          return { sizeBytes: opened.bytes, bytes: opened.file.createReadStream({ start: offset }) };
        }
        await opened.file.close();
      }
      throw new CodedError('IMAGE_NOT_FOUND', `there is no image any more with the SHA-256 ${sha256}`);
    },
  };
}

export type ImageCopies = ReturnType<typeof createImageCopies>;

const closing = (opened: Opened) =>
  Object.assign(opened, { [Symbol.asyncDispose]: () => opened.file.close() });
