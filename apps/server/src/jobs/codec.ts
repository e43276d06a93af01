import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

/** How a chunk is kept in `job_events.chunk`. */
export const codecs = { raw: 0, zstd: 1 } as const;

const options = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** Below this, a chunk is kept as it is: nothing to gain, and live output mostly comes in small pieces. */
const minCompressBytes = 1024;
/** From here on a chunk belongs to a flood, which must not hold up what else this thread does. */
const floodBytes = 16 * 1024;

const compress = promisify(zstdCompress);

/**
 * Compresses where it pays by an eighth or more; output that is compressed already stays as it is. A small
 * one where we stand, and not in the thread pool: handing it to another thread takes longer.
 */
export async function encodeChunk(bytes: Uint8Array): Promise<{ codec: number; chunk: Buffer }> {
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (raw.length < minCompressBytes) return { codec: codecs.raw, chunk: raw };
  const packed = raw.length < floodBytes ? zstdCompressSync(raw, options) : await compress(raw, options);
  return packed.length < raw.length * 0.875
    ? { codec: codecs.zstd, chunk: packed }
    : { codec: codecs.raw, chunk: raw };
}

function decodeChunk(codec: number, chunk: Buffer): Buffer {
  switch (codec) {
    case codecs.raw:
      return chunk;
    case codecs.zstd:
      return zstdDecompressSync(chunk);
    default:
      throw new Error(`job_events.codec is ${String(codec)}: written by a newer version?`);
  }
}

/**
 * What a stored event holds. A row that a foreign hand or a dying disk has spoilt must not take the rest of the log with
 * it: in its place stand words that say so.
 */
export function decodeStored(event: { seq: number; codec: number; chunk: Buffer }): Buffer {
  try {
    return decodeChunk(event.codec, event.chunk);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return Buffer.from(`[event ${String(event.seq)} of this log cannot be read: ${why}]\n`);
  }
}

// ignoreBOM keeps U+FEFF in the text: a byte order mark in output is output.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Text of a chunk; what is not UTF-8 becomes U+FFFD. Chunks end between characters, so each decodes by itself. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
