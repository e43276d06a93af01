import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdir, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { maxChunkBytes, type Offsets, type SpoolChunk, type SpoolStream } from '@vmo/contract';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Mask } from './mask.ts';
import { SpoolReader, watchDirectory } from './spool.ts';

let home: TemporaryDirectory;
let reader: SpoolReader;

beforeEach(async () => {
  home = await temporaryDirectory();
  reader = new SpoolReader(home.path);
});

afterEach(async () => {
  await reader.close();
  await home[Symbol.asyncDispose]();
});

const none: Offsets = { stdout: 0, stderr: 0, boot: 0, command: 0 };
const write = (stream: SpoolStream, bytes: Uint8Array | string) => writeFile(join(home.path, stream), bytes);
const decode = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

/** Reads to the end, the way the shipper does, and checks what every chunk must be. */
async function readAll(end: Offsets | null, from: Offsets = none) {
  const offsets = { ...from };
  const all: SpoolChunk[] = [];
  for (;;) {
    const chunks = await reader.read(offsets, end);
    if (chunks.length === 0) return all;
    for (const chunk of chunks) {
      expect(chunk.offset).toBe(offsets[chunk.stream]);
      expect(chunk.bytes.length).toBeGreaterThan(0);
      expect(chunk.bytes.length).toBeLessThanOrEqual(maxChunkBytes);
      offsets[chunk.stream] += chunk.bytes.length;
    }
    all.push(...chunks);
  }
}

const joined = (chunks: readonly SpoolChunk[], stream: SpoolStream = 'stdout') =>
  Buffer.concat(chunks.filter((chunk) => chunk.stream === stream).map((chunk) => chunk.bytes));

describe('SpoolReader', () => {
  it('has nothing where there is no file, and finds it when it comes', async () => {
    expect(await readAll(null)).toEqual([]);
    await write('stderr', 'oh\n');
    expect(joined(await readAll(null), 'stderr').toString()).toBe('oh\n');
  });

  it('throws for a file that cannot be opened for another reason', async () => {
    await rm(home.path, { recursive: true });
    await writeFile(home.path, 'not a directory');
    await expect(reader.read(none, null)).rejects.toThrow(/ENOTDIR/);
  });

  it('reads both streams, each from its own offset', async () => {
    await write('stdout', '0123456789');
    await write('stderr', 'abcdef');
    const chunks = await readAll(null, { stdout: 7, stderr: 2, boot: 0, command: 0 });
    expect(joined(chunks).toString()).toBe('789');
    expect(joined(chunks, 'stderr').toString()).toBe('cdef');
  });

  it('follows a file that grows, and goes back when it is told to', async () => {
    await write('stdout', 'one\n');
    expect(joined(await readAll(null)).toString()).toBe('one\n');
    await appendFile(join(home.path, 'stdout'), 'two\n');
    expect(joined(await readAll(null, { stdout: 4, stderr: 0, boot: 0, command: 0 })).toString()).toBe(
      'two\n',
    );
    expect(joined(await readAll(null)).toString()).toBe('one\ntwo\n');
  });

  it('waits for the rest of a character, until the end', async () => {
    await write('stdout', Buffer.from([0x61, 0xe2, 0x82]));
    expect(joined(await readAll(null))).toEqual(Buffer.from([0x61]));
    expect(await reader.read({ stdout: 1, stderr: 0, boot: 0, command: 0 }, null)).toEqual([]);
    expect(joined(await readAll({ stdout: 3, stderr: 0, boot: 0, command: 0 }))).toEqual(
      Buffer.from([0x61, 0xe2, 0x82]),
    );
    await appendFile(join(home.path, 'stdout'), Buffer.from([0xac]));
    expect(joined(await readAll(null, { stdout: 1, stderr: 0, boot: 0, command: 0 })).toString()).toBe('€');
  });

  it('reads nothing behind the end of a run, whatever a process that it left behind writes', async () => {
    await write('stdout', Buffer.from('end€late'));
    expect(joined(await readAll({ stdout: 4, stderr: 0, boot: 0, command: 0 }))).toEqual(
      Buffer.from([0x65, 0x6e, 0x64, 0xe2]),
    );
  });

  it('has nothing after the end of a file that was cut', async () => {
    await write('stdout', 'a long line\n');
    expect(joined(await readAll(null)).length).toBe(12);
    await truncate(join(home.path, 'stdout'), 3);
    expect(
      await reader.read(
        { stdout: 12, stderr: 0, boot: 0, command: 0 },
        { stdout: 12, stderr: 0, boot: 0, command: 0 },
      ),
    ).toEqual([]);
  });

  it('cuts a line of 5 MB into chunks between its characters', async () => {
    const line = '€'.repeat(Math.ceil((5 * 1024 * 1024) / 3));
    await write('stdout', line);
    const chunks = await readAll(null);
    expect(chunks.length).toBeGreaterThanOrEqual(80);
    expect(chunks.every((chunk) => !decode(chunk.bytes).includes('\ufffd'))).toBe(true);
    expect(joined(chunks).equals(Buffer.from(line))).toBe(true);
  });

  it('gives any bytes exactly, in text that decodes as the whole does', async () => {
    /** Around the sizes of a chunk and of a read, where the cuts are. */
    const size = fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: maxChunkBytes - 4, max: maxChunkBytes + 4 }),
      fc.integer({ min: 16 * maxChunkBytes - 4, max: 16 * maxChunkBytes + 70_000 }),
    );
    const unit = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }).map((text) => Buffer.from(text)),
      fc.constant(Buffer.from([0xf0, 0x9f, 0x98])),
    );
    await fc.assert(
      fc.asyncProperty(size, unit, fc.boolean(), async (length, pattern, random) => {
        await reader.close();
        const whole = random ? randomBytes(length) : Buffer.alloc(length, pattern);
        await write('stdout', whole);
        const chunks = await readAll({ stdout: whole.length, stderr: 0, boot: 0, command: 0 });
        expect(joined(chunks).equals(whole)).toBe(true);
        expect(chunks.map((chunk) => decode(chunk.bytes)).join('') === decode(whole)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe('watchDirectory', () => {
  it('tells of a change, and stops', async () => {
    let calls = 0;
    const stop = watchDirectory(home.path, () => (calls += 1));
    await write('stdout', 'x');
    await until('a call', () => calls > 0);
    stop();
    const before = calls;
    await write('stdout', 'y');
    await new Promise(setImmediate);
    expect(calls).toBe(before);
  });

  it('polls where nothing can be watched', async () => {
    let calls = 0;
    const stop = watchDirectory(join(home.path, 'nowhere'), () => (calls += 1));
    await mkdir(join(home.path, 'nowhere'));
    await until('a call', () => calls > 0);
    stop();
  });
});

it('hides secrets however the output comes, the same each time it is read, and in the digest', async () => {
  const mask = new Mask(['abab', 'hunter2']);
  const pieces = ['xaba', 'b', 'ab hun', 'ter', '2', ' abab hunt'];
  const text = pieces.join('');
  const expected = 'x****** ******* **** hunt';
  const masked = new SpoolReader(home.path, { mask });
  try {
    await write('stdout', '');
    const offsets = { ...none };
    let shown = '';
    const take = async (end: Offsets | null) => {
      for (const { bytes } of await masked.read(offsets, end)) {
        shown += decode(bytes);
        offsets.stdout += bytes.length;
      }
    };
    for (const piece of pieces) {
      await appendFile(join(home.path, 'stdout'), piece);
      await take(null);
      expect(expected.startsWith(shown)).toBe(true);
    }
    const end = { stdout: text.length, stderr: 0, boot: 0, command: 0 };
    await take(end);
    expect(shown).toBe(expected);
    // From any place, as after a restart.
    for (let from = 0; from < text.length; from++) {
      const [chunk] = await masked.read({ stdout: from, stderr: 0, boot: 0, command: 0 }, end);
      expect(decode(chunk?.bytes ?? Buffer.alloc(0))).toBe(expected.slice(from));
    }
    const digest = createHash('sha256').update(expected).digest('hex');
    expect(await masked.digest('stdout', [[0, text.length]])).toBe(digest);
  } finally {
    await masked.close();
  }
});

it('can be compared piece by piece while a secret comes, also when what was compared is freed', async () => {
  // The end of one is the beginning of another: what is given ends within a secret.
  const mask = new Mask(['xyab', 'abcd', 'bcdexy']);
  const part = fc.constantFrom('xy', 'ab', 'cd', 'e', 'xyab', 'abcd', '€', '\n');
  await fc.assert(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 30 }), fc.boolean(), async (parts, frees) => {
      await write('stdout', '');
      const masked = new SpoolReader(home.path, { mask });
      try {
        const whole = Buffer.from(parts.join(''));
        mask.hide(whole);
        const offsets = { ...none };
        let written = 0;
        const compareNext = async (end: Offsets | null) => {
          const before = offsets.stdout;
          const hash = createHash('sha256');
          for (const { bytes } of await masked.read(offsets, end)) {
            hash.update(bytes);
            expect(Buffer.from(bytes)).toEqual(whole.subarray(offsets.stdout, offsets.stdout + bytes.length));
            offsets.stdout += bytes.length;
          }
          return async () => {
            const range = [[before, offsets.stdout]] as const;
            expect(await masked.digest('stdout', range, end?.stdout)).toBe(hash.digest('hex'));
            if (frees) await writeFreed(offsets.stdout - mask.context);
          };
        };
        /** What `free` does to a file, without a program for each. */
        const writeFreed = async (bytes: number) => {
          if (bytes <= 0) return;
          await using file = await open(join(home.path, 'stdout'), 'r+');
          await file.write(Buffer.alloc(bytes), 0, bytes, 0);
        };
        let compare: () => Promise<void> = () => Promise.resolve();
        for (const piece of parts) {
          await appendFile(join(home.path, 'stdout'), piece);
          written += Buffer.byteLength(piece);
          // More has been written by then.
          await compare();
          compare = await compareNext(null);
        }
        await compare();
        await (
          await compareNext({ ...none, stdout: written })
        )();
        expect(offsets.stdout).toBe(written);
      } finally {
        await masked.close();
      }
    }),
    { numRuns: 150, examples: [[['xyab', 'e', 'cd'], true]] },
  );
});

it('gives back to the disk what is before a place, but not what hiding a secret needs', async () => {
  const mask = new Mask(['hunter2']);
  const masked = new SpoolReader(home.path, { mask });
  try {
    const lines = 'x'.repeat(100_000);
    await write('stdout', `${lines}hunter2 ${lines}`);
    // In the middle of the secret.
    const place = lines.length + 3;
    expect(await masked.free('stdout', place)).toBe(true);
    expect((await stat(join(home.path, 'stdout'))).blocks * 512).toBeLessThan(1.5 * lines.length);
    const [chunk] = await masked.read({ ...none, stdout: place }, null);
    expect(decode(chunk?.bytes ?? Buffer.alloc(0)).slice(0, 5)).toBe('**** ');
    expect(await masked.free('stdout', 3)).toBe(true);
  } finally {
    await masked.close();
  }
});
