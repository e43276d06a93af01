import { open, realpath, type FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import { basename } from 'node:path';
import { printable } from '../program.ts';
import { detectFormat } from './detect.ts';
import { ImageError } from './errors.ts';
import { isUntouchedQcow2, readQcow2Header } from './qcow2-header.ts';
import { formatBytes, TiB } from './sizes.ts';
import type { DiskFormat } from './storage.ts';

/** A file with everything below it that it may read from: ours, recorded when it was made. */
export interface ImageChain {
  /** Absolute. */
  path: string;
  format: DiskFormat;
  backing?: ImageChain | undefined;
}

export interface InspectOptions {
  /** A larger disk is refused as a bomb: a file of 200 KB can claim any size. Default 2 TiB. */
  maxVirtualBytes?: number | undefined;
  /** What this image may lie on. Without it, an image with a backing file is refused. */
  backing?: ImageChain | undefined;
  /** What it lies on was a file of another machine: it is replaced before anything reads it, so it may be any. */
  replacesBacking?: boolean | undefined;
  /** A CD or DVD is wanted, so an ISO image is welcome; its format is raw. */
  cdrom?: boolean | undefined;
  /**
   * A raw disk that we made, and a guest has written to: its bytes are the guest's own affair, whatever they look like.
   * Never set for what was brought from outside.
   */
  guestWritten?: boolean | undefined;
}

export const defaultMaxVirtualBytes = 2 * TiB;

function pseudoPath(name: string): string {
  const protocol = /^([a-z][a-z0-9+.-]*):/i.exec(name)?.[1];
  return protocol === undefined ? '' : `, which QEMU would read as an address (${protocol}:)`;
}

async function samePath(named: string, ours: string): Promise<boolean> {
  // Spelled exactly as we write it; a link that leads to the same place may lead elsewhere tomorrow.
  return named === ours || (named.startsWith('/') && named === (await realpath(ours).catch(() => null)));
}

/**
 * Looks at an image with our own eyes, before any program of QEMU sees it: whether it is what it is said to be, and
 * reads from no file but itself and the files below it that we know. Opens only these.
 * @returns its virtual size in bytes, and that of its clusters (0: raw)
 * @throws ImageError that says what is wrong
 */
export async function examineImage(
  path: string,
  format: DiskFormat,
  options: InspectOptions = {},
): Promise<{ virtualBytes: number; clusterBytes: number; snapshotCount: number }> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  await using file = await open(path, flags).catch((error: unknown) => {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw missing ? new ImageError('missing', `there is no ${printable(path)}`) : error;
  });
  try {
    return await examine(file, format, options);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw new ImageError(error.problem, `${printable(basename(path))}: ${error.message}`, { cause: error });
  }
}

/** As `qemu-img` has no word for it. Of a qcow2 image only. @throws ImageError as {@link examineImage} */
export async function isUntouched(path: string, options: InspectOptions): Promise<boolean> {
  await examineImage(path, 'qcow2', options);
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const header = await readQcow2Header(file, (await file.stat()).size, Number.MAX_SAFE_INTEGER);
  return await isUntouchedQcow2(file, header);
}

async function examine(file: FileHandle, format: DiskFormat, options: InspectOptions) {
  const max = options.maxVirtualBytes ?? defaultMaxVirtualBytes;
  const stats = await file.stat();
  if (!stats.isFile()) throw new ImageError('not-a-file', 'this is no regular file');
  if (!(format === 'raw' && options.guestWritten === true)) {
    checkFormat(await detectFormat(file, stats.size), format, options.cdrom === true);
  }
  if (format === 'raw') {
    if (options.backing) throw new ImageError('backing-file', 'a raw image cannot lie on another one');
    if (stats.size === 0) throw new ImageError('wrong-format', 'this file is empty');
    if (stats.size > max) {
      throw new ImageError(
        'too-large',
        `this disk has ${String(stats.size)} bytes: the limit is ${formatBytes(max)}`,
      );
    }
    return { virtualBytes: Math.ceil(stats.size / 512) * 512, clusterBytes: 0, snapshotCount: 0 };
  }
  const { backing, ...header } = await readQcow2Header(file, stats.size, max);
  if (options.replacesBacking !== true) await checkBacking(backing, options, max);
  return header;
}

function checkFormat(
  found: Awaited<ReturnType<typeof detectFormat>>,
  format: DiskFormat,
  cdrom: boolean,
): void {
  if (found.kind === 'foreign') {
    throw new ImageError(
      'foreign-format',
      `this is ${found.name}, but qcow2 and raw are taken: ${found.advice}`,
    );
  }
  if (found.kind === 'iso' && !cdrom) {
    throw new ImageError('foreign-format', 'this is an ISO image: it can be a CD, not a disk');
  }
  if (format === 'qcow2' && found.kind !== 'qcow2') {
    throw new ImageError('wrong-format', 'this was said to be a qcow2 image, and is none: is it raw?');
  }
  if (format === 'raw' && found.kind === 'qcow2') {
    throw new ImageError('wrong-format', 'this was said to be a raw image, and is a qcow2 image');
  }
}

async function checkBacking(
  named: { file: string; format: string | null } | null,
  options: InspectOptions,
  max: number,
): Promise<void> {
  const allowed = options.backing;
  if (named === null) {
    if (allowed)
      throw new ImageError('backing-file', `it does not lie on ${printable(allowed.path)}, as it should`);
    return;
  }
  const shown = printable(named.file).slice(0, 200);
  if (!allowed || !(await samePath(named.file, allowed.path))) {
    throw new ImageError(
      'backing-file',
      `it lies on another file (${shown})${pseudoPath(named.file)}: flatten it with qemu-img convert -O qcow2 first`,
    );
  }
  // Without the name of the format QEMU would guess it from bytes that a guest may have written.
  if (named.format !== allowed.format) {
    throw new ImageError(
      'backing-file',
      `it reads ${shown} as ${printable(named.format ?? 'whatever it looks like')}, which is ${allowed.format}`,
    );
  }
  await examineImage(allowed.path, allowed.format, {
    maxVirtualBytes: max,
    backing: allowed.backing,
    // Ours since it was taken in, and checked then; a disk that became a base may hold anything.
    guestWritten: true,
  });
}
