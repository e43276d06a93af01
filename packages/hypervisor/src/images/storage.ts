import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, realpath, type FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { printable } from '../program.ts';
import { ImageError } from './errors.ts';

export type DiskFormat = 'qcow2' | 'raw';

/**
 * The folder that holds everything of the virtual machines. It belongs to us alone (mode 0700): the checks are against
 * what a person or an image asks for, not against somebody who can already write into it.
 */
export interface Storage {
  /** The real path, without links. */
  readonly root: string;
  /** `images/NAME`. The file need not exist. @throws ImageError `bad-name` */
  imagePath(name: string): string;
  /** `disks/UUID.qcow2` or `.raw`. @throws ImageError `bad-name` */
  diskPath(diskId: string, format: DiskFormat): string;
  /** `vms/UUID`. @throws ImageError `bad-name` */
  vmDirectory(vmId: string): string;
  /**
   * The real place of a path, absolute or from the root; its folder must exist, the file itself need not.
   * @throws ImageError `outside`, `bad-name`, `missing`, `link` or `not-a-file`, with the reason
   */
  resolveInside(path: string): Promise<string>;
  /**
   * Opens an existing regular file for reading, and gives its real path with it. No link is followed.
   * @throws ImageError as {@link resolveInside}
   */
  openInside(path: string): Promise<{ path: string; file: FileHandle; bytes: number }>;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** File systems take 255 bytes; this leaves room for what we append while a file is being written. */
const maxNameBytes = 200;

function checkId(id: string, what: string): string {
  if (!uuid.test(id)) throw new ImageError('bad-name', `${printable(id)} is no ${what} id: ids are UUIDs`);
  return id;
}

/** Commas, colons, spaces and dashes are all right: nothing here builds option strings out of names. */
export function checkFileName(name: string): string {
  const refuse = (why: string) => new ImageError('bad-name', `the file name ${printable(name)} ${why}`);
  if (name === '') throw refuse('is empty');
  if (printable(name) !== name) throw refuse('has line breaks or control characters in it');
  if (/[/\\]/.test(name)) throw refuse('has a slash in it: it must be a name alone');
  // Among them `.` and `..`; and our own unfinished files begin with a dot.
  if (name.startsWith('.')) throw refuse('begins with a dot');
  if (Buffer.byteLength(name) > maxNameBytes) throw refuse(`has more than ${String(maxNameBytes)} bytes`);
  return name;
}

/** Whether a path lies in a folder, by their spelling. */
function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** An error of the system, in our words. */
function toImageError(error: unknown, path: string): unknown {
  if (!(error instanceof Error && 'code' in error)) return error;
  const shown = printable(path);
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new ImageError('missing', `there is no ${shown}`, { cause: error });
    // O_NOFOLLOW found a link, or a ring of links leads to it.
    case 'ELOOP':
      return new ImageError('link', `${shown} is a symbolic link`, { cause: error });
    // A socket cannot be opened at all.
    case 'ENXIO':
      return new ImageError('not-a-file', `${shown} is no regular file`, { cause: error });
    default:
      return error;
  }
}

function checkFile(stats: Stats, path: string): void {
  const shown = printable(path);
  if (stats.isSymbolicLink()) throw new ImageError('link', `${shown} is a symbolic link`);
  if (!stats.isFile()) throw new ImageError('not-a-file', `${shown} is no regular file`);
  // A second name somewhere else: its bytes would be read, or changed, through ours.
  if (stats.nlink > 1) {
    throw new ImageError('link', `${shown} is a hard link: the same file has ${String(stats.nlink)} names`);
  }
}

/**
 * Opens the storage, and creates its folders where they are missing.
 * @throws ImageError when the root or a folder of it is a link or no directory
 */
export async function openStorage(directory: string): Promise<Storage> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // The root itself may be reached by links (/var/lib → /data); below it there are none.
  const root = await realpath(directory);
  for (const name of ['images', 'disks', 'vms']) {
    const folder = join(root, name);
    await mkdir(folder, { mode: 0o700 }).catch(async (error: unknown) => {
      if ((await lstat(folder)).isDirectory()) return;
      throw new ImageError('outside', `${folder} must be a directory of its own, and is a link or a file`, {
        cause: error,
      });
    });
  }

  async function place(path: string): Promise<string> {
    if (printable(path) !== path)
      throw new ImageError(
        'bad-name',
        `the path ${printable(path)} has line breaks or control characters in it`,
      );
    const lexical = resolve(root, path);
    const refuse = (why: string) => new ImageError('outside', `${path} ${why}: files lie within ${root}`);
    const parent = await realpath(dirname(lexical)).catch((error: unknown) => {
      // Said before anything about what is there, so that nobody can ask us which files exist elsewhere.
      if (!isInside(root, lexical)) throw refuse('leads out of the storage');
      throw toImageError(error, path);
    });
    const real = join(parent, basename(lexical));
    if (isInside(root, real)) return real;
    throw refuse(
      isInside(root, lexical)
        ? 'leads out of the storage through a symbolic link'
        : 'leads out of the storage',
    );
  }

  return {
    root,
    imagePath: (name) => join(root, 'images', checkFileName(name)),
    diskPath: (diskId, format) => join(root, 'disks', `${checkId(diskId, 'disk')}.${format}`),
    vmDirectory: (vmId) => join(root, 'vms', checkId(vmId, 'VM')),
    async resolveInside(path) {
      const real = await place(path);
      const stats = await lstat(real).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
        throw toImageError(error, path);
      });
      if (stats) checkFile(stats, path);
      return real;
    },
    async openInside(path) {
      const real = await place(path);
      // Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const file = await open(real, flags).catch((error: unknown) => {
        throw toImageError(error, path);
      });
      try {
        const stats = await file.stat();
        checkFile(stats, path);
        return { path: real, file, bytes: stats.size };
      } catch (error) {
        await file.close();
        throw error;
      }
    },
  };
}
