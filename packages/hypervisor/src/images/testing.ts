import { execFile } from 'node:child_process';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A folder that goes away with its test. Its real path: on some systems the temporary folder is reached by a link. */
export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'vmo-hypervisor-')));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** The real program, to make and to look at images behind our back. */
export const execute = promisify(execFile);

interface Crafted {
  version?: number;
  virtualBytes?: bigint;
  clusterBits?: number;
  encryption?: number;
  l1Entries?: number;
  l1Offset?: bigint;
  refcountOffset?: bigint;
  refcountClusters?: number;
  snapshots?: number;
  incompatible?: bigint;
  autoclear?: bigint;
  refcountOrder?: number;
  headerBytes?: number;
  extensions?: { type: number; data: Buffer; claimedBytes?: number }[];
  backing?: string;
  backingBytes?: number;
}

/**
 * A qcow2 file written by hand, after QEMU's docs/interop/qcow2.txt. By default a harmless, empty disk of 1 MiB that
 * QEMU itself accepts, so that each test changes nothing but the one thing it is about.
 */
export function craftQcow2(how: Crafted = {}): Buffer {
  const file = Buffer.alloc(4 * 65_536);
  file.write('QFI\xfb', 0, 'latin1');
  file.writeUInt32BE(how.version ?? 3, 4);
  file.writeUInt32BE(how.clusterBits ?? 16, 20);
  file.writeBigUInt64BE(how.virtualBytes ?? 1_048_576n, 24);
  file.writeUInt32BE(how.encryption ?? 0, 32);
  file.writeUInt32BE(how.l1Entries ?? 1, 36);
  file.writeBigUInt64BE(how.l1Offset ?? 3n * 65_536n, 40);
  file.writeBigUInt64BE(how.refcountOffset ?? 65_536n, 48);
  file.writeUInt32BE(how.refcountClusters ?? 1, 56);
  file.writeUInt32BE(how.snapshots ?? 0, 60);
  file.writeBigUInt64BE(how.incompatible ?? 0n, 72);
  file.writeBigUInt64BE(how.autoclear ?? 0n, 88);
  file.writeUInt32BE(how.refcountOrder ?? 4, 96);
  file.writeUInt32BE(how.headerBytes ?? 104, 100);
  let at = 104;
  for (const { type, data, claimedBytes } of how.extensions ?? []) {
    file.writeUInt32BE(type, at);
    file.writeUInt32BE(claimedBytes ?? data.length, at + 4);
    data.copy(file, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  at += 8;
  if (how.backing !== undefined) {
    file.writeBigUInt64BE(BigInt(at), 8);
    file.writeUInt32BE(how.backingBytes ?? Buffer.byteLength(how.backing), 16);
    file.write(how.backing, at);
  }
  // Refcounts: the table names one block, which counts one user for each of the four clusters.
  file.writeBigUInt64BE(2n * 65_536n, 65_536);
  for (let cluster = 0; cluster < 4; cluster++) file.writeUInt16BE(1, 2 * 65_536 + 2 * cluster);
  return file;
}
