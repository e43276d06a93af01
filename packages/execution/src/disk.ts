import { statfs } from 'node:fs/promises';

/** Free bytes for us on the disk that holds this directory; null: that cannot be told, as where it does not exist. */
export async function freeBytes(directory: string): Promise<number | null> {
  return statfs(directory).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => null,
  );
}

/** A run needs a few pages for its records before the first byte of output. */
const leastBytes = 64 * 1024;

/** Whether there is no room for a run here. */
export async function isDiskFull(directory: string): Promise<boolean> {
  return ((await freeBytes(directory)) ?? Infinity) < leastBytes;
}
