/** Numbers of the ELF format, of 64 bits and little-endian. */
export const segmentTypes = { load: 1, interpreter: 3, note: 4 } as const;

export interface Segment {
  type: number;
  /** Where in the file it begins, and its bytes there; in memory it may be longer, by zeros. */
  offset: number;
  size: number;
  /** Where the file says so: 64 bits. */
  sizeAt: number;
}

/** What a program is loaded by; none where it is no 64-bit little-endian ELF file. */
export function segmentsOf(file: Buffer): Segment[] {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file.readUInt16LE(4) !== 0x0102) return [];
  const start = Number(file.readBigUInt64LE(32));
  const entrySize = file.readUInt16LE(54);
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = start + index * entrySize;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      size: Number(file.readBigUInt64LE(at + 32)),
      sizeAt: at + 32,
    };
  });
}

/** The numbers of what notes tell: each is a header of three words, a name and a description. */
export function noteTypesOf(file: Buffer): number[] {
  const types: number[] = [];
  const padded = (bytes: number) => Math.ceil(bytes / 4) * 4;
  for (const { type, offset, size } of segmentsOf(file)) {
    if (type !== segmentTypes.note) continue;
    for (let at = offset; at + 12 <= offset + size;) {
      types.push(file.readUInt32LE(at + 8));
      at += 12 + padded(file.readUInt32LE(at)) + padded(file.readUInt32LE(at + 4));
    }
  }
  return types;
}

/** The same program without the zeros at the end of its last segment, nor what comes behind it: memory begins as zeros. */
export function withoutTail(file: Buffer): Buffer {
  const last = segmentsOf(file)
    .filter(({ type }) => type === segmentTypes.load)
    .reduce<Segment | null>((one, other) => (one && one.offset > other.offset ? one : other), null);
  if (!last) return file;
  let end = last.offset + last.size;
  while (end > last.offset + 1 && file[end - 1] === 0) end--;
  const short = Buffer.from(file.subarray(0, end));
  short.writeBigUInt64LE(BigInt(end - last.offset), last.sizeAt);
  // Its sections are not described any longer: only linkers and debuggers ask for them.
  short.writeBigUInt64LE(0n, 40);
  short.writeUInt32LE(0, 60);
  return short;
}
