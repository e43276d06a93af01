import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { protocolVersion } from './protocol.ts';

/** sun_path holds 104 bytes on macOS (108 on Linux), one of which is the closing NUL. */
export const maxSocketPathBytes = 103;

const socketName = `terminals-${String(protocolVersion)}.sock`;

/**
 * Makes the directory of a terminal host and returns its socket's path: in `hostDirectory`, or, where that is too deep
 * for a socket, in a directory of its own under `temporary`. The version of the protocol is part of the name: after an
 * upgrade that changes it, the old host keeps its terminals to their end, beside a new one.
 */
export async function prepareSocketPath(hostDirectory: string, temporary = tmpdir()): Promise<string> {
  const directory = resolve(hostDirectory);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const path = join(directory, socketName);
  if (Buffer.byteLength(path) <= maxSocketPathBytes) return path;
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  const short = join(temporary, `vmo-${hash}`);
  await mkdir(short, { recursive: true, mode: 0o700 });
  // Others can write there too: what is not ours alone is not used.
  const found = await lstat(short);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0)
    throw new Error(`${short} must be a directory that only this user can enter`);
  return join(short, socketName);
}
