import { CodedError, type Image } from '@vmo/contract';

/** Bytes of a piece: the first one, and the bounds within which they grow and shrink. */
const firstPiece = 1024 * 1024;
const smallestPiece = 256 * 1024;
const largestPiece = 64 * 1024 * 1024;
/** So long (in milliseconds) a piece should take: progress is seen, and little is lost when one breaks off. */
const pieceMs = 700;
/** Between attempts after the network failed, in milliseconds. */
const retryMs = [500, 1000, 2000, 4000];

export interface UploadTransport {
  /** Sends a piece that begins at `offset`. */
  send(bytes: Blob, offset: number, signal: AbortSignal): Promise<Image>;
  /** Where the server is. */
  ask(signal: AbortSignal): Promise<Image>;
  pause(ms: number): Promise<void>;
  now(): number;
}

/**
 * Sends the rest of a file, piece by piece, from where the server is. A piece that broke off is sent again from where
 * the server says; one that the server refuses ends it.
 *
 * @returns the image when its last byte is there
 * @throws as the server said it, or the last error of the network; AbortError when the signal was given
 */
export async function sendFile(
  file: Blob,
  from: number,
  transport: UploadTransport,
  signal: AbortSignal,
  onProgress: (receivedBytes: number) => void,
): Promise<Image> {
  let offset = from;
  let length = firstPiece;
  let failures = 0;
  for (;;) {
    signal.throwIfAborted();
    const begun = transport.now();
    try {
      const end = Math.min(offset + length, file.size);
      const image = await transport.send(file.slice(offset, end), offset, signal);
      failures = 0;
      offset = Math.max(end, image.receivedBytes);
      onProgress(offset);
      if (offset >= file.size || image.state !== 'uploading') return image;
      const took = Math.max(1, transport.now() - begun);
      const wanted = Math.min(length * 2, (length * pieceMs) / took);
      length = Math.round(Math.min(largestPiece, Math.max(smallestPiece, wanted)));
    } catch (error) {
      signal.throwIfAborted();
      const isOffset = error instanceof CodedError && error.code === 'WRONG_OFFSET';
      const isRefused = error instanceof CodedError && error.status < 500 && !isOffset;
      const wait = retryMs[failures];
      if (isRefused || wait === undefined) throw error;
      failures += 1;
      if (!isOffset) await transport.pause(wait);
      length = Math.max(smallestPiece, Math.round(length / 2));
      const known = await transport.ask(signal).catch(() => null);
      if (known && known.state !== 'uploading') return known;
      if (known) offset = known.receivedBytes;
      onProgress(offset);
    }
  }
}
