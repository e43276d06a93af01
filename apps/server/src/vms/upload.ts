import { createHash, type Hash } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { chmod, link, lstat, open, rename, rm, stat, truncate, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, type Image } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { toCoded } from './errors.ts';
import { partName, seal, type Images } from './images.ts';
import { identityOf } from './image-copies.ts';
import * as repository from './images-repository.ts';
import type { ImageRow } from './images-repository.ts';

/** How often the row says how far it is while bytes come. */
const progressMs = 1_000;
/** Until it is complete: then nobody writes to it any more. */
const partMode = 0o600;

/** What is known of the bytes of an upload that this process has received. */
interface Progress {
  hash: Hash;
  bytes: number;
}

export interface UploadDeps {
  db: Kysely<Database>;
  images: Images;
}

/**
 * Receives images piece by piece. What is written stays, so a broken upload goes on at `receivedBytes`; the checksum
 * goes along, and is made anew from the file only after a restart.
 */
export function createUpload({ db, images }: UploadDeps) {
  const progress = new Map<string, Progress>();
  const busy = new Set<string>();

  async function resume(path: string, row: ImageRow): Promise<Progress> {
    const known = progress.get(row.name);
    return known?.bytes === row.receivedBytes ? known : hashOf(path, row.receivedBytes);
  }

  /** Writes what comes behind what is there. @returns what broke it off, when something did */
  async function receive(
    file: FileHandle,
    row: ImageRow,
    state: Progress,
    source: AsyncIterable<Uint8Array>,
  ): Promise<unknown> {
    let toldAt = Date.now();
    const store = async (chunk: Uint8Array) => {
      for (let done = 0; done < chunk.length;) {
        const { bytesWritten } = await file.write(chunk, done, chunk.length - done, state.bytes + done);
        done += bytesWritten;
      }
      state.hash.update(chunk);
      state.bytes += chunk.length;
      if (Date.now() - toldAt < progressMs) return;
      toldAt = Date.now();
      await repository.updateImage(db, row.name, { receivedBytes: state.bytes });
    };
    const pieces = source[Symbol.asyncIterator]();
    for (;;) {
      const next = await pieces.next().catch(() => null);
      if (next === null) {
        return new CodedError(
          'WRONG_OFFSET',
          `the connection broke: ${row.name} goes on at byte ${state.bytes}`,
        );
      }
      if (next.done === true) return null;
      if (state.bytes + next.value.length > row.sizeBytes) {
        return new CodedError('INVALID_INPUT', `more bytes than the ${row.sizeBytes} that were announced`);
      }
      try {
        await store(next.value);
      } catch (error) {
        return error;
      }
    }
  }

  async function refuse(path: string, name: string, reason: string): Promise<CodedError> {
    await rm(path, { force: true });
    progress.delete(name);
    await repository.updateImage(db, name, { state: 'refused', reason });
    return new CodedError('IMAGE_REFUSED', reason);
  }

  /** Everything is there: is it what it should be? */
  async function complete(actor: Actor, directory: string, row: ImageRow, hash: Hash): Promise<void> {
    const path = join(directory, partName(row.name));
    const target = join(directory, row.name);
    const sha256 = hash.digest('hex');
    progress.delete(row.name);
    await repository.updateImage(db, row.name, { state: 'checking', sha256 });
    if (row.expectedSha256 !== null && row.expectedSha256 !== sha256) {
      const words = `the SHA-256 of what was received is ${sha256}, and ${row.expectedSha256} was announced: send it again`;
      throw await refuse(path, row.name, words);
    }
    try {
      const found = await images.examine(path, row.kind, row.format);
      await seal(path);
      // A file of this name that somebody put there meanwhile is not written over.
      await link(path, target);
      await rm(path);
      const sha256Of = identityOf(await stat(target, { bigint: true }));
      await db.transaction().execute(async (trx) => {
        await repository.updateImage(trx, row.name, { state: 'ready', sha256Of, ...found });
        await audit.record(trx, actor, 'image.receive', row.name, { sha256, sizeBytes: row.sizeBytes });
      });
    } catch (thrown) {
      const error = toCoded(thrown);
      if (error instanceof CodedError && error.code === 'IMAGE_REFUSED') {
        throw await refuse(path, row.name, error.message);
      }
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') {
        throw await refuse(path, row.name, `a file ${row.name} was put into the folder meanwhile`);
      }
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
        throw new CodedError('IMAGE_NOT_FOUND', `${row.name} was deleted meanwhile`);
      }
      // It can be checked again: with no more bytes to come, at the end.
      await repository.updateImage(db, row.name, { state: 'uploading' });
      throw error;
    }
  }

  /**
   * We may have ended between giving a complete file its name and saying so: then the name is taken back, and the file
   * is checked again. A file that somebody else has put there is not touched.
   */
  async function takeBack(path: string, target: string, row: ImageRow): Promise<void> {
    const [part, named] = await Promise.all([lstatOrNull(path), lstatOrNull(target)]);
    if (!named?.isFile()) return;
    if (part) {
      if (part.dev !== named.dev || part.ino !== named.ino) return;
      await rm(target);
    } else {
      if (row.sha256 === null || named.size !== row.sizeBytes) return;
      if ((await hashOf(target, named.size)).hash.digest('hex') !== row.sha256) return;
      await rename(target, path);
    }
    await chmod(path, partMode);
  }

  async function put(
    actor: Actor,
    row: ImageRow,
    offset: number,
    source: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const directory = await images.folder();
    const path = join(directory, partName(row.name));
    await takeBack(path, join(directory, row.name), row);
    const state = await resume(path, row);
    if (offset !== state.bytes) throw wrongOffset(row.name, state.bytes);
    // What a crash left behind what is known to be there is not trusted.
    await using file = await open(path, state.bytes === 0 ? 'w' : 'r+', partMode);
    await truncate(path, state.bytes);
    progress.set(row.name, state);
    const broken = await receive(file, row, state, source);
    await file.datasync().catch((error: unknown) => {
      throw toCoded(error);
    });
    await repository.updateImage(db, row.name, { receivedBytes: state.bytes });
    if (broken !== null) throw toCoded(broken);
    if (state.bytes === row.sizeBytes) await complete(actor, directory, row, state.hash);
  }

  return {
    /**
     * @throws CodedError WRONG_OFFSET, IMAGE_REFUSED, STORAGE_FULL, INVALID_INPUT for more than was announced,
     * IMAGE_NOT_READY while somebody else sends, NAME_TAKEN where it is complete
     */
    async putBytes(
      actor: Actor,
      name: string,
      offset: number,
      source: AsyncIterable<Uint8Array>,
    ): Promise<Image> {
      if (busy.has(name)) {
        throw new CodedError('IMAGE_NOT_READY', `${name} is being sent or checked already`);
      }
      // Before its row is read: what that says stays true until the end.
      busy.add(name);
      try {
        const row = await repository.findImage(db, name);
        if (!row) throw await images.unknown(name);
        if (row.state === 'ready')
          throw new CodedError('NAME_TAKEN', `${name} is complete: nothing is added to it`);
        if (row.state === 'refused') {
          throw new CodedError('IMAGE_REFUSED', `${name} was refused: delete it, then announce it anew`);
        }
        await put(actor, row, offset, source);
      } finally {
        busy.delete(name);
      }
      return images.get(name);
    },

    /** Uploads that were being checked when we ended are checked again when their sender asks. */
    async start(): Promise<void> {
      for (const row of await repository.listImages(db)) {
        if (row.state === 'checking') await repository.updateImage(db, row.name, { state: 'uploading' });
      }
    },
  };
}

async function hashOf(path: string, length: number): Promise<Progress> {
  const hash = createHash('sha256');
  let bytes = 0;
  if (length > 0) {
    for await (const chunk of createReadStream(path, { end: length - 1 })) {
      const piece = chunk as Buffer;
      hash.update(piece);
      bytes += piece.length;
    }
  }
  return { hash, bytes };
}

async function lstatOrNull(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

function wrongOffset(name: string, receivedBytes: number): CodedError {
  return new CodedError('WRONG_OFFSET', `${name} goes on at byte ${receivedBytes}`, {
    issues: [{ path: 'offset', message: String(receivedBytes) }],
  });
}
