import { mkdir, link, realpath, symlink, writeFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it, describe } from 'vitest';
import { openStorage } from './storage.ts';
import { execute, temporaryDirectory } from './testing.ts';

async function scene() {
  const outer = await temporaryDirectory();
  const storage = await openStorage(join(outer.path, 'storage'));
  const secret = join(outer.path, 'secret');
  await writeFile(secret, 'not for guests');
  return { outer, storage, secret, [Symbol.asyncDispose]: () => outer[Symbol.asyncDispose]() };
}

const problem = (name: string): unknown => expect.objectContaining({ name: 'ImageError', problem: name });

describe('paths', () => {
  it('gives the folders of images, disks and machines, and makes them', async () => {
    await using all = await scene();
    const { storage } = all;
    const id = '0f1b2c3d-0000-4000-8000-000000000001';
    expect(storage.imagePath('debian 12, nightly: amd64.qcow2')).toBe(
      join(storage.root, 'images/debian 12, nightly: amd64.qcow2'),
    );
    expect(storage.diskPath(id, 'raw')).toBe(join(storage.root, `disks/${id}.raw`));
    expect(storage.vmDirectory(id)).toBe(join(storage.root, `vms/${id}`));
    await expect(realpath(join(storage.root, 'vms'))).resolves.toBe(join(storage.root, 'vms'));
    await expect(openStorage(storage.root)).resolves.toMatchObject({ root: storage.root });
  });

  it.each(['', '.', '..', '../x', 'a/b', 'a\\b', '.hidden', 'a\nb', 'a\0b', 'a\u202eb', 'x'.repeat(201)])(
    'refuses %j as the name of an image',
    async (name) => {
      await using all = await scene();
      expect(() => all.storage.imagePath(name)).toThrow(problem('bad-name'));
    },
  );

  it.each(['', 'x', '../../etc/passwd', '0F1B2C3D-0000-4000-8000-000000000001', '-drive'])(
    'refuses %j as an id',
    async (id) => {
      await using all = await scene();
      expect(() => all.storage.diskPath(id, 'raw')).toThrow(problem('bad-name'));
      expect(() => all.storage.vmDirectory(id)).toThrow(problem('bad-name'));
    },
  );

  it('finds files that are inside, and places for files that are not there yet', async () => {
    await using all = await scene();
    const { storage } = all;
    await writeFile(join(storage.root, 'images/a, b:c'), 'bytes');
    const path = join(storage.root, 'images/a, b:c');
    await expect(storage.resolveInside('images/a, b:c')).resolves.toBe(path);
    await expect(storage.resolveInside(path)).resolves.toBe(path);
    await expect(storage.resolveInside('disks/new.qcow2')).resolves.toBe(
      join(storage.root, 'disks/new.qcow2'),
    );
    const opened = await storage.openInside('images/a, b:c');
    await using file = opened.file;
    expect(opened).toMatchObject({ path, bytes: 5 });
    expect(await file.readFile('utf8')).toBe('bytes');
  });

  it.each(['..', '.', '../secret', 'images/../../secret', '/etc/passwd', '/', '/proc/self/environ'])(
    'refuses %j, which leads out',
    async (path) => {
      await using all = await scene();
      await expect(all.storage.resolveInside(path)).rejects.toThrow(problem('outside'));
      await expect(all.storage.openInside(path)).rejects.toThrow(problem('outside'));
    },
  );

  it('does not tell whether a file outside exists', async () => {
    await using all = await scene();
    const there = await all.storage.resolveInside('/etc/passwd').catch(String);
    const notThere = await all.storage.resolveInside('/etc/nothing/passwd').catch(String);
    expect(there.replaceAll('/etc/passwd', 'X')).toBe(notThere.replaceAll('/etc/nothing/passwd', 'X'));
  });

  it('refuses a path with a line break or NUL', async () => {
    await using all = await scene();
    await expect(all.storage.resolveInside('images/a\nb')).rejects.toThrow(problem('bad-name'));
    await expect(all.storage.openInside('images/a\0b')).rejects.toThrow(problem('bad-name'));
  });

  it('says what is missing', async () => {
    await using all = await scene();
    await expect(all.storage.openInside('images/none')).rejects.toThrow('there is no images/none');
    await expect(all.storage.resolveInside('images/none/deeper')).rejects.toThrow(problem('missing'));
  });
});

describe('links', () => {
  it('refuses symbolic links to files, wherever they lead', async () => {
    await using all = await scene();
    const { storage, secret } = all;
    await writeFile(join(storage.root, 'images/real'), '');
    await symlink(secret, join(storage.root, 'images/out'));
    await symlink('real', join(storage.root, 'images/in'));
    await symlink('ring', join(storage.root, 'images/ring'));
    for (const name of ['out', 'in', 'ring']) {
      await expect(storage.resolveInside(`images/${name}`)).rejects.toThrow(problem('link'));
      await expect(storage.openInside(`images/${name}`)).rejects.toThrow(problem('link'));
    }
  });

  it('refuses a folder that is a link out of the storage', async () => {
    await using all = await scene();
    await symlink(all.outer.path, join(all.storage.root, 'images/folder'));
    await expect(all.storage.openInside('images/folder/secret')).rejects.toThrow(
      'through a symbolic link: files lie within',
    );
  });

  it('refuses hard links, since the bytes have another name somewhere', async () => {
    await using all = await scene();
    await link(all.secret, join(all.storage.root, 'images/hard'));
    await expect(all.storage.resolveInside('images/hard')).rejects.toThrow(problem('link'));
    await expect(all.storage.openInside('images/hard')).rejects.toThrow('hard link');
    expect(await readFile(all.secret, 'utf8')).toBe('not for guests');
  });

  it('refuses a storage whose own folder is a link', async () => {
    await using outer = await temporaryDirectory();
    await mkdir(join(outer.path, 'storage'));
    await symlink('/etc', join(outer.path, 'storage/images'));
    await expect(openStorage(join(outer.path, 'storage'))).rejects.toThrow(problem('outside'));
  });

  it('may itself be reached by a link', async () => {
    await using outer = await temporaryDirectory();
    await mkdir(join(outer.path, 'data'));
    await symlink('data', join(outer.path, 'storage'));
    const storage = await openStorage(join(outer.path, 'storage'));
    expect(storage.root).toBe(join(outer.path, 'data'));
  });
});

describe('what is no file', () => {
  it('refuses directories, pipes and sockets at once', async () => {
    await using all = await scene();
    const { storage } = all;
    await mkdir(join(storage.root, 'images/directory'));
    await execute('mkfifo', [join(storage.root, 'images/pipe')]);
    const server = createServer();
    await new Promise<void>((resolve) =>
      server.listen(join(storage.root, 'images/socket'), () => {
        resolve();
      }),
    );
    for (const name of ['directory', 'pipe', 'socket']) {
      await expect(storage.openInside(`images/${name}`)).rejects.toThrow(problem('not-a-file'));
      await expect(storage.resolveInside(`images/${name}`)).rejects.toThrow(problem('not-a-file'));
    }
    server.close();
  });
});
