import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Storage } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { Logger } from '../kernel/logger.ts';
import { filterNeeded } from './disks-repository.ts';
import { filterDeleted } from './operations-repository.ts';
import { filterVms } from './repository.ts';

export interface OrphansDeps {
  db: Kysely<Database>;
  storage(): Promise<Storage>;
  logger: Logger;
}

/**
 * Removes folders of machines that were deleted when we ended before their files were. A folder without a row and
 * without a word of its deletion stays: with another database, every machine would look like that.
 */
export async function removeOrphans({ db, storage: open, logger }: OrphansDeps): Promise<void> {
  const storage = await open();
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
