import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, type NeededImage } from '@vmo/contract';
import { StartError } from '@vmo/execution';
import { temporaryDirectory } from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { createImageCache, type BringOptions, type ImageCacheOptions } from './image-cache.ts';

const size = 100_000;

function imageOf(name: string, bytes = randomBytes(size)): NeededImage & { bytes: Buffer } {
  return { name, sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length, bytes };
}

/** The rest of an image; with `cutAt`, up to there only. */
async function* pieces(bytes: Buffer, from: number, cutAt = Infinity): AsyncGenerator<Uint8Array> {
  for (let at = from; at < bytes.length; at += 16_384) {
    if (at >= cutAt) throw new Error('the connection was cut');
    yield bytes.subarray(at, Math.min(at + 16_384, bytes.length));
  }
}

async function start(source: ImageCacheOptions['source'], maxBytes = 10 * size) {
  const home = await temporaryDirectory();
  const open = () => createImageCache({ folder: home.path, maxBytes, source });
  const notices: string[] = [];
  const how = (change: Partial<BringOptions> = {}): BringOptions => ({
    ...{ signal: new AbortController().signal, isHeld: () => true },
    notice: (line) => notices.push(line),
    ...change,
  });
  const cache = open();
  return {
    ...{ cache, open, how, notices, folder: home.path },
    files: () => readdir(home.path).then((names) => names.sort()),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

describe('the images of an agent', () => {
  it('are brought once, however many want one, and a cut goes on where it was', async () => {
    const image = imageOf('debian.qcow2');
    const asked: number[] = [];
    await using world = await start(async (_, offset) => {
      asked.push(offset);
      return pieces(image.bytes, offset, asked.length === 1 ? 50_000 : Infinity);
    });
    const { cache, how, folder } = world;
    expect(cache.fileOf(image.sha256)).toBeNull();
    await Promise.all([cache.bring([image], how()), cache.bring([image], how())]);
    expect(asked).toEqual([0, 65_536]);
    const file = `${image.sha256}-debian.qcow2`;
    expect(cache.fileOf(image.sha256)).toBe(file);
    expect(await world.files()).toEqual([file]);
    expect((await readFile(join(folder, file))).equals(image.bytes)).toBe(true);
    expect((await stat(join(folder, file))).mode & 0o777).toBe(0o444);
    expect(world.notices).toEqual(['bringing the image debian.qcow2 (97.7 KiB) from the server']);

    const next = world.open();
    await next.scan();
    expect(next.list()).toEqual([{ name: 'debian.qcow2', sha256: image.sha256 }]);
    await next.bring([image], how());
    expect(asked).toHaveLength(2);
  });

  it('begin anew when they came damaged, and are given up when they come so again', async () => {
    const image = imageOf('debian.qcow2');
    const damaged = Buffer.from(image.bytes);
    damaged[70_000] = (damaged[70_000] ?? 0) ^ 1;
    let left = 1;
    await using world = await start(async (_, offset) => pieces(left-- > 0 ? damaged : image.bytes, offset));
    await world.cache.bring([image], world.how());
    expect(await world.files()).toEqual([`${image.sha256}-debian.qcow2`]);

    left = 2;
    const other = imageOf('other.qcow2');
    await expect(world.cache.bring([{ ...other, sizeBytes: size }], world.how())).rejects.toThrow(
      new StartError('the image other.qcow2 came damaged, twice'),
    );
    expect(await world.files()).toEqual([`${image.sha256}-debian.qcow2`]);
  });

  it('are given up when nobody wants them, when they are gone, and when the agent is cut off', async () => {
    const image = imageOf('debian.qcow2');
    const cancel = new AbortController();
    await using world = await start(async (_, offset, signal) => {
      cancel.abort(new StartError('cancelled before it started'));
      signal.throwIfAborted();
      return pieces(image.bytes, offset);
    });
    await expect(world.cache.bring([image], world.how({ signal: cancel.signal }))).rejects.toThrow(
      'cancelled before it started',
    );

    await using gone = await start(() =>
      Promise.reject(new CodedError('IMAGE_NOT_FOUND', 'there is no such image')),
    );
    await expect(gone.cache.bring([image], gone.how())).rejects.toThrow(
      new StartError('the image debian.qcow2 is not on the server any more as it was'),
    );

    await using cut = await start(() => Promise.reject(new Error('unreachable')));
    await expect(cut.cache.bring([image], cut.how({ isHeld: () => false }))).rejects.toThrow('unreachable');
  });

  it('are within their bound, but for those in use and those that somebody put there', async () => {
    const [one, two, three] = [imageOf('one'), imageOf('two'), imageOf('three')];
    const all = [one, two, three];
    await using world = await start(async (sha256, offset) => {
      const image = all.find((some) => some.sha256 === sha256);
      return pieces(image?.bytes ?? Buffer.alloc(0), offset);
    }, 2 * size);
    const { cache, how } = world;
    const mine = imageOf('mine.qcow2');
    await writeFile(join(world.folder, mine.name), mine.bytes);
    await cache.scan();
    expect(cache.list()).toEqual([{ name: mine.name, sha256: mine.sha256 }]);
    for (const image of all) await cache.bring([image], how());
    await cache.bring([one], how());
    // The first was used since.
    await cache.trim(() => false);
    expect(cache.list().map(({ name }) => name)).toEqual(['mine.qcow2', 'one', 'three']);
    await cache.trim((sha256) => sha256 === one.sha256, 2 * size);
    expect(cache.list().map(({ name }) => name)).toEqual(['mine.qcow2', 'one']);
    expect(await world.files()).toEqual([`${one.sha256}-one`, 'mine.qcow2'].sort());

    const large = { ...imageOf('large'), sizeBytes: 3 * size };
    await expect(cache.bring([large], how())).rejects.toThrow(/it is too large to be brought/);
    await using none = await start(() => Promise.reject(new Error('unreachable')), 0);
    await expect(none.cache.bring([one], none.how())).rejects.toThrow(
      'the image one is not here, and this agent brings none (VMO_IMAGE_CACHE_GIB)',
    );
  });
});
