import { ImageError } from './errors.ts';

export const MiB = 1024 ** 2;
export const GiB = 1024 ** 3;
export const TiB = 1024 ** 4;

/** A guest's sector: the size of a disk is a multiple of it. */
const sector = 512;
const minDiskBytes = MiB;
/** What a disk may have at most, unless a lower or higher limit is set. */
export const defaultMaxDiskBytes = 16 * TiB;

/** 1536 MiB rather than 1610612736. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${String(value)} ${units[unit] ?? ''}`;
}

/**
 * A size that was asked for, in bytes, rounded up to whole sectors.
 * @throws ImageError `range`, which names the field and the range
 */
export function diskBytes(value: number, field = 'sizeBytes', max = defaultMaxDiskBytes): number {
  if (!Number.isSafeInteger(value) || value < minDiskBytes || value > max) {
    throw new ImageError(
      'range',
      `${field} is ${formatBytes(value)}: it must be a whole number from ${formatBytes(minDiskBytes)} to ${formatBytes(max)}`,
    );
  }
  return Math.ceil(value / sector) * sector;
}
