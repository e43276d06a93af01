import { statfsSync } from 'node:fs';

/** Free bytes for us on the disk that holds this directory; null: that cannot be told, as where it does not exist. */
export function freeBytes(directory: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** A run needs a few pages for its records before the first byte of output. */
const leastBytes = 64 * 1024;

/** Whether there is no room for a run here. */
export function isDiskFull(directory: string): boolean {
  return (freeBytes(directory) ?? Infinity) < leastBytes;
}
