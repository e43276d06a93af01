import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** So that it does not come back after a loss of power, where its absence says which of two files is the disk. */
export async function removeForGood(path: string): Promise<void> {
  await rm(path, { force: true });
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
}
