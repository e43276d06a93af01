import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { DiskFormat, ImageKind } from '@vmo/contract';
import { detectFormat } from '@vmo/hypervisor';

/** Linux's boot protocol: `HdrS` in the setup header of a bzImage. */
const setupMagic = { offset: 0x202, bytes: Buffer.from('HdrS') };
/** A program of 64 bits, as an unpacked kernel is (vmlinux). */
const elfMagic = Buffer.from('7f454c460201', 'hex');
/** How an initrd may begin: a cpio archive (newc, also with checksums), or one that the kernel unpacks. */
const initrdMagics = [
  Buffer.from('070701'),
  Buffer.from('070702'),
  Buffer.from('1f8b', 'hex'), // gzip
  Buffer.from('28b52ffd', 'hex'), // zstd
  Buffer.from('fd377a585a00', 'hex'), // xz
  Buffer.from('02214c18', 'hex'), // lz4, as the kernel wants it
  Buffer.from('425a68', 'hex'), // bzip2
  Buffer.from('5d0000', 'hex'), // lzma
];

export interface Looks {
  /** What it is by its first bytes; `disk` where nothing speaks for anything else. */
  kind: ImageKind;
  /** As a disk. */
  format: DiskFormat;
}

/** What a file is by its first bytes. No link is followed, and nothing is waited for. */
export async function lookAt(path: string): Promise<Looks> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const { size } = await file.stat();
  const head = Buffer.alloc(Math.min(size, setupMagic.offset + setupMagic.bytes.length));
  await file.read(head, 0, head.length, 0);
  const startsWith = (magic: Buffer) => head.subarray(0, magic.length).equals(magic);
  const format = (await detectFormat(file, size)).kind === 'qcow2' ? 'qcow2' : 'raw';
  const isKernel = startsWith(elfMagic) || head.subarray(setupMagic.offset).equals(setupMagic.bytes);
  if (isKernel) return { kind: 'kernel', format };
  return { kind: initrdMagics.some(startsWith) ? 'initrd' : 'disk', format };
}

const should: Readonly<Record<Exclude<ImageKind, 'disk'>, string>> = {
  kernel: 'a Linux kernel: it lacks the mark HdrS at byte 514 (bzImage), and is no ELF file (vmlinux)',
  initrd: 'an initrd: it begins neither as a cpio archive nor as a compressed one',
};

/** Why a kernel or an initrd is none; null: it is one. */
export function objection(wanted: Exclude<ImageKind, 'disk'>, looks: Looks): string | null {
  return looks.kind === wanted ? null : `this is not ${should[wanted]}`;
}
