import { createHash } from 'node:crypto';
import { fstatSync, readSync, watch } from 'node:fs';
import { open, readFile, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { maxChunkBytes, perStream, type Offsets, type SpoolChunk, type SpoolStream } from '@vmo/contract';
import { freeBlocks } from './free-blocks.ts';
import type { Mask } from './mask.ts';
import { spoolFile } from './run-directory.ts';
import { incompleteTail } from './utf8.ts';

/** Read from one stream at once: several chunks go to the database in one transaction. */
const readBytes = 8 * maxChunkBytes;
/** A lost notification costs at most this long. */
const pollMs = 1_000;
const newline = 0x0a;
/**
 * Up to this many bytes are read where we stand: what a job has just written is in memory, and the trip to another
 * thread and back takes many times as long as the read.
 */
const syncBytes = maxChunkBytes;

/**
 * Calls back when something in the directory may have changed: file notifications, and a slow poll beside them, since
 * notifications can be lost, and some file systems have none. It is given the name of what has changed, where that is
 * known; null: anything may have.
 * @returns a function that stops it
 */
export function watchDirectory(directory: string, onChange: (name: string | null) => void): () => void {
  let stopWatcher: () => void = () => undefined;
  try {
    const watcher = watch(directory, { persistent: false }, (_kind, name) => {
      onChange(name);
    });
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
  const timer = setInterval(() => {
    onChange(null);
  }, pollMs);
  return () => {
    stopWatcher();
    clearInterval(timer);
  };
}

export interface SpoolReaderOptions {
  /** Those that the run has; default stdout and stderr. */
  streams?: readonly SpoolStream[];
  mask?: Mask | null;
  /** The file became shorter than what had been read of it: the job, or somebody, has cut it. */
  onTruncated?: (stream: SpoolStream) => void;
}

/** One open spool file. */
interface Source {
  file: FileHandle;
  /**
   * Offset of the file's first byte in the stream. A job can cut the file that it writes to; what was read before
   * stays, and what the file holds then goes on behind it. Kept beside the file, for the next of us.
   */
  base: number;
}

/**
 * Reads a run's spool in chunks that end between characters and hold at most 64 KiB. Stateless but for open files: it
 * is told from where, so the caller may go back at any time.
 */
export class SpoolReader {
  readonly #directory: string;
  readonly #streams: readonly SpoolStream[];
  readonly #mask: Mask | null;
  readonly #onTruncated: (stream: SpoolStream) => void;
  readonly #sources = new Map<SpoolStream, Promise<Source | null>>();

  constructor(
    directory: string,
    { streams = ['stdout', 'stderr'], mask = null, onTruncated = () => undefined }: SpoolReaderOptions = {},
  ) {
    this.#directory = directory;
    this.#streams = streams;
    this.#mask = mask;
    this.#onTruncated = onTruncated;
  }

  /**
   * What stands after `offsets`, about 512 KiB per stream at most; empty when there is nothing new.
   * @param end where the streams of a run that has ended end: nothing behind is read, and an unfinished character
   * before it is given as it is. null, or Infinity for a stream: it goes on
   * @param upTo nothing behind is read now
   */
  async read(offsets: Offsets, end: Offsets | null, upTo: Offsets | null = null): Promise<SpoolChunk[]> {
    const chunks: SpoolChunk[] = [];
    for (const stream of this.#streams) {
      const stop = Math.min(end?.[stream] ?? Infinity, upTo?.[stream] ?? Infinity);
      chunks.push(...(await this.#readStream(stream, offsets[stream], stop, end?.[stream] ?? null)));
    }
    return chunks;
  }

  /** Where the streams end now. @param read what has been read: a file that is shorter was cut */
  async sizes(read: Offsets): Promise<Offsets> {
    const sizes = perStream(() => 0);
    for (const stream of this.#streams) {
      const source = await this.#source(stream);
      if (source) sizes[stream] = await this.#sizeOf(stream, source, read[stream]);
    }
    return sizes;
  }

  /** Whether bytes that were read are not in the file any more. */
  async isTruncated(stream: SpoolStream): Promise<boolean> {
    return ((await this.#source(stream))?.base ?? 0) > 0;
  }

  /** The first byte at or after `offset` that begins a line; `offset` itself where none does for a while. */
  async nextLine(stream: SpoolStream, offset: number): Promise<number> {
    const source = await this.#source(stream);
    if (!source || offset === 0) return offset;
    const buffer = Buffer.allocUnsafe(maxChunkBytes);
    const { bytesRead } = await source.file.read(buffer, 0, buffer.length, offset - 1 - source.base);
    const end = buffer.subarray(0, bytesRead).indexOf(newline);
    return end === -1 ? offset : offset + end;
  }

  async countLines(stream: SpoolStream, from: number, to: number): Promise<number> {
    let lines = 0;
    for await (const bytes of this.#pieces(stream, from, to))
      for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, at + 1)) lines++;
    return lines;
  }

  /**
   * Gives what stands before this offset back to the disk; it cannot be read any more. Of what the mask has to look at to
   * hide what stands behind, nothing goes.
   * @returns false: the disk cannot
   */
  async free(stream: SpoolStream, before: number): Promise<boolean> {
    const source = await this.#source(stream);
    const bytes = before - (source?.base ?? 0) - this.#context;
    return !source || bytes <= 0 || freeBlocks(spoolFile(this.#directory, stream), bytes);
  }

  /**
   * SHA-256 in hexadecimal of these ranges of a stream, one behind the other, as they were given: with the mask.
   * @param end where the stream of a run that has ended ends: nothing behind it was looked at
   */
  async digest(
    stream: SpoolStream,
    ranges: readonly (readonly [number, number])[],
    end = Infinity,
  ): Promise<string> {
    const hash = createHash('sha256');
    const source = await this.#source(stream);
    for (const [from, to] of ranges) {
      for (let at = from; source && at < to;) {
        const length = Math.min(to - at, readBytes);
        // What was read went beyond what was given of it: a secret across this border was seen whole.
        const behind = Math.min(this.#context, Math.max(end - at - length, 0));
        const { bytes } = await this.#read(source, at, length, behind);
        if (bytes.length === 0) break;
        hash.update(bytes);
        at += bytes.length;
      }
    }
    return hash.digest('hex');
  }

  get #context(): number {
    return this.#mask?.context ?? 0;
  }

  async *#pieces(stream: SpoolStream, from: number, to: number): AsyncGenerator<Buffer> {
    const source = await this.#source(stream);
    for (let at = from; source && at < to;) {
      const buffer = Buffer.allocUnsafe(Math.min(to - at, readBytes));
      const { bytesRead } = await source.file.read(buffer, 0, buffer.length, at - source.base);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  async #sizeOf(stream: SpoolStream, source: Source, read: number): Promise<number> {
    const { size } = fstatSync(source.file.fd);
    if (source.base + size < read) {
      source.base = read;
      await writeFile(this.#baseFile(stream), String(read), { mode: 0o600 });
      this.#onTruncated(stream);
    }
    return source.base + size;
  }

  async #readStream(
    stream: SpoolStream,
    offset: number,
    stop: number,
    end: number | null,
  ): Promise<SpoolChunk[]> {
    const source = await this.#source(stream);
    if (!source) return [];
    const size = Math.min(await this.#sizeOf(stream, source, offset), stop);
    if (size <= offset) return [];
    const { bytes, held } = await this.#read(source, offset, Math.min(size - offset, readBytes));
    const ts = new Date();
    const buffer = offset + bytes.length === end ? bytes : bytes.subarray(0, bytes.length - held);
    const chunks: SpoolChunk[] = [];
    let at = 0;
    while (at < buffer.length) {
      let piece = buffer.subarray(at, Math.min(at + maxChunkBytes, buffer.length));
      const atEnd = offset + at + piece.length === end;
      const tail = atEnd ? 0 : incompleteTail(piece);
      if (tail > 0) piece = piece.subarray(0, piece.length - tail);
      if (piece.length === 0) break;
      chunks.push({ stream, offset: offset + at, bytes: piece, ts });
      at += piece.length;
    }
    return chunks;
  }

  /**
   * Bytes from here on with their secrets hidden, whatever was read before and however much of it at once: what lies
   * before is looked at as well, and so many bytes `behind`. Without those, the last `held` of them may turn out to be
   * the beginning of a secret.
   */
  async #read(
    { file, base }: Source,
    offset: number,
    length: number,
    behind = 0,
  ): Promise<{ bytes: Buffer; held: number }> {
    const before = Math.min(offset - base, this.#context);
    const buffer = Buffer.allocUnsafe(before + length + behind);
    const at = offset - base - before;
    const bytesRead =
      buffer.length <= syncBytes
        ? readSync(file.fd, buffer, 0, buffer.length, at)
        : (await file.read(buffer, 0, buffer.length, at)).bytesRead;
    const all = buffer.subarray(0, bytesRead);
    const bytes = all.subarray(before, before + length);
    const held = Math.min(this.#mask?.heldBack(all) ?? 0, bytes.length);
    this.#mask?.hide(all);
    return { bytes, held };
  }

  #baseFile(stream: SpoolStream): string {
    return join(this.#directory, `${stream}.base`);
  }

  /** Opened once, however many ask at the same time. */
  async #source(stream: SpoolStream): Promise<Source | null> {
    const opening = this.#sources.get(stream) ?? this.#open(stream);
    this.#sources.set(stream, opening);
    try {
      const source = await opening;
      // The run has not made it yet.
      if (!source) this.#sources.delete(stream);
      return source;
    } catch (error) {
      this.#sources.delete(stream);
      throw error;
    }
  }

  async #open(stream: SpoolStream): Promise<Source | null> {
    const file = await open(spoolFile(this.#directory, stream), 'r').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
    if (!file) return null;
    const base = Number(await readFile(this.#baseFile(stream), 'utf8').catch(() => '0'));
    return { file, base: Number.isSafeInteger(base) && base > 0 ? base : 0 };
  }

  async close(): Promise<void> {
    const sources = await Promise.all([...this.#sources.values()]);
    this.#sources.clear();
    for (const source of sources) await source?.file.close();
  }
}
