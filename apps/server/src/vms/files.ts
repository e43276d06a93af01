import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '@vmo/db';
import type { ImageChain, Storage } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { filterNeeded, type KeptDisk, type StoredImage } from './disks-repository.ts';
import { deleteLeftovers } from './leftovers-repository.ts';

/** A disk with everything that it lies on, as absolute paths. */
export function chainOf(storage: Storage, disk: KeptDisk): ImageChain {
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

/** @throws when it cannot be told */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** What files take on the host, in bytes; of one that is gone, nothing. */
export async function sizeOnHost(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(paths.map((path) => stat(path).catch(() => null)));
  // POSIX counts in blocks of 512 bytes, whatever the file system's own are.
  return sizes.reduce((sum, stats) => sum + (stats?.blocks ?? 0) * 512, 0);
}

/** Removes files that neither a disk nor a snapshot needs any more: those that were written down as such are done then. */
export async function removeUnneeded(
  db: Kysely<Database>,
  storage: Storage,
  files: readonly string[],
): Promise<void> {
  const needed = await filterNeeded(db, files);
  for (const file of new Set(files)) {
    if (!needed.has(file)) await rm(join(storage.root, file), { force: true });
  }
  await deleteLeftovers(db, files);
}
