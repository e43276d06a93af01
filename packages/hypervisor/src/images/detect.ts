import type { FileHandle } from 'node:fs/promises';

/** What a file is by its first and last bytes, whatever its name or its sender says. */
export type DetectedFormat =
  | { kind: 'qcow2' }
  /** Nothing that is known: for a disk that means raw. */
  | { kind: 'unknown' }
  | { kind: 'iso' }
  /** `advice` continues "this is …, but qcow2 and raw are taken: ". */
  | { kind: 'foreign'; name: string; advice: string };

/**
 * Magic numbers by place. QEMU would find most of these by itself, which is the danger: an image that it takes for a
 * VMDK may name any file of this machine as its data.
 */
const magics: readonly { offset: number; bytes: Buffer; name: string; convert?: string; advice?: string }[] =
  [
    {
      offset: 0,
      bytes: Buffer.from('QFI\xfb\0\0\0\x01', 'latin1'),
      name: 'a qcow version 1',
      convert: 'qcow',
    },
    { offset: 0, bytes: Buffer.from('KDMV'), name: 'a VMDK', convert: 'vmdk' },
    { offset: 0, bytes: Buffer.from('COWD'), name: 'a VMDK', convert: 'vmdk' },
    { offset: 0, bytes: Buffer.from('# Disk DescriptorFile'), name: 'a VMDK', convert: 'vmdk' },
    { offset: 64, bytes: Buffer.from('7f10dabe', 'hex'), name: 'a VDI', convert: 'vdi' },
    { offset: 0, bytes: Buffer.from('vhdxfile'), name: 'a VHDX', convert: 'vhdx' },
    { offset: 0, bytes: Buffer.from('conectix'), name: 'a VHD', convert: 'vpc' },
    { offset: -512, bytes: Buffer.from('conectix'), name: 'a VHD', convert: 'vpc' },
    { offset: 0, bytes: Buffer.from('QED\0'), name: 'a QED', convert: 'qed' },
    { offset: 0, bytes: Buffer.from('WithoutFreeSpace'), name: 'a Parallels', convert: 'parallels' },
    { offset: 0, bytes: Buffer.from('WithouFreSpacExt'), name: 'a Parallels', convert: 'parallels' },
    { offset: 0, bytes: Buffer.from('Bochs Virtual HD Image'), name: 'a Bochs', convert: 'bochs' },
    { offset: -512, bytes: Buffer.from('koly'), name: 'an Apple DMG', convert: 'dmg' },
    { offset: 0, bytes: Buffer.from('#!/bin/sh\n#V2.0 Format'), name: 'a cloop', convert: 'cloop' },
    {
      offset: 0,
      bytes: Buffer.from('LUKS\xba\xbe', 'latin1'),
      name: 'an encrypted LUKS',
      advice: 'decrypt it first',
    },
    {
      offset: 0,
      bytes: Buffer.from('1f8b', 'hex'),
      name: 'a gzip-compressed',
      advice: 'decompress it first',
    },
    {
      offset: 0,
      bytes: Buffer.from('fd377a585a00', 'hex'),
      name: 'an xz-compressed',
      advice: 'decompress it first',
    },
    {
      offset: 0,
      bytes: Buffer.from('28b52ffd', 'hex'),
      name: 'a zstd-compressed',
      advice: 'decompress it first',
    },
    { offset: 0, bytes: Buffer.from('BZh'), name: 'a bzip2-compressed', advice: 'decompress it first' },
    { offset: 0, bytes: Buffer.from('PK\x03\x04'), name: 'a zipped', advice: 'unpack it first' },
    {
      offset: 257,
      bytes: Buffer.from('ustar'),
      name: 'a tar or OVA',
      advice: 'unpack it, and take the disk',
    },
  ];
const isoMagic = Buffer.from('CD001');
const isoOffset = 32_769;
const headBytes = isoOffset + isoMagic.length;
const tailBytes = 512;

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Reads a few places of an open file; nothing of it is believed but these. */
export async function detectFormat(file: FileHandle, bytes: number): Promise<DetectedFormat> {
  const head = await read(file, 0, headBytes);
  const tail = bytes > tailBytes ? await read(file, bytes - tailBytes, tailBytes) : Buffer.alloc(0);
  for (const { offset, bytes: magic, name, convert, advice } of magics) {
    const found =
      offset < 0
        ? tail.subarray(0, magic.length).equals(magic)
        : head.subarray(offset, offset + magic.length).equals(magic);
    if (!found) continue;
    const how =
      convert === undefined
        ? String(advice)
        : `convert it with qemu-img convert -f ${convert} -O qcow2 IN OUT.qcow2`;
    return { kind: 'foreign', name: `${name} image`, advice: how };
  }
  if (head.subarray(0, 4).equals(Buffer.from('QFI\xfb', 'latin1'))) return { kind: 'qcow2' };
  if (head.subarray(isoOffset).equals(isoMagic)) return { kind: 'iso' };
  if (/^\s*<(!doctype|html|\?xml)/i.test(head.toString('latin1', 0, 64))) {
    const advice = 'it may be what a web server answered instead of the image';
    return { kind: 'foreign', name: 'a web page, not an image', advice };
  }
  return { kind: 'unknown' };
}
