/** A file of an archive; names have no leading slash, and a folder comes before what lies in it. */
export type CpioEntry =
  | { name: string; kind: 'directory' }
  | { name: string; kind: 'file'; content: Uint8Array; executable: boolean }
  | { name: string; kind: 'link'; target: string }
  | { name: string; kind: 'character-device'; major: number; minor: number };

const modes = { directory: 0o040755, file: 0o100644, link: 0o120777, 'character-device': 0o020600 };

function contentOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === 'file') return entry.content;
  return entry.kind === 'link' ? Buffer.from(entry.target) : Buffer.alloc(0);
}

/** Each header and each content begins at a multiple of four. */
const padding = (length: number) => Buffer.alloc((4 - (length % 4)) % 4);

function header(inode: number, entry: CpioEntry, nameBytes: number, contentBytes: number): Buffer {
  const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
  const mode = modes[entry.kind] | (entry.kind === 'file' && entry.executable ? 0o111 : 0);
  const links = entry.kind === 'directory' ? 2 : 1;
  // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name with its NUL, no checksum.
  const fields = [
    ...[inode, mode, 0, 0, links, 0, contentBytes, 0, 0],
    ...[device.major, device.minor, nameBytes + 1, 0],
  ];
  return Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
}

/**
 * An archive in the "newc" format that the Linux kernel unpacks as its first file system, as in its documentation
 * (driver-api/early-userspace/buffer-format). Everything belongs to root and is of the year 1970, so that the same
 * entries give the same bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  const end: CpioEntry = { name: 'TRAILER!!!', kind: 'file', content: Buffer.alloc(0), executable: false };
  for (const [index, entry] of [...entries, end].entries()) {
    const name = Buffer.from(`${entry.name}\0`);
    const content = contentOf(entry);
    const head = header(index + 1, entry, name.length - 1, content.length);
    parts.push(head, name, padding(head.length + name.length), content, padding(content.length));
  }
  return Buffer.concat(parts);
}
