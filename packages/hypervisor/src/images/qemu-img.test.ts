import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createQemuImg } from './qemu-img.ts';
import { diskBytes, formatBytes, GiB, MiB, TiB } from './sizes.ts';
import { craftQcow2, execute, temporaryDirectory } from './testing.ts';

const qemuImg = createQemuImg();
const problem = (name: string): unknown => expect.objectContaining({ name: 'ImageError', problem: name });

const awkward = [
  'a,b.qcow2',
  'a,file.filename=,readonly=on',
  'nbd:10.0.0.1:10809',
  'json:{"driver":"null-co"}',
  '-f raw',
  '--help',
  'with spaces and ünïcödé',
  `q'u"o$(te)`,
];

/** Writes through qemu-io's data path: what a guest would have written. */
async function guestWrites(path: string, pattern: number, offset: string): Promise<void> {
  const write = `write -P ${String(pattern)} ${offset} 64k`;
  await execute('qemu-io', ['-f', 'qcow2', '-c', write, path]);
}
const guestReads = async (path: string, format: string, pattern: number, offset: string) =>
  (await execute('qemu-io', ['-f', format, '-r', '-c', `read -P ${String(pattern)} ${offset} 64k`, path]))
    .stdout;

describe('creating', () => {
  it.each(awkward)('takes %j as a name, literally, for everything', async (name) => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, name);
    const top = join(folder.path, `${name} top`);
    await qemuImg.createDisk({ path, sizeBytes: 4 * MiB, format: 'qcow2' });
    const backing = { path, format: 'qcow2' } as const;
    await qemuImg.createOverlay({ path: top, backing, sizeBytes: 8 * MiB });
    await qemuImg.resizeDisk({ path: top, format: 'qcow2', backing, sizeBytes: 16 * MiB });
    await guestWrites(top, 7, '0');
    await qemuImg.commitOverlay({ path: top, format: 'qcow2', backing });
    await qemuImg.convertImage({
      source: { path: top, format: 'qcow2', backing },
      target: `${path} flat`,
      targetFormat: 'raw',
    });
    await expect(qemuImg.checkImage({ path: top, format: 'qcow2', backing })).resolves.toMatchObject({
      clean: true,
    });
    await expect(qemuImg.listSnapshots({ path, format: 'qcow2' })).resolves.toEqual([]);
    expect((await readdir(folder.path)).sort()).toEqual([name, `${name} flat`, `${name} top`].sort());
  });

  it('refuses names with a line break, and paths that are not absolute', async () => {
    await using folder = await temporaryDirectory();
    for (const path of [join(folder.path, 'a\nb'), 'disk.qcow2', 'nbd:x:1']) {
      await expect(qemuImg.createDisk({ path, sizeBytes: MiB, format: 'raw' })).rejects.toThrow(
        problem('bad-name'),
      );
      await expect(qemuImg.inspectImage(path, 'raw')).rejects.toThrow(problem('bad-name'));
    }
  });

  it('never overwrites, and leaves nothing behind when it fails', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'disk');
    await writeFile(path, 'precious');
    await expect(qemuImg.createDisk({ path, sizeBytes: MiB, format: 'qcow2' })).rejects.toThrow(
      problem('exists'),
    );
    expect(await readFile(path, 'utf8')).toBe('precious');
    await expect(
      qemuImg.createDisk({ path: join(folder.path, 'no/disk'), sizeBytes: MiB, format: 'raw' }),
    ).rejects.toThrow(problem('failed'));
    expect(await readdir(folder.path)).toEqual(['disk']);
  });

  it('rounds sizes up to sectors, and keeps files to ourselves', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'disk');
    await expect(qemuImg.createDisk({ path, sizeBytes: MiB + 1, format: 'raw' })).resolves.toBe(MiB + 512);
    const stats = await stat(path);
    expect(stats.size).toBe(MiB + 512);
    expect(stats.mode & 0o777).toBe(0o600);
    expect(stats.nlink).toBe(1);
  });
});

describe('sizes', () => {
  it.each([0, -1, MiB - 1, 16 * TiB + 1, NaN, Infinity, MiB + 0.5, 2 ** 60])(
    'of %d bytes are refused',
    (value) => {
      expect(() => diskBytes(value, 'disks.0.sizeBytes')).toThrow(
        /^disks\.0\.sizeBytes is .*: it must be a whole number from 1 MiB to 16 TiB$/,
      );
    },
  );

  it('have a limit that can be set', () => {
    expect(diskBytes(GiB, 'sizeBytes', GiB)).toBe(GiB);
    expect(() => diskBytes(GiB + 1, 'sizeBytes', GiB)).toThrow('1 GiB');
    expect(formatBytes(1536 * MiB)).toBe('1536 MiB');
  });
});

describe('an overlay', () => {
  it('shows its base, may be larger and not smaller, and flows back into it', async () => {
    await using folder = await temporaryDirectory();
    const base = { path: join(folder.path, 'base'), format: 'qcow2' } as const;
    await qemuImg.createDisk({ ...base, sizeBytes: 8 * MiB });
    await guestWrites(base.path, 1, '0');
    const path = join(folder.path, 'top');
    await expect(qemuImg.createOverlay({ path, backing: base, sizeBytes: 4 * MiB })).rejects.toThrow(
      problem('range'),
    );
    await expect(qemuImg.createOverlay({ path, backing: base })).resolves.toBe(8 * MiB);
    const top = { path, format: 'qcow2', backing: base } as const;
    expect(await guestReads(path, 'qcow2', 1, '0')).not.toContain('failed');
    await guestWrites(path, 2, '1M');
    await expect(qemuImg.inspectImage(path, 'qcow2', { backing: base })).resolves.toMatchObject({
      backingPath: base.path,
    });
    await expect(qemuImg.inspectImage(path, 'qcow2')).rejects.toThrow(problem('backing-file'));
    await qemuImg.commitOverlay(top);
    expect(await guestReads(base.path, 'qcow2', 2, '1M')).not.toContain('failed');
  });

  it('on an overlay on a raw base works, and flattens into one file', async () => {
    await using folder = await temporaryDirectory();
    const file = (name: string) => join(folder.path, name);
    const base = { path: file('base'), format: 'raw' } as const;
    await writeFile(base.path, Buffer.alloc(2 * MiB, 5));
    const middle = { path: file('middle'), format: 'qcow2', backing: base } as const;
    await qemuImg.createOverlay(middle);
    const top = { path: file('top'), format: 'qcow2', backing: middle } as const;
    await qemuImg.createOverlay(top);
    await guestWrites(top.path, 6, '1M');
    const percents: number[] = [];
    await qemuImg.convertImage({
      source: top,
      target: file('flat'),
      targetFormat: 'qcow2',
      compress: true,
      onProgress: (percent) => percents.push(percent),
    });
    expect(percents.at(-1)).toBe(100);
    await expect(qemuImg.inspectImage(file('flat'), 'qcow2')).resolves.toMatchObject({ backingPath: null });
    expect(await guestReads(file('flat'), 'qcow2', 5, '0')).not.toContain('failed');
    expect(await guestReads(file('flat'), 'qcow2', 6, '1M')).not.toContain('failed');
  });

  it('is not made on an image that reads from elsewhere', async () => {
    await using folder = await temporaryDirectory();
    const backing = { path: join(folder.path, 'evil'), format: 'qcow2' } as const;
    await writeFile(backing.path, craftQcow2({ backing: '/etc/passwd' }));
    await expect(qemuImg.createOverlay({ path: join(folder.path, 'top'), backing })).rejects.toThrow(
      problem('backing-file'),
    );
    expect(await readdir(folder.path)).toEqual(['evil']);
  });
});

describe('resizing', () => {
  it('grows both formats, and refuses to shrink', async () => {
    await using folder = await temporaryDirectory();
    for (const format of ['qcow2', 'raw'] as const) {
      const path = join(folder.path, format);
      await qemuImg.createDisk({ path, sizeBytes: 2 * MiB, format });
      await expect(qemuImg.resizeDisk({ path, format, sizeBytes: 3 * MiB })).resolves.toBe(3 * MiB);
      await expect(qemuImg.resizeDisk({ path, format, sizeBytes: 3 * MiB })).resolves.toBe(3 * MiB);
      await expect(qemuImg.inspectImage(path, format)).resolves.toMatchObject({ virtualBytes: 3 * MiB });
      await expect(qemuImg.resizeDisk({ path, format, sizeBytes: 2 * MiB })).rejects.toThrow(
        'disks only grow',
      );
    }
  });
});

describe('checking', () => {
  it('finds leaks and corruption, and changes nothing', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'disk');
    await qemuImg.createDisk({ path, sizeBytes: 8 * MiB, format: 'qcow2' });
    await guestWrites(path, 1, '0');
    await using file = await open(path, 'r+');
    const refcounts = 2 * 65_536;
    // Header, two refcount tables, L1, L2 and one cluster of data: the next one belongs to nobody.
    await file.truncate(7 * 65_536);
    await file.write(Buffer.from([0, 1]), 0, 2, refcounts + 2 * 6);
    const image = { path, format: 'qcow2' } as const;
    await expect(qemuImg.checkImage(image)).resolves.toEqual({
      clean: false,
      corruptions: 0,
      leaks: 1,
      errors: 0,
    });
    await file.write(Buffer.from([0, 0]), 0, 2, refcounts + 2 * 4);
    const { corruptions, clean } = (await qemuImg.checkImage(image)) ?? {};
    expect(clean).toBe(false);
    expect(corruptions).toBeGreaterThan(0);
  });

  it('has nothing to say about raw images', async () => {
    await using folder = await temporaryDirectory();
    const image = { path: join(folder.path, 'disk'), format: 'raw' } as const;
    await qemuImg.createDisk({ ...image, sizeBytes: MiB });
    await expect(qemuImg.checkImage(image)).resolves.toBeNull();
  });
});

it('lists the internal snapshots of a disk', async () => {
  await using folder = await temporaryDirectory();
  const image = { path: join(folder.path, 'disk'), format: 'qcow2' } as const;
  await qemuImg.createDisk({ ...image, sizeBytes: MiB });
  await execute('qemu-img', ['snapshot', '-c', 'before the change', image.path]);
  const [snapshot, ...others] = await qemuImg.listSnapshots(image);
  expect(snapshot).toMatchObject({ id: '1', name: 'before the change', vmStateBytes: 0 });
  expect(snapshot?.createdAt.getTime()).toBeLessThanOrEqual(Date.now());
  expect(others).toEqual([]);
});

it('deletes one internal snapshot, of an overlay with any name, and leaves what it holds', async () => {
  await using folder = await temporaryDirectory();
  const below = { path: join(folder.path, 'below'), format: 'qcow2' } as const;
  const image = { path: join(folder.path, 'a,readonly=on'), format: 'qcow2', backing: below } as const;
  await qemuImg.createDisk({ ...below, sizeBytes: MiB });
  await qemuImg.createOverlay({ path: image.path, backing: below });
  const { path } = image;
  await execute('qemu-img', ['snapshot', '-c', 'vmo-1', `./${path.split('/').at(-1) ?? ''}`], {
    cwd: folder.path,
  });
  await execute('qemu-img', ['snapshot', '-c', 'vmo-2', `./${path.split('/').at(-1) ?? ''}`], {
    cwd: folder.path,
  });
  await qemuImg.deleteSnapshot(image, 'vmo-1');
  expect((await qemuImg.listSnapshots(image)).map(({ name }) => name)).toEqual(['vmo-2']);
  await expect(qemuImg.deleteSnapshot(image, 'vmo-1')).rejects.toThrow(problem('failed'));
  await expect(qemuImg.deleteSnapshot(image, '-l')).rejects.toThrow(problem('bad-name'));
  // One that lies on something else than it is known to is not opened at all.
  await expect(qemuImg.deleteSnapshot({ path, format: 'qcow2' }, 'vmo-2')).rejects.toThrow(
    problem('backing-file'),
  );
  await expect(qemuImg.checkImage(image)).resolves.toMatchObject({ clean: true });
});

it('tells an overlay that nothing was written to from one that something was', async () => {
  await using folder = await temporaryDirectory();
  const below = { path: join(folder.path, 'below'), format: 'qcow2' } as const;
  await qemuImg.createDisk({ ...below, sizeBytes: 8 * MiB });
  await guestWrites(below.path, 1, '0');
  const make = async (name: string) => {
    const image = { path: join(folder.path, name), format: 'qcow2', backing: below } as const;
    await qemuImg.createOverlay({ path: image.path, backing: below });
    return image;
  };
  const [untouched, written, zeroed, kept] = [
    await make('a'),
    await make('b'),
    await make('c'),
    await make('d'),
  ];
  await guestWrites(written.path, 2, '4M');
  await execute('qemu-io', ['-f', 'qcow2', '-c', 'write -z 0 64k', zeroed.path]);
  await execute('qemu-img', ['snapshot', '-c', 'one', kept.path]);
  expect(await qemuImg.isUntouched(untouched)).toBe(true);
  for (const image of [written, zeroed, kept]) expect(await qemuImg.isUntouched(image)).toBe(false);
  await expect(qemuImg.isUntouched({ ...untouched, path: join(folder.path, 'none') })).rejects.toThrow(
    problem('missing'),
  );
});

describe('when something is in the way', () => {
  it('says that another process writes to the disk, and still looks at it', async () => {
    await using folder = await temporaryDirectory();
    const image = { path: join(folder.path, 'disk'), format: 'qcow2' } as const;
    await qemuImg.createDisk({ ...image, sizeBytes: 8 * MiB });
    const guest = spawn('qemu-io', ['-f', 'qcow2', image.path], { stdio: ['pipe', 'pipe', 'inherit'] });
    guest.stdin.write('write 0 64k\n');
    await once(guest.stdout, 'data');
    try {
      await expect(qemuImg.resizeDisk({ ...image, sizeBytes: 16 * MiB })).rejects.toThrow(problem('in-use'));
      await expect(qemuImg.inspectImage(image.path, 'qcow2')).resolves.toMatchObject({
        virtualBytes: 8 * MiB,
      });
    } finally {
      guest.stdin.end('quit\n');
      await once(guest, 'close');
    }
  });

  it('says what to install where qemu-img is missing', async () => {
    const missing = createQemuImg({ binary: 'qemu-img-of-nobody' });
    await expect(missing.createDisk({ path: '/tmp/x', sizeBytes: MiB, format: 'raw' })).rejects.toThrow(
      'install qemu-utils (Debian, Ubuntu)',
    );
  });

  it('kills a qemu-img that hangs, with everything it started', async () => {
    await using folder = await temporaryDirectory();
    const program = join(folder.path, 'qemu-img');
    await writeFile(program, `#!/bin/sh\nsleep 1000 &\necho $! > '${folder.path}/pid'\nwait\n`, {
      mode: 0o755,
    });
    const hanging = createQemuImg({ binary: program, timeoutMs: 300 });
    await expect(
      hanging.createDisk({ path: join(folder.path, 'disk'), sizeBytes: MiB, format: 'raw' }),
    ).rejects.toThrow(problem('timeout'));
    const pid = (await readFile(join(folder.path, 'pid'), 'utf8')).trim();
    // A zombie of a container without an init may still be listed: dead is dead.
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: gone');
    expect(status).toMatch(/State:\s*(gone|Z)/);
  });

  it('ends with us, when nobody waits for it any more', async () => {
    await using folder = await temporaryDirectory();
    const program = join(folder.path, 'qemu-img');
    const said = join(folder.path, 'pid');
    await writeFile(program, `#!/bin/sh\necho $$ > '${said}'\nexec sleep 1000\n`, { mode: 0o755 });
    const script = `
      import { createQemuImg } from ${JSON.stringify(join(import.meta.dirname, 'qemu-img.ts'))};
      await createQemuImg({ binary: ${JSON.stringify(program)} })
        .createDisk({ path: ${JSON.stringify(join(folder.path, 'disk'))}, sizeBytes: 1048576, format: 'raw' });`;
    const us = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' });
    const read = () => readFile(said, 'utf8').catch(() => '');
    await expect.poll(read, { timeout: 20_000 }).toMatch(/^\d+\n/);
    const pid = (await read()).trim();
    us.kill('SIGKILL');
    await once(us, 'close');
    await expect
      .poll(() => readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: gone'), { timeout: 10_000 })
      .toMatch(/State:\s*(gone|Z)/);
  });

  it('can be cancelled, and leaves no half-written file', async () => {
    await using folder = await temporaryDirectory();
    const source = { path: join(folder.path, 'source'), format: 'raw' } as const;
    await qemuImg.createDisk({ ...source, sizeBytes: MiB });
    const cancel = new AbortController();
    const converting = qemuImg.convertImage({
      source,
      target: join(folder.path, 'target'),
      targetFormat: 'qcow2',
      signal: cancel.signal,
    });
    cancel.abort(new Error('changed my mind'));
    await expect(converting).rejects.toThrow('changed my mind');
    expect(await readdir(folder.path)).toEqual(['source']);
  });
});
