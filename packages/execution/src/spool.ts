import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { maxChunkBytes, SpoolStream, type Offsets, type SpoolChunk } from '@vmo/contract';
import { spoolFile } from './run-directory.ts';
import { incompleteTail } from './utf8.ts';

/** Read from one stream at once: several chunks go to the database in one transaction. */
const readBytes = 16 * maxChunkBytes;
/** A lost notification costs at most this long. */
const pollMs = 1_000;

/**
 * Calls back when something in the directory may have changed: file notifications, and a slow poll beside them, since
 * notifications can be lost, and some file systems have none.
 * @returns a function that stops it
 */
export function watchDirectory(directory: string, onChange: () => void): () => void {
  let stopWatcher: () => void = () => undefined;
  try {
    const watcher = watch(directory, { persistent: false }, onChange);
    // Too many watches, or the directory went away: the poll remains.
    watcher.on('error', () => {
      watcher.close();
    });
    stopWatcher = () => {
      watcher.close();
    };
  } catch {
    // As above.
  }
  const timer = setInterval(onChange, pollMs);
  return () => {
    stopWatcher();
    clearInterval(timer);
  };
}

/**
 * Reads a run's spool in chunks that end between characters and hold at most 64 KiB. Stateless but for open files: it
 * is told from where, so the caller may go back at any time.
 */
export class SpoolReader {
  readonly #directory: string;
  readonly #files = new Map<SpoolStream, FileHandle>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * What stands after `offsets`, about 1 MiB per stream at most; empty when there is nothing new.
   * @param end where the streams of a run that has ended end: nothing behind is read, and an unfinished character
   * before it is given as it is. null: the run goes on
   */
  async read(offsets: Offsets, end: Offsets | null): Promise<SpoolChunk[]> {
    const chunks: SpoolChunk[] = [];
    for (const stream of SpoolStream.options) {
      chunks.push(...(await this.#readStream(stream, offsets[stream], end?.[stream] ?? null)));
    }
    return chunks;
  }

  async #readStream(stream: SpoolStream, offset: number, end: number | null): Promise<SpoolChunk[]> {
    const file = this.#files.get(stream) ?? (await this.#open(stream));
    if (!file) return [];
    const size = Math.min((await file.stat()).size, end ?? Infinity);
    if (size <= offset) return [];
    const buffer = Buffer.allocUnsafe(Math.min(size - offset, readBytes));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    const ts = new Date();
    const chunks: SpoolChunk[] = [];
    let at = 0;
    while (at < bytesRead) {
      let piece = buffer.subarray(at, Math.min(at + maxChunkBytes, bytesRead));
      const atEnd = offset + at + piece.length === end;
      const tail = atEnd ? 0 : incompleteTail(piece);
      if (tail > 0) piece = piece.subarray(0, piece.length - tail);
      if (piece.length === 0) break;
      chunks.push({ stream, offset: offset + at, bytes: piece, ts });
      at += piece.length;
    }
    return chunks;
  }

  async #open(stream: SpoolStream): Promise<FileHandle | null> {
    const file = await open(spoolFile(this.#directory, stream), 'r').catch((error: unknown) => {
      // The run has not made it yet.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
    if (file) this.#files.set(stream, file);
    return file;
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await Promise.all(files.map((file) => file.close()));
  }
}
