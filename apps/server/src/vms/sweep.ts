import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Storage } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { Logger } from '../kernel/logger.ts';
import { filterNeeded } from './disks-repository.ts';
import { removeUnneeded } from './files.ts';
import { listLeftovers } from './leftovers-repository.ts';
import { filterDeleted } from './operations-repository.ts';
import { filterVms } from './repository.ts';

export interface SweepDeps {
  db: Kysely<Database>;
  storage(): Promise<Storage>;
  logger: Logger;
}

/** What is being written under a name of its own, until it is whole. */
const unfinished = /^\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(new|try)$/;

/** Removes what earlier processes of ours have left in the storage when they ended in the middle of something. */
export async function sweep({ db, storage: open, logger }: SweepDeps): Promise<void> {
  const storage = await open();
  await removeUnfinished(storage, logger);
  await removeUnneeded(db, storage, await listLeftovers(db));
  await removeFolders(db, storage, logger);
}

/** Of this process there may be some already: what is run on this host began before us. */
async function removeUnfinished({ root }: Storage, logger: Logger): Promise<void> {
  const began = Date.now() - process.uptime() * 1000;
  const machines = await readdir(join(root, 'vms'), { withFileTypes: true });
  const folders = machines.filter((entry) => entry.isDirectory()).map(({ name }) => `vms/${name}`);
  for (const folder of ['', 'disks', 'images', ...folders]) {
    // A folder may go while we look.
    const names = await readdir(join(root, folder)).catch(() => []);
    for (const name of names.filter((one) => unfinished.test(one))) {
      const file = join(root, folder, name);
      const stats = await lstat(file).catch(() => null);
      if (!stats?.isFile() || stats.mtimeMs >= began) continue;
      await rm(file, { force: true });
      logger.warn({ file }, 'a file that an earlier process had not finished was removed');
    }
  }
}

/**
 * Removes folders of machines that were deleted when we ended before their files were. A folder without a row and
 * without a word of its deletion stays: with another database, every machine would look like that.
 */
async function removeFolders(db: Kysely<Database>, storage: Storage, logger: Logger): Promise<void> {
  // No link is followed: the folder of a machine is a directory of its own.
  const entries = await readdir(join(storage.root, 'vms'), { withFileTypes: true });
  const ids = entries
    .filter((entry) => entry.isDirectory() && VmId.safeParse(entry.name).success)
    .map(({ name }) => name);
  const known = await filterVms(db, ids);
  const unknown = ids.filter((id) => !known.has(id));
  const deleted = await filterDeleted(db, unknown);
  for (const id of unknown) {
    const directory = storage.vmDirectory(id);
    if (!deleted.has(id)) {
      logger.warn(
        { vmId: id, directory },
        'a folder of a machine that is not in this database is left alone',
      );
      continue;
    }
    const files = (await readdir(directory, { recursive: true })).map((file) => `vms/${id}/${file}`);
    if ((await filterNeeded(db, files)).size > 0) {
      logger.warn(
        { vmId: id, directory },
        'the folder of a deleted machine holds files that others need: it stays',
      );
      continue;
    }
    await rm(directory, { recursive: true, force: true });
    logger.warn({ vmId: id, directory }, 'the folder that a deleted machine had left was removed');
  }
}
