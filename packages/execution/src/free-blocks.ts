import { execFile } from 'node:child_process';

/** Freeing is a matter of tables in the file system, not of bytes. */
const patienceMs = 30_000;

/**
 * Gives the blocks of the first `bytes` of a file back to the disk: its size and everything behind stay, and what was
 * freed reads as zeros. Node cannot do so itself; `fallocate` is part of util-linux.
 * @returns false where this file system or this machine cannot
 */
export function freeBlocks(path: string, bytes: number): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(
      'fallocate',
      ['--punch-hole', '--offset', '0', '--length', String(bytes), path],
      { timeout: patienceMs },
      (error) => {
        resolve(error === null);
      },
    );
  });
}
