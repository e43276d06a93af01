import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, lstat, open, readdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError, ImageName, type ImageCopy, type NeededImage } from '@vmo/contract';
import { StartError } from '@vmo/execution';
import { bytesInWords } from './words.ts';

const retryMs = 1_000;
/** So long without a byte, and the connection is taken to be cut. */
const stallMs = 30_000;
/** Nothing writes to what disks rest on. */
const readOnlyMode = 0o444;
/** What was brought is called `<sha256>-<name>`; what somebody has put here by hand has its own name. */
const broughtName = /^([0-9a-f]{64})-(.+)$/;

export interface ImageCacheOptions {
  /** The folder of the images in the storage. */
  folder: string;
  /** Of what was brought and is not in use; 0: nothing is brought. */
  maxBytes: number;
  /** The bytes of an image from `offset` on. */
  source: (sha256: string, offset: number, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;
}

export interface BringOptions {
  /** Nobody wants them any more; its reason is thrown. */
  signal: AbortSignal;
  /** As long as this holds, what was cut is tried again. */
  isHeld: () => boolean;
  /** Words for the log. */
  notice: (line: string) => void;
}

interface Entry extends ImageCopy {
  /** In the folder. */
  file: string;
  sizeBytes: number;
  isBrought: boolean;
  usedAt: number;
}

/** Images of this machine by what is in them: those that somebody has put here, and those that were brought. */
export interface ImageCache {
  /** Looks which ones there are; those put here by hand are read as a whole. */
  scan(): Promise<void>;
  list(): ImageCopy[];
  /** What it is called in the folder; null: it is not here. */
  fileOf(sha256: string): string | null;
  /**
   * Brings those that are not here. They stay as long as `isInUse` says so.
   * @throws StartError when they cannot be had
   */
  bring(images: readonly NeededImage[], options: BringOptions): Promise<void>;
  /** Removes what was not used for longest, until what was brought is within its bound or in use. */
  trim(isInUse: (sha256: string) => boolean, roomFor?: number): Promise<void>;
}

export function createImageCache({ folder, maxBytes, source }: ImageCacheOptions): ImageCache {
  const entries = new Map<string, Entry>();
  /** One at a time of each; whoever else wants it waits for it. */
  const bringing = new Map<string, Promise<void>>();

  const partOf = (sha256: string) => join(folder, `.${sha256}.part`);

  async function receive(
    { sha256, sizeBytes }: NeededImage,
    from: number,
    signal: AbortSignal,
  ): Promise<void> {
    const stalled = new AbortController();
    const timer = setTimeout(() => {
      stalled.abort(new Error(`no byte of it came for ${String(stallMs / 1000)} s`));
    }, stallMs);
    try {
      await using file = await open(partOf(sha256), 'a', 0o600);
      let size = from;
      for await (const bytes of await source(sha256, from, AbortSignal.any([signal, stalled.signal]))) {
        timer.refresh();
        size += bytes.length;
        if (size > sizeBytes) throw new Error('more came than was announced');
        await file.appendFile(bytes);
      }
      await file.sync();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Goes on where an earlier try has ended, also one of before a restart. */
  async function complete(image: NeededImage, { signal, isHeld }: BringOptions): Promise<void> {
    const part = partOf(image.sha256);
    for (;;) {
      signal.throwIfAborted();
      const size = await sizeOf(part);
      if (size === image.sizeBytes) return;
      if (size > image.sizeBytes) await rm(part);
      try {
        await receive(image, size > image.sizeBytes ? 0 : size, signal);
        if ((await sizeOf(part)) === image.sizeBytes) return;
      } catch (error) {
        signal.throwIfAborted();
        if (hasCode(error, 'ENOSPC'))
          throw new StartError(`no space is left here for the image ${image.name}`);
        if (error instanceof CodedError && error.code === 'IMAGE_NOT_FOUND')
          throw new StartError(`the image ${image.name} is not on the server any more as it was`);
        if (!isHeld()) throw error;
      }
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async function bringOne(image: NeededImage, options: BringOptions): Promise<void> {
    const { name, sha256, sizeBytes } = image;
    if (sizeBytes > maxBytes) {
      const why =
        maxBytes === 0
          ? 'and this agent brings none'
          : `and with ${bytesInWords(sizeBytes)} it is too large to be brought`;
      throw new StartError(`the image ${name} is not here, ${why} (VMO_IMAGE_CACHE_GIB)`);
    }
    options.notice(`bringing the image ${name} (${bytesInWords(sizeBytes)}) from the server`);
    const part = partOf(sha256);
    for (let damaged = 0; ;) {
      await complete(image, options);
      if ((await hashOf(part)) === sha256) break;
      await rm(part);
      damaged += 1;
      if (damaged > 1) throw new StartError(`the image ${name} came damaged, twice`);
    }
    const file = `${sha256}-${name}`;
    await chmod(part, readOnlyMode);
    await rename(part, join(folder, file));
    entries.set(sha256, { name, sha256, file, sizeBytes, isBrought: true, usedAt: Date.now() });
  }

  async function look(file: string): Promise<void> {
    const path = join(folder, file);
    const stats = await lstat(path);
    if (!stats.isFile() || stats.nlink > 1 || stats.size === 0) return;
    const [, digest, brought] = broughtName.exec(file) ?? [];
    const name = ImageName.safeParse(brought ?? file).data;
    if (name === undefined) return;
    const sha256 = digest ?? (await hashOf(path));
    const isBrought = digest !== undefined;
    // What somebody has put here is never removed, so it comes first where both are here.
    if (isBrought && entries.has(sha256)) return;
    entries.set(sha256, { name, sha256, file, sizeBytes: stats.size, isBrought, usedAt: stats.mtimeMs });
  }

  return {
    async scan() {
      for (const file of await readdir(folder)) await look(file);
    },

    list: () => [...entries.values()].map(({ name, sha256 }) => ({ name, sha256 })),

    fileOf: (sha256) => entries.get(sha256)?.file ?? null,

    async bring(images, options) {
      for (const image of images) {
        const { sha256 } = image;
        for (;;) {
          options.signal.throwIfAborted();
          const entry = entries.get(sha256);
          if (entry) {
            entry.usedAt = Date.now();
            // So that the next start knows as well.
            if (entry.isBrought) await utimes(join(folder, entry.file), new Date(), new Date());
            break;
          }
          const other = bringing.get(sha256);
          if (other) {
            // It may be given up by whoever it is for: then it is ours to go on.
            await Promise.race([other.catch(() => undefined), aborted(options.signal)]);
            continue;
          }
          const mine = bringOne(image, options).finally(() => bringing.delete(sha256));
          bringing.set(sha256, mine);
          await mine;
        }
      }
    },

    async trim(isInUse, roomFor = 0) {
      const brought = [...entries.values()].filter(({ isBrought }) => isBrought);
      let total = roomFor + brought.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      for (const { sha256, file, sizeBytes } of brought.sort((a, b) => a.usedAt - b.usedAt)) {
        if (total <= maxBytes) break;
        if (isInUse(sha256)) continue;
        entries.delete(sha256);
        await rm(join(folder, file), { force: true });
        total -= sizeBytes;
      }
      // Beginnings of those that nobody wants any more.
      for (const file of total > maxBytes || roomFor > 0 ? await readdir(folder) : []) {
        const sha256 = /^\.([0-9a-f]{64})\.part$/.exec(file)?.[1];
        if (sha256 !== undefined && !isInUse(sha256)) await rm(join(folder, file), { force: true });
      }
    },
  };
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

async function sizeOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

/** Resolves when it is. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
