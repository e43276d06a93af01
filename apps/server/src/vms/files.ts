import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '@vmo/db';
import type { ImageChain, Storage } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { filterNeeded, type DiskRow, type StoredImage } from './disks-repository.ts';

/** A disk with everything that it lies on, as absolute paths. */
export function chainOf(storage: Storage, disk: Pick<DiskRow, 'file' | 'format' | 'chain'>): ImageChain {
  const [below, ...rest] = disk.chain;
  return {
    path: join(storage.root, disk.file),
    format: disk.format,
    backing: below && chainOf(storage, { ...below, chain: rest }),
  };
}

/** All files that belong to disks alone; images belong to everybody. */
export const ownFiles = (disks: readonly { file: string; chain: readonly StoredImage[] }[]): string[] =>
  disks
    .flatMap(({ file, chain }) => [file, ...chain.map((below) => below.file)])
    .filter((file) => !file.startsWith('images/'));

/** Removes files that neither a disk nor a snapshot needs any more. */
export async function removeUnneeded(
  db: Kysely<Database>,
  storage: Storage,
  files: readonly string[],
): Promise<void> {
  const needed = await filterNeeded(db, files);
  for (const file of new Set(files)) {
    if (!needed.has(file)) await rm(join(storage.root, file), { force: true });
  }
}
