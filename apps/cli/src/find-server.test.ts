import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { findServer } from './find-server.ts';

/** A machine with a server of this user, whose data directory is the usual one, and a directory to be in. */
async function machine() {
  const directory = await temporaryDirectory();
  const [data, cwd] = [join(directory.path, 'data', 'vmo'), join(directory.path, 'cwd')];
  await mkdir(data, { recursive: true });
  await mkdir(cwd);
  await writeFile(join(data, 'address.json'), JSON.stringify({ url: 'http://127.0.0.1:8123', pid: 1 }));
  await writeFile(join(data, 'token'), 'kept-token\n');
  return {
    data,
    cwd,
    find: (env: Record<string, string> = {}, url?: string) =>
      findServer({ env: { VMO_DATA_DIR: data, ...env }, cwd, home: directory.path }, url),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

describe('a server of this machine', () => {
  it('is found with its token, with nothing to be set', async () => {
    await using here = await machine();
    expect(here.find()).toMatchObject({
      url: 'http://127.0.0.1:8123',
      token: 'kept-token',
      tokenFrom: join(here.data, 'token'),
      dataDirectory: here.data,
    });
  });

  it('is looked for at the usual port where none has left its address', async () => {
    await using here = await machine();
    expect(here.find({ VMO_DATA_DIR: join(here.cwd, 'none') })).toMatchObject({
      url: 'http://127.0.0.1:8000',
      token: null,
      isAnnounced: false,
    });
  });

  it('takes the token of the environment before the kept one', async () => {
    await using here = await machine();
    expect(here.find({ VMO_TOKEN: 'mine' })).toMatchObject({ token: 'mine', tokenFrom: 'VMO_TOKEN' });
  });
});

describe('a server elsewhere', () => {
  it('is that of --url before VMO_URL, with the token of the environment', async () => {
    await using here = await machine();
    const env = { VMO_URL: 'https://one.example/vmo/', VMO_TOKEN: 'mine' };
    expect(here.find(env)).toMatchObject({
      url: 'https://one.example/vmo',
      token: 'mine',
      urlFrom: 'VMO_URL',
    });
    expect(here.find(env, 'https://two.example')).toMatchObject({
      url: 'https://two.example',
      urlFrom: '--url',
    });
  });

  it('never gets the token of the server here', async () => {
    await using here = await machine();
    expect(here.find({}, 'https://evil.example')).toMatchObject({ token: null, dataDirectory: null });
    expect(here.find({}, 'http://127.0.0.1:8123')).toMatchObject({ token: 'kept-token' });
  });

  it('is refused where it is no address', async () => {
    await using here = await machine();
    expect(() => here.find({ VMO_URL: 'cockpit' })).toThrow('VMO_URL is "cockpit": it takes an address');
    expect(() => here.find({}, 'ftp://x')).toThrow('--url is "ftp://x"');
  });
});

describe('.env of the directory that we are in', () => {
  it('names the data directory and the token, as for the server', async () => {
    await using here = await machine();
    const other = join(here.cwd, 'other');
    await mkdir(other);
    await writeFile(join(other, 'address.json'), JSON.stringify({ url: 'http://127.0.0.1:8200', pid: 1 }));
    await writeFile(join(here.cwd, '.env'), 'VMO_DATA_DIR=other\nVMO_TOKEN=of-file\n');
    expect(here.find({ VMO_DATA_DIR: '' })).toMatchObject({
      url: 'http://127.0.0.1:8200',
      token: 'of-file',
      tokenFrom: '.env',
    });
  });

  it('of a stranger cannot have our token sent to his server', async () => {
    await using here = await machine();
    const bait = join(here.cwd, 'bait');
    await mkdir(bait);
    await writeFile(join(bait, 'address.json'), JSON.stringify({ url: 'https://evil.example', pid: 1 }));
    await writeFile(join(here.cwd, '.env'), 'VMO_DATA_DIR=bait\nVMO_URL=https://evil.example\n');
    expect(here.find({ VMO_DATA_DIR: '', VMO_TOKEN: 'mine' })).toMatchObject({
      url: 'https://evil.example',
      token: null,
    });
  });
});
