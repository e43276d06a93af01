import { chmod, lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CodedError,
  ImageName,
  type DiskFormat,
  type Image,
  type ImageKind,
  type NewImage,
} from '@vmo/contract';
import { isForeignKeyViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { toCoded } from './errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import { lookAt, objection } from './image-kinds.ts';
import * as repository from './images-repository.ts';
import type { ImageRow } from './images-repository.ts';
import { listVmsThatBoot } from './repository.ts';
import { closestTo } from './words.ts';

/** Whom an image belongs to that somebody put into the folder. */
const finder = 'found in the folder';
/** Nothing writes to what disks rest on. */
const readOnlyMode = 0o444;

export type Images = ReturnType<typeof createImages>;

/** Base images, kernels and initrds: rows, and files that nobody changes any more. */
export function createImages({ db, hypervisor }: { db: Kysely<Database>; hypervisor: Hypervisor }) {
  let scanning: Promise<void> | null = null;

  const folder = async () => join((await hypervisor.storage()).root, 'images');

  /** @returns what it is as a disk; nothing for kernels and initrds. @throws CodedError IMAGE_REFUSED */
  async function examine(
    path: string,
    kind: ImageKind,
    format: DiskFormat | null,
  ): Promise<{ format: DiskFormat | null; virtualSizeBytes: number | null }> {
    const looks = await lookAt(path);
    if (kind !== 'disk') {
      const wrong = objection(kind, looks);
      if (wrong !== null) throw new CodedError('IMAGE_REFUSED', wrong);
      return { format: null, virtualSizeBytes: null };
    }
    const known = format ?? looks.format;
    const { virtualBytes } = await hypervisor.inspect({ path, format: known });
    return { format: known, virtualSizeBytes: virtualBytes };
  }

  /** Rows for files that somebody put there, and the truth about those that changed or vanished. */
  async function scanOnce(): Promise<void> {
    const directory = await folder();
    const rows = new Map((await repository.listImages(db)).map((row) => [row.name, row]));
    const files = new Set<string>();
    for (const name of await readdir(directory)) {
      if (!ImageName.safeParse(name).success) continue;
      const stats = await lstat(join(directory, name)).catch(() => null);
      if (!stats || stats.size === 0 || stats.isDirectory()) continue;
      files.add(name);
      const row = rows.get(name);
      // What was refused stays so until it is another file.
      if (row && (row.sizeBytes === stats.size || row.state === 'uploading' || row.state === 'checking'))
        continue;
      const isLink = !stats.isFile() || stats.nlink > 1;
      await adopt(directory, name, { size: stats.size, isLink }, row);
    }
    for (const row of rows.values()) {
      if (row.state !== 'ready' || files.has(row.name)) continue;
      await repository.updateImage(db, row.name, { state: 'refused', reason: 'its file is gone' });
    }
  }

  async function adopt(
    directory: string,
    name: string,
    { size, isLink }: { size: number; isLink: boolean },
    row?: ImageRow,
  ): Promise<void> {
    const path = join(directory, name);
    // The bytes of a link may be somebody else's: they are not even looked at.
    const verdict = isLink
      ? refused('this is a link, or no file at all: copy the image here')
      : await judge(path);
    if (verdict.state === 'ready') await chmod(path, readOnlyMode).catch(() => undefined);
    const fields = { ...verdict, sizeBytes: size, receivedBytes: size, sha256: null, sha256Of: null };
    if (row) await repository.updateImage(db, name, fields);
    else await repository.insertImage(db, { name, ...fields, expectedSha256: null, createdBy: finder });
  }

  async function judge(path: string) {
    try {
      const { kind } = await lookAt(path);
      const found = await examine(path, kind, null);
      return { kind, ...found, state: 'ready' as const, reason: null };
    } catch (thrown) {
      const error = toCoded(thrown);
      const reason = error instanceof Error ? error.message : String(error);
      return refused(reason);
    }
  }

  async function scan(): Promise<void> {
    scanning ??= scanOnce().finally(() => {
      scanning = null;
    });
    await scanning;
  }

  async function get(name: string): Promise<Image> {
    const row = await repository.findImage(db, name);
    if (!row) throw await unknown(name);
    return repository.toShown(row, (await repository.countUses(db, name)).get(name) ?? 0);
  }

  async function unknown(name: string, kind?: ImageKind): Promise<CodedError> {
    const rows = (await repository.listImages(db)).filter((row) => kind === undefined || row.kind === kind);
    return noSuchImage(name, rows);
  }

  return {
    scan,
    get,
    examine,
    unknown,
    folder,

    async list(): Promise<Image[]> {
      await scan();
      const uses = await repository.countUses(db);
      return (await repository.listImages(db)).map((row) => repository.toShown(row, uses.get(row.name) ?? 0));
    },

    /**
     * Answers for one request which images there are.
     * @throws (the answer) CodedError IMAGE_NOT_FOUND, IMAGE_NOT_READY, IMAGE_REFUSED, INVALID_INPUT
     */
    async finder(): Promise<(name: string, kind: ImageKind) => ImageRow> {
      await scan();
      const rows = await repository.listImages(db);
      return (name, kind) => {
        const row = rows.find((one) => one.name === name);
        if (!row) {
          throw noSuchImage(
            name,
            rows.filter((one) => one.kind === kind),
          );
        }
        return usable(row, kind);
      };
    },

    /** @throws CodedError NAME_TAKEN */
    announce: (actor: Actor, image: z.output<typeof NewImage>): Promise<Image> =>
      db.transaction().execute(async (trx) => {
        const row = await repository.insertImage(trx, {
          ...{ name: image.name, kind: image.kind, format: image.format ?? null, sizeBytes: image.sizeBytes },
          ...{ virtualSizeBytes: null, sha256: null, sha256Of: null, expectedSha256: image.sha256 ?? null },
          ...{ state: 'uploading', receivedBytes: 0, reason: null, createdBy: actor.name },
        });
        if (!row) {
          throw new CodedError(
            'NAME_TAKEN',
            `there is an image with the name ${image.name} already: delete it first`,
          );
        }
        await audit.record(trx, actor, 'image.announce', image.name, { sizeBytes: image.sizeBytes });
        return repository.toShown(row, 0);
      }),

    /** @throws CodedError IMAGE_NOT_FOUND, IMAGE_IN_USE */
    async remove(actor: Actor, name: string): Promise<void> {
      const directory = await folder();
      try {
        await db.transaction().execute(async (trx) => {
          if (!(await repository.lockImage(trx, name))) throw await unknown(name);
          const users = await listVmsThatBoot(trx, name);
          if (users.length > 0) throw inUse(name, users);
          await repository.deleteImage(trx, name);
          await audit.record(trx, actor, 'image.delete', name);
        });
      } catch (error) {
        if (!isForeignKeyViolation(error)) throw error;
        throw inUse(name, await repository.listDisksOn(db, name));
      }
      await rm(join(directory, name), { force: true });
      await rm(join(directory, partName(name)), { force: true });
    },
  };
}

function refused(reason: string) {
  const nothing = { format: null, virtualSizeBytes: null };
  return { kind: 'disk' as const, ...nothing, state: 'refused' as const, reason };
}

/** Where the bytes of an upload wait: no name of an image begins with a dot. */
export const partName = (name: string) => `.${name}.part`;

function inUse(name: string, users: readonly string[]): CodedError {
  return new CodedError('IMAGE_IN_USE', `${name} is used by ${users.join(', ')}: delete that first`);
}

function noSuchImage(name: string, rows: readonly ImageRow[]): CodedError {
  const near = closestTo(
    name,
    rows.map((row) => row.name),
  );
  const known = near.length > 0 ? `; there is ${near.join(', ')}` : '; there are none of this kind yet';
  return new CodedError('IMAGE_NOT_FOUND', `there is no image ${name}${known}`);
}

/** @throws CodedError where it cannot be used as this kind, or not yet */
function usable(row: ImageRow, kind: ImageKind): ImageRow {
  if (row.state === 'refused') {
    throw new CodedError(
      'IMAGE_REFUSED',
      `${row.name} was refused: ${row.reason ?? 'it is not what it should be'}`,
    );
  }
  if (row.state !== 'ready') {
    const words = `${row.receivedBytes} of ${row.sizeBytes} bytes are there`;
    throw new CodedError('IMAGE_NOT_READY', `${row.name} is not complete: ${words}`);
  }
  if (row.kind !== kind) {
    throw new CodedError(
      'IMAGE_REFUSED',
      `${row.name} is an image of kind ${row.kind}, and one of kind ${kind} is needed`,
    );
  }
  return row;
}

/** The file as it shall stay. */
export const seal = (path: string) => chmod(path, readOnlyMode);
