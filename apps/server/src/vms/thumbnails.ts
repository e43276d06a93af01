import { crc32, deflateSync } from 'node:zlib';
import type { VmId } from '@vmo/contract';
import type { Machine } from '@vmo/hypervisor';

/** Pixels of a list, for displays with two to four per point. */
const width = 160;
/** Younger ones are given again, however many ask. */
const keepMs = 30_000;
/** Each takes its machine and us some milliseconds: a list of many machines must not stop anything else. */
const atOnce = 2;

interface Taken {
  machine: Machine;
  at: number;
  picture: Promise<Buffer>;
}

/** Small pictures of screens, taken when somebody asks. */
export function createThumbnails(now: () => number = Date.now) {
  const taken = new Map<VmId, Taken>();
  const waiting: (() => void)[] = [];
  let underWay = 0;

  async function take(machine: Machine): Promise<Buffer> {
    if (underWay >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else underWay += 1;
    try {
      return shrink(await machine.screenshot('ppm'));
    } finally {
      const next = waiting.shift();
      // Who waited has our place.
      if (next) next();
      else underWay -= 1;
    }
  }

  return {
    /** A PNG; one that could not be taken is tried again when it is asked for again. */
    of(vmId: VmId, machine: Machine): Promise<Buffer> {
      for (const [id, { at }] of taken) if (now() - at >= keepMs) taken.delete(id);
      const known = taken.get(vmId);
      // Another run of the machine has another screen.
      if (known?.machine === machine) return known.picture;
      const mine: Taken = { machine, at: now(), picture: take(machine) };
      taken.set(vmId, mine);
      mine.picture.catch(() => {
        if (taken.get(vmId) === mine) taken.delete(vmId);
      });
      return mine.picture;
    },
  };
}

/**
 * A picture as QEMU writes it, at most {@link width} wide, as PNG. Each pixel is the average of those that it stands for.
 * @param ppm binary PPM (`P6`) with 8 bits per colour
 */
export function shrink(ppm: Buffer): Buffer {
  const [header, columns, rows] = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.toString('latin1', 0, 64)) ?? [];
  const wide = Number(columns);
  const high = Number(rows);
  if (header === undefined || wide < 1 || high < 1 || ppm.length < header.length + wide * high * 3) {
    throw new Error('the picture of a screen is not what was asked for');
  }
  const pixels = ppm.subarray(header.length);
  const scale = Math.max(1, wide / width);
  const toWide = Math.max(1, Math.round(wide / scale));
  const toHigh = Math.max(1, Math.round(high / scale));
  // A byte before each line says how it is coded; 0: as it is.
  const lines = Buffer.alloc(toHigh * (1 + toWide * 3));
  for (let y = 0; y < toHigh; y += 1) {
    const top = Math.floor((y * high) / toHigh);
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * high) / toHigh));
    for (let x = 0; x < toWide; x += 1) {
      const left = Math.floor((x * wide) / toWide);
      const right = Math.max(left + 1, Math.floor(((x + 1) * wide) / toWide));
      const sums = [0, 0, 0];
      for (let fromY = top; fromY < bottom; fromY += 1) {
        for (let at = (fromY * wide + left) * 3; at < (fromY * wide + right) * 3; at += 3) {
          for (let color = 0; color < 3; color += 1)
            sums[color] = (sums[color] ?? 0) + (pixels[at + color] ?? 0);
        }
      }
      const count = (bottom - top) * (right - left);
      const to = y * (1 + toWide * 3) + 1 + x * 3;
      for (let color = 0; color < 3; color += 1) lines[to + color] = Math.round((sums[color] ?? 0) / count);
    }
  }
  return toPng(toWide, toHigh, lines);
}

/** RGB with 8 bits per colour. Source: the PNG specification, sections 5 and 11. */
function toPng(wide: number, high: number, lines: Buffer): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(wide, 0);
  head.writeUInt32BE(high, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk('IHDR', head),
    pngChunk('IDAT', deflateSync(lines)),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
