import { readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { examineImage } from './inspect.ts';
import { createQemuImg } from './qemu-img.ts';
import { craftQcow2, execute, temporaryDirectory } from './testing.ts';

const qemuImg = createQemuImg();
const problem = (name: string): unknown => expect.objectContaining({ name: 'ImageError', problem: name });

async function written(content: Buffer | string) {
  const folder = await temporaryDirectory();
  const path = join(folder.path, 'image');
  await writeFile(path, content);
  return { folder: folder.path, path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const dataFile = 0x44415441;
const backingFormat = 0xe2792aca;

describe('a harmless image', () => {
  it('is taken, and QEMU agrees with the header that the tests craft', async () => {
    await using image = await written(craftQcow2());
    await expect(qemuImg.inspectImage(image.path, 'qcow2')).resolves.toMatchObject({
      format: 'qcow2',
      virtualBytes: 1_048_576,
      clusterBytes: 65_536,
      backingPath: null,
      snapshots: [],
    });
    await expect(qemuImg.checkImage({ path: image.path, format: 'qcow2' })).resolves.toMatchObject({
      clean: true,
    });
  });

  it.each([
    ['version 2', ['-o', 'compat=0.10']],
    ['512-byte clusters', ['-o', 'cluster_size=512']],
    ['2 MiB clusters', ['-o', 'cluster_size=2M']],
    ['zstd compression', ['-o', 'compression_type=zstd']],
    ['extended L2 entries', ['-o', 'extended_l2=on,cluster_size=128k']],
    ['preallocation', ['-o', 'preallocation=metadata']],
    ['1-bit refcounts', ['-o', 'refcount_bits=1']],
  ])('with %s, made by qemu-img, is taken', async (_name, args) => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'image');
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', ...args, path, '300M']);
    await expect(qemuImg.inspectImage(path, 'qcow2')).resolves.toMatchObject({ virtualBytes: 314_572_800 });
  });

  it('of the raw format is as large as its file, in whole sectors', async () => {
    await using image = await written(Buffer.alloc(1_000, 1));
    await expect(qemuImg.inspectImage(image.path, 'raw')).resolves.toMatchObject({
      format: 'raw',
      virtualBytes: 1_024,
      clusterBytes: null,
    });
  });
});

describe('a crafted image', () => {
  it.each<[string, Parameters<typeof craftQcow2>[0], string, string]>([
    ['a backing file', { backing: '/etc/passwd' }, 'backing-file', 'it lies on another file (/etc/passwd)'],
    ['a relative backing file', { backing: '../../secret' }, 'backing-file', '../../secret'],
    [
      'an address as backing file',
      { backing: 'nbd:10.0.0.1:80' },
      'backing-file',
      'read as an address (nbd:)',
    ],
    [
      'a JSON backing file',
      { backing: 'json:{"driver":"file"}' },
      'backing-file',
      'read as an address (json:)',
    ],
    ['a line break in the backing file', { backing: '/etc/\npasswd' }, 'backing-file', '/etc/\u{fffd}passwd'],
    [
      'a backing file name that reaches out',
      { backing: 'x', backingBytes: 70_000 },
      'corrupt',
      'backing file',
    ],
    ['the data file bit', { incompatible: 4n }, 'data-file', 'keeps its data in another file'],
    ['the raw data file bit', { autoclear: 2n }, 'data-file', 'keeps its data in another file'],
    [
      'the name of a data file',
      { extensions: [{ type: dataFile, data: Buffer.from('/etc/shadow') }] },
      'data-file',
      'names /etc/shadow',
    ],
    ['encryption', { encryption: 2 }, 'encrypted', 'decrypt it first'],
    [
      'an encryption header',
      { extensions: [{ type: 0x0537be77, data: Buffer.alloc(16) }] },
      'encrypted',
      'decrypt',
    ],
    ['the corrupt bit', { incompatible: 2n }, 'corrupt', 'qemu-img check'],
    ['the dirty bit', { incompatible: 1n }, 'dirty', 'not closed properly'],
    ['an unknown feature', { incompatible: 1n << 60n }, 'unsupported', 'not known here'],
    ['a version to come', { version: 4 }, 'unsupported', 'version 4'],
    ['an exabyte', { virtualBytes: 1n << 60n }, 'too-large', 'the limit is 2 TiB'],
    ['more bytes than a number holds', { virtualBytes: (1n << 64n) - 1n }, 'too-large', 'the limit is 2 TiB'],
    ['clusters of 4 GiB', { clusterBits: 32 }, 'corrupt', 'cluster size'],
    ['clusters of one byte', { clusterBits: 0 }, 'corrupt', 'cluster size'],
    ['an L1 table of 32 GiB', { l1Entries: 0xffffffff }, 'too-large', 'L1 table'],
    ['an L1 table behind its end', { l1Offset: 1n << 40n }, 'corrupt', 'behind the end'],
    ['an L1 table that is too short', { virtualBytes: 1n << 40n }, 'corrupt', 'too short'],
    ['an L1 table between clusters', { l1Offset: 3n * 65_536n + 8n }, 'corrupt', 'L1 table is at'],
    ['a refcount table of 256 TiB', { refcountClusters: 0xffffffff }, 'too-large', 'refcount table'],
    ['no refcount table', { refcountClusters: 0 }, 'corrupt', 'no refcount table'],
    ['a refcount table in the header', { refcountOffset: 0n }, 'corrupt', 'refcount table is at'],
    ['refcounts of 2^40 bits', { refcountOrder: 40 }, 'corrupt', 'refcounts'],
    ['four billion snapshots', { snapshots: 0xffffffff }, 'too-large', 'snapshots'],
    ['a header longer than itself', { headerBytes: 0xfffffff8 }, 'corrupt', 'header has'],
    [
      'an extension that reaches out',
      { extensions: [{ type: 1, data: Buffer.alloc(8), claimedBytes: 0xffffffff }] },
      'corrupt',
      'extension',
    ],
  ])('with %s is refused', async (_name, how, name, words) => {
    await using image = await written(craftQcow2(how));
    const refused = expect(qemuImg.inspectImage(image.path, 'qcow2')).rejects;
    await refused.toThrow(problem(name));
    await refused.toThrow(words);
  });

  it('is never seen by qemu-img', async () => {
    await using image = await written(craftQcow2({ backing: '/etc/passwd' }));
    const canary = join(image.folder, 'ran');
    const program = join(image.folder, 'qemu-img');
    await writeFile(program, `#!/bin/sh\n: > '${canary}'\n`, { mode: 0o755 });
    const watched = createQemuImg({ binary: program });
    await expect(watched.inspectImage(image.path, 'qcow2')).rejects.toThrow(problem('backing-file'));
    await expect(readFile(canary)).rejects.toThrow('ENOENT');
  });

  it.each([0, 3, 4, 71, 72, 103, 104, 70_000])(
    'that was cut off after %i bytes is refused',
    async (bytes) => {
      await using image = await written(craftQcow2().subarray(0, bytes));
      await expect(qemuImg.inspectImage(image.path, 'qcow2')).rejects.toThrow(
        problem(bytes < 4 ? 'wrong-format' : 'corrupt'),
      );
    },
  );

  it('with a larger disk than is wanted is refused, raw too', async () => {
    await using image = await written(craftQcow2());
    const limit = { maxVirtualBytes: 1_048_575 };
    await expect(qemuImg.inspectImage(image.path, 'qcow2', limit)).rejects.toThrow(problem('too-large'));
    await writeFile(image.path, '');
    await truncate(image.path, 3 * 1024 ** 4);
    await expect(qemuImg.inspectImage(image.path, 'raw')).rejects.toThrow('the limit is 2 TiB');
  });

  it('that is a link is not opened', async () => {
    await using image = await written(craftQcow2());
    const path = join(image.folder, 'link');
    await symlink(image.path, path);
    await expect(qemuImg.inspectImage(path, 'qcow2')).rejects.toThrow();
  });

  it('fuzzed byte by byte is refused, or is one that QEMU too reads without another file', async () => {
    await using image = await written('');
    const whole = craftQcow2({ backing: '/base', extensions: [{ type: 7, data: Buffer.from('abc') }] });
    let taken = 0;
    for (let at = 4; at < 160; at++) {
      for (const value of [0x00, 0x01, 0x7f, 0xff]) {
        const changed = Buffer.from(whole);
        changed[at] = value;
        await writeFile(image.path, changed);
        const error: unknown = await examineImage(image.path, 'qcow2').then(
          () => null,
          (refusal: unknown) => refusal,
        );
        if (error !== null) {
          expect(error).toMatchObject({ name: 'ImageError' });
          continue;
        }
        taken++;
        const info = await qemuImg.inspectImage(image.path, 'qcow2');
        expect(info.backingPath).toBeNull();
      }
    }
    // Where the place or the length of the backing file's name became 0.
    expect(taken).toBeGreaterThan(0);
  });
});

describe('an image of another format', () => {
  const at = (offset: number, bytes: string | Buffer) => {
    const file = Buffer.alloc(40_000);
    Buffer.from(bytes).copy(file, offset);
    return file;
  };
  it.each<[string, Buffer, string]>([
    [
      'VMDK',
      at(0, 'KDMV'),
      'this is a VMDK image, but qcow2 and raw are taken: convert it with qemu-img convert -f vmdk -O qcow2',
    ],
    [
      'VMDK by description',
      at(0, '# Disk DescriptorFile\nRW 1 FLAT "/etc/passwd" 0\n'),
      'this is a VMDK image',
    ],
    ['VDI', at(64, Buffer.from('7f10dabe', 'hex')), 'this is a VDI image'],
    ['VHDX', at(0, 'vhdxfile'), 'this is a VHDX image'],
    ['VHD with a footer alone', at(40_000 - 512, 'conectix'), 'this is a VHD image'],
    ['LUKS', at(0, Buffer.from('LUKS\xba\xbe', 'latin1')), 'this is an encrypted LUKS image'],
    ['qcow 1', at(0, Buffer.from('QFI\xfb\0\0\0\x01', 'latin1')), 'this is a qcow version 1 image'],
    ['ISO', at(32_769, 'CD001'), 'this is an ISO image'],
    ['xz', at(0, Buffer.from('fd377a585a00', 'hex')), 'decompress it first'],
    ['tar', at(257, 'ustar'), 'tar or OVA'],
    ['web page', at(0, '<!DOCTYPE html>'), 'web page'],
  ])('(%s) is named', async (_name, content, words) => {
    await using image = await written(content);
    for (const format of ['raw', 'qcow2'] as const) {
      const refused = expect(qemuImg.inspectImage(image.path, format)).rejects;
      await refused.toThrow(problem('foreign-format'));
      await refused.toThrow(words);
    }
  });

  it('is recognised when qemu-img itself makes it', async () => {
    await using folder = await temporaryDirectory();
    for (const format of ['vmdk', 'vdi', 'vhdx', 'vpc', 'qed', 'parallels', 'qcow']) {
      const path = join(folder.path, format);
      await execute('qemu-img', ['create', '-q', '-f', format, path, '8M']);
      await expect(qemuImg.inspectImage(path, 'raw')).rejects.toThrow(problem('foreign-format'));
    }
  });

  it('than was declared is refused both ways', async () => {
    await using image = await written(craftQcow2());
    await expect(qemuImg.inspectImage(image.path, 'raw')).rejects.toThrow(
      'image: this was said to be a raw image, and is a qcow2 image',
    );
    await writeFile(image.path, Buffer.alloc(4_096));
    await expect(qemuImg.inspectImage(image.path, 'qcow2')).rejects.toThrow('is it raw?');
  });

  it('is all right as a CD, or as what a guest wrote into its own raw disk', async () => {
    await using image = await written(at(32_769, 'CD001'));
    await expect(qemuImg.inspectImage(image.path, 'raw', { cdrom: true })).resolves.toMatchObject({
      format: 'raw',
    });
    await writeFile(image.path, craftQcow2({ backing: '/etc/passwd' }));
    await expect(qemuImg.inspectImage(image.path, 'raw', { guestWritten: true })).resolves.toMatchObject({
      format: 'raw',
      backingPath: null,
      virtualBytes: 4 * 65_536,
    });
  });
});

describe('an overlay', () => {
  it('is taken on its own base alone, with the right format, down to the last', async () => {
    await using folder = await temporaryDirectory();
    const file = (name: string) => join(folder.path, name);
    await writeFile(file('base'), craftQcow2());
    await writeFile(file('other'), craftQcow2());
    const over = (name: string, format: string | null) =>
      craftQcow2({
        backing: file(name),
        extensions: format === null ? [] : [{ type: backingFormat, data: Buffer.from(format) }],
      });
    const base = { path: file('base'), format: 'qcow2' } as const;
    const inspect = () => qemuImg.inspectImage(file('top'), 'qcow2', { backing: base });
    await writeFile(file('top'), over('base', 'qcow2'));
    await expect(inspect()).resolves.toMatchObject({ backingPath: file('base') });
    await writeFile(file('top'), over('other', 'qcow2'));
    await expect(inspect()).rejects.toThrow(problem('backing-file'));
    await writeFile(file('top'), over('base', null));
    await expect(inspect()).rejects.toThrow('whatever it looks like');
    await writeFile(file('top'), over('base', 'raw'));
    await expect(inspect()).rejects.toThrow('as raw, which is qcow2');
    await writeFile(file('top'), craftQcow2());
    await expect(inspect()).rejects.toThrow('does not lie on');
    await writeFile(file('top'), over('base', 'qcow2'));
    await writeFile(file('base'), craftQcow2({ backing: '/etc/passwd' }));
    await expect(inspect()).rejects.toThrow('/etc/passwd');
  });
});
