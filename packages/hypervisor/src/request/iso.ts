const sector = 2048;
/** Sectors, as ECMA-119 gives them: the first 16 are the system's. */
const places = { volume: 16, end: 17, pathTable: 18, pathTableBig: 19, root: 20, files: 21 } as const;
const textEnd = 0x20;

/** A number twice: little-endian, then big-endian. */
function both(into: Buffer, at: number, value: number, bytes: 2 | 4): void {
  into.writeUIntLE(value, at, bytes);
  into.writeUIntBE(value, at + bytes, bytes);
}

/** One entry of a directory; the names 0x00 and 0x01 are the directory itself, and the one above. */
function entry(name: string, at: number, size: number, isFolder: boolean): Buffer {
  const length = 33 + name.length;
  const record = Buffer.alloc(length + (length % 2));
  record[0] = record.length;
  both(record, 2, at, 4);
  both(record, 10, size, 4);
  record[25] = isFolder ? 2 : 0;
  both(record, 28, 1, 2);
  record[32] = name.length;
  record.write(name, 33, 'latin1');
  return record;
}

/**
 * A CD (ISO 9660, ECMA-119) with a few small files in its root. Linux shows their names in lower case.
 * @param label at most 32 capital letters and digits
 * @param files by name, as `user-data`; together with their entries at most a sector of names
 */
export function writeIso(label: string, files: Readonly<Record<string, string>>): Buffer {
  let next: number = places.files;
  const placed = Object.entries(files)
    .map(([name, text]) => ({ name: `${name.toUpperCase()};1`, bytes: Buffer.from(text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((file) => {
      const at = next;
      next += Math.max(1, Math.ceil(file.bytes.length / sector));
      return { ...file, at };
    });
  const image = Buffer.alloc(next * sector);
  const root = (name: string) => entry(name, places.root, sector, true);

  const volume = image.subarray(places.volume * sector, (places.volume + 1) * sector);
  volume.fill(textEnd, 8, 72).fill(textEnd, 190, 813).fill(0x30, 813, 881);
  volume.write('\x01CD001\x01', 0, 'latin1');
  volume.write(label, 40, 'latin1');
  both(volume, 80, next, 4);
  for (const at of [120, 124]) both(volume, at, 1, 2);
  both(volume, 128, sector, 2);
  both(volume, 132, 10, 4);
  volume.writeUInt32LE(places.pathTable, 140);
  volume.writeUInt32BE(places.pathTableBig, 148);
  root('\x00').copy(volume, 156);
  // Four times `no date`: sixteen digits and an offset.
  for (const at of [829, 846, 863, 880]) volume[at] = 0;
  volume[881] = 1;
  image.write('\xffCD001\x01', places.end * sector, 'latin1');

  for (const [at, isBig] of [
    [places.pathTable * sector, false],
    [places.pathTableBig * sector, true],
  ] as const) {
    image[at] = 1;
    if (isBig) image.writeUInt32BE(places.root, at + 2);
    else image.writeUInt32LE(places.root, at + 2);
    if (isBig) image.writeUInt16BE(1, at + 6);
    else image.writeUInt16LE(1, at + 6);
  }
  const entries = placed.map(({ name, at, bytes }) => entry(name, at, bytes.length, false));
  Buffer.concat([root('\x00'), root('\x01'), ...entries]).copy(image, places.root * sector);
  for (const { at, bytes } of placed) bytes.copy(image, at * sector);
  return image;
}
