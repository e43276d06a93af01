import { createCipheriv, createHash } from 'node:crypto';

export type NoiseStream = 'stdout' | 'stderr';

export interface Piece {
  stream: NoiseStream;
  bytes: Buffer;
}

const largestPiece = 32 * 1024;
const lineCharacters = 76;

/**
 * Output that is the same for the same seed and different for every other one: lines with characters of two to four
 * bytes and raw binary, on both streams, in pieces of all sizes that end anywhere.
 */
export function* noise(seed: number, total: number): Generator<Piece, void> {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const draw = (count: number) => cipher.update(Buffer.alloc(count));
  for (let left = total; left > 0;) {
    const dice = draw(4);
    const raw = draw(1 + (dice.readUInt16LE(0) % largestPiece));
    const isText = dice.readUInt8(2) % 3 > 0;
    const words = raw.toString('base64').replace(new RegExp(`.{${lineCharacters}}`, 'g'), '$&é€😀\n');
    const bytes = (isText ? Buffer.from(words) : raw).subarray(0, left);
    left -= bytes.length;
    yield { stream: dice.readUInt8(3) % 3 > 0 ? 'stdout' : 'stderr', bytes };
  }
}

export interface Digest {
  bytes: number;
  sha256: string;
}

/** What a log has to hold in the end. */
export function noiseDigests(seed: number, total: number): Record<NoiseStream, Digest> {
  const hashes = { stdout: createHash('sha256'), stderr: createHash('sha256') };
  const bytes = { stdout: 0, stderr: 0 };
  for (const piece of noise(seed, total)) {
    hashes[piece.stream].update(piece.bytes);
    bytes[piece.stream] += piece.bytes.length;
  }
  return {
    stdout: { bytes: bytes.stdout, sha256: hashes.stdout.digest('hex') },
    stderr: { bytes: bytes.stderr, sha256: hashes.stderr.digest('hex') },
  };
}

/** Numbers from 0 (inclusive) to 1, the same for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
