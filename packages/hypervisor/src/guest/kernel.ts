import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { findProgram } from '../program.ts';
import { noteTypesOf, withoutTail } from './elf.ts';

/** Linux's boot protocol, 2.08 and later: places in the file. */
const setup = { sectors: 0x1f1, mark: 0x202, version: 0x206, payload: 0x248, payloadLength: 0x24c };
/** XEN_ELFNOTE_PHYS32_ENTRY: it can be started as it is, by PVH. */
const pvhEntry = 18;
const limits = { encoding: 'buffer', maxBuffer: 512 * 1024 * 1024, timeout: 30_000 } as const;

async function pipeThrough(name: string, packed: Buffer): Promise<Buffer> {
  const program = findProgram(name);
  if (program === null) throw new Error(`the program ${name} is missing`);
  const running = promisify(execFile)(program, ['-dc'], limits);
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(packed);
  return (await running).stdout;
}

/** How the payload begins → how it is unpacked. All but gzip are followed by the kernel's own four bytes of length. */
const packings: Readonly<Record<string, (packed: Buffer) => Promise<Buffer>>> = {
  '1f8b': promisify(gunzip),
  '28b52ffd': (packed) => promisify(zstdDecompress)(packed.subarray(0, -4)),
  fd377a585a00: (packed) => pipeThrough('xz', packed.subarray(0, -4)),
  '02214c18': (packed) => pipeThrough('lz4', packed.subarray(0, -4)),
};

/**
 * The kernel that a bzImage would unpack at each boot, as a file that QEMU starts directly: without KVM, that is a fifth of
 * a boot. null where there is none in it, it cannot be unpacked here, or cannot be started so (Linux before 4.21, or
 * without CONFIG_PVH): then the bzImage has to do.
 */
export async function unpackKernel(bzImage: Buffer): Promise<Buffer | null> {
  if (
    bzImage.length < setup.payloadLength + 4 ||
    bzImage.toString('latin1', setup.mark, setup.mark + 4) !== 'HdrS'
  )
    return null;
  if (bzImage.readUInt16LE(setup.version) < 0x208) return null;
  const start = (bzImage.readUInt8(setup.sectors) + 1) * 512 + bzImage.readUInt32LE(setup.payload);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(setup.payloadLength));
  const packing = Object.entries(packings).find(([magic]) => payload.toString('hex', 0, 6).startsWith(magic));
  const kernel = await packing?.[1](payload).catch(() => null);
  return kernel && noteTypesOf(kernel).includes(pvhEntry) ? withoutTail(kernel) : null;
}
