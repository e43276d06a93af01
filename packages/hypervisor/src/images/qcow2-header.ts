import type { FileHandle } from 'node:fs/promises';
import { printable } from '../program.ts';
import { ImageError } from './errors.ts';
import { formatBytes, MiB } from './sizes.ts';

/** What the header of a qcow2 file says, after it was found to be harmless. Sizes in bytes. */
export interface Qcow2Header {
  version: 2 | 3;
  virtualBytes: number;
  clusterBytes: number;
  /** As it stands in the file. */
  backing: { file: string; format: string | null } | null;
  snapshotCount: number;
}

/*
 * The format is described in QEMU's docs/interop/qcow2.txt; the limits of the tables are those of QEMU's
 * block/qcow2.h. We read it ourselves, since qemu-img opens backing and data files while it looks at an image.
 */
const magic = 0x514649fb;
const headerBytesV2 = 72;
const headerBytesV3 = 104;
const maxClusterBits = 21;
const maxL1Bytes = 32 * MiB;
const maxRefcountTableBytes = 8 * MiB;
const maxSnapshots = 65_536;
const maxBackingNameBytes = 1_023;

const incompatible = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n };
const knownIncompatible = 31n;
/** Auto-clear bit: the external data file is consistent as a raw image by itself. */
const rawDataFile = 2n;
const extension = {
  end: 0,
  backingFormat: 0xe2792aca,
  dataFile: 0x44415441,
  encryption: 0x0537be77,
};

const refuse = (problem: ConstructorParameters<typeof ImageError>[0], words: string) =>
  new ImageError(problem, `this qcow2 image ${words}`);
const damaged = (words: string) => refuse('corrupt', `is damaged: ${words}`);

function safe(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${what} is ${String(value)}`);
  return Number(value);
}

/** Strictly: two names that differ in bytes must not look the same to us, since they are two files to QEMU. */
function text(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw damaged('a name in it is no UTF-8');
    throw error;
  }
}

/** A table of the file: within it, at a cluster. */
function checkTable(what: string, offset: number, bytes: number, clusterBytes: number, fileBytes: number) {
  if (offset === 0 || offset % clusterBytes !== 0) throw damaged(`its ${what} is at byte ${String(offset)}`);
  if (offset + bytes > fileBytes) throw damaged(`its ${what} lies behind the end of the file`);
}

function readExtensions(header: Buffer, start: number, end: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = start;
  while (at + 8 <= end) {
    const type = header.readUInt32BE(at);
    const length = header.readUInt32BE(at + 4);
    if (type === extension.end) break;
    if (at + 8 + length > end) throw damaged('a header extension reaches beyond the header');
    found.set(type, header.subarray(at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function checkFeatures(features: bigint, autoclear: bigint, encryption: number): void {
  if ((features & incompatible.dataFile) !== 0n || (autoclear & rawDataFile) !== 0n) {
    throw refuse(
      'data-file',
      'keeps its data in another file: only images that hold their own data are taken',
    );
  }
  const unknown = features & ~knownIncompatible;
  if (unknown !== 0n)
    throw refuse('unsupported', `needs features that are not known here (bits ${unknown.toString(2)})`);
  if (encryption !== 0) throw refuse('encrypted', 'is encrypted: decrypt it first');
  if ((features & incompatible.corrupt) !== 0n)
    throw refuse('corrupt', 'is marked as corrupt: repair it with qemu-img check -r all');
  if ((features & incompatible.dirty) !== 0n)
    throw refuse('dirty', 'was not closed properly: repair it with qemu-img check -r all');
}

/** @throws ImageError for everything that the format forbids, that reaches out of the file, or is beyond a limit */
export async function readQcow2Header(
  file: FileHandle,
  fileBytes: number,
  maxVirtualBytes: number,
): Promise<Qcow2Header> {
  const start = Buffer.alloc(headerBytesV3 + 8);
  const { bytesRead } = await file.read(start, 0, start.length, 0);
  if (bytesRead < headerBytesV2 || start.readUInt32BE(0) !== magic) throw damaged('its header is cut off');
  const version = start.readUInt32BE(4);
  if (version !== 2 && version !== 3)
    throw refuse('unsupported', `is of version ${String(version)}: 2 and 3 are taken`);
  if (version === 3 && bytesRead < headerBytesV3) throw damaged('its header is cut off');

  const clusterBits = start.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > maxClusterBits) {
    throw damaged(`its cluster size is 2^${String(clusterBits)} bytes: 2^9 to 2^21 are possible`);
  }
  const clusterBytes = 2 ** clusterBits;
  const features = version === 3 ? start.readBigUInt64BE(72) : 0n;
  checkFeatures(features, version === 3 ? start.readBigUInt64BE(88) : 0n, start.readUInt32BE(32));

  const virtualBits = start.readBigUInt64BE(24);
  if (virtualBits > BigInt(maxVirtualBytes)) {
    throw refuse(
      'too-large',
      `claims to be a disk of ${String(virtualBits)} bytes: the limit is ${formatBytes(maxVirtualBytes)}`,
    );
  }
  const virtualBytes = Number(virtualBits);
  const entryBytes = (features & incompatible.extendedL2) === 0n ? 8 : 16;
  const l1Entries = start.readUInt32BE(36);
  const needed = Math.ceil(virtualBytes / (clusterBytes * (clusterBytes / entryBytes)));
  if (l1Entries * 8 > maxL1Bytes)
    throw refuse('too-large', `has an L1 table of ${String(l1Entries)} entries`);
  if (l1Entries < needed) throw damaged('its L1 table is too short for its size');
  if (l1Entries > 0) {
    const offset = safe(start.readBigUInt64BE(40), 'the place of its L1 table');
    checkTable('L1 table', offset, l1Entries * 8, clusterBytes, fileBytes);
  }
  checkRefcounts(start, version, clusterBytes, fileBytes);

  const snapshotCount = start.readUInt32BE(60);
  if (snapshotCount > maxSnapshots) throw refuse('too-large', `has ${String(snapshotCount)} snapshots`);
  if (snapshotCount > 0) {
    const offset = safe(start.readBigUInt64BE(64), 'the place of its snapshots');
    checkTable('snapshot table', offset, snapshotCount * 40, clusterBytes, fileBytes);
  }
  const backing = await readNames(file, start, version, Math.min(clusterBytes, fileBytes));
  return { version, virtualBytes, clusterBytes, backing, snapshotCount };
}

/** Whether anything was ever written to it: a disk that was not shows what it lies on. Of a header that was read. */
export async function isUntouchedQcow2(file: FileHandle, { snapshotCount }: Qcow2Header): Promise<boolean> {
  if (snapshotCount > 0) return false;
  const header = Buffer.alloc(headerBytesV2);
  await file.read(header, 0, header.length, 0);
  const table = Buffer.alloc(header.readUInt32BE(36) * 8);
  const offset = safe(header.readBigUInt64BE(40), 'the place of its L1 table');
  const { bytesRead } = await file.read(table, 0, table.length, offset);
  if (bytesRead < table.length) throw damaged('its L1 table is cut off');
  return table.every((byte) => byte === 0);
}

function checkRefcounts(start: Buffer, version: number, clusterBytes: number, fileBytes: number): void {
  const bytes = start.readUInt32BE(56) * clusterBytes;
  if (bytes > maxRefcountTableBytes)
    throw refuse('too-large', `has a refcount table of ${formatBytes(bytes)}: the limit is 8 MiB`);
  if (bytes === 0) throw damaged('it has no refcount table');
  const offset = safe(start.readBigUInt64BE(48), 'the place of its refcount table');
  // A file may end within its last cluster, so only the first entry must be there.
  checkTable('refcount table', offset, 8, clusterBytes, fileBytes);
  if (version < 3) return;
  const order = start.readUInt32BE(96);
  if (order > 6) throw damaged(`its refcounts have 2^${String(order)} bits: up to 2^6 are possible`);
}

/** What is named by strings: the header extensions, and behind them the backing file. All in the first cluster. */
async function readNames(
  file: FileHandle,
  start: Buffer,
  version: number,
  clusterBytes: number,
): Promise<Qcow2Header['backing']> {
  const header = Buffer.alloc(clusterBytes);
  const { bytesRead } = await file.read(header, 0, clusterBytes, 0);
  if (bytesRead < clusterBytes) throw damaged('its header is cut off');
  const headerBytes = version === 3 ? start.readUInt32BE(100) : headerBytesV2;
  const shortest = version === 3 ? headerBytesV3 : headerBytesV2;
  if (headerBytes < shortest || headerBytes > clusterBytes || headerBytes % 8 !== 0)
    throw damaged(`its header has ${String(headerBytes)} bytes`);
  if (headerBytes > headerBytesV3) {
    const compression = header.readUInt8(104);
    if (compression > 1) throw refuse('unsupported', `is compressed in way ${String(compression)}`);
  }

  const offset = safe(start.readBigUInt64BE(8), 'the place of its backing file name');
  const length = start.readUInt32BE(16);
  if (
    offset !== 0 &&
    (length > maxBackingNameBytes || offset < headerBytes || offset + length > clusterBytes)
  )
    throw damaged('the name of its backing file is not where it could be');
  // In version 2 nothing but the end mark or the name closes the list.
  const extensions = readExtensions(header, headerBytes, offset === 0 ? clusterBytes : offset);
  const dataFile = extensions.get(extension.dataFile);
  if (dataFile) {
    const name = printable(dataFile.toString('utf8')).slice(0, 200);
    throw refuse(
      'data-file',
      `names ${name} as the file of its data: only images that hold their own data are taken`,
    );
  }
  if (extensions.has(extension.encryption)) throw refuse('encrypted', 'is encrypted: decrypt it first');
  if (offset === 0 || length === 0) return null;
  const format = extensions.get(extension.backingFormat);
  return {
    file: text(header.subarray(offset, offset + length)),
    format: format ? text(format) : null,
  };
}
