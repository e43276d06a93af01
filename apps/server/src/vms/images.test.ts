import { createHash } from 'node:crypto';
import { link, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NewTemplate } from '@vmo/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
}, 60_000);
afterAll(() => center[Symbol.asyncDispose]());

const mib = 1024 * 1024;
const pieces = async function* (...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
};
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );
const file = (name: string) => join(center.storage, 'images', name);

/** A disk that is surely raw, and no two alike. */
function disk(letter: string, bytes = mib): Buffer {
  return Buffer.alloc(bytes, letter);
}

describe('an upload', () => {
  it('in pieces goes on where it was, also after a restart, and is kept read only with its checksum', async () => {
    const bytes = disk('a');
    const { vms } = center;
    const announced = await vms.images.announce(owner, {
      name: 'a.raw',
      kind: 'disk',
      sizeBytes: mib,
      sha256: sha256(bytes),
    });
    expect(announced).toMatchObject({ state: 'uploading', receivedBytes: 0 });
    await vms.images.putBytes(owner, 'a.raw', 0, pieces(bytes.subarray(0, 1000), bytes.subarray(1000, 5000)));
    expect(await refusal(vms.images.putBytes(owner, 'a.raw', 0, pieces(bytes)))).toMatchObject({
      code: 'WRONG_OFFSET',
      issues: [{ path: 'offset', message: '5000' }],
    });
    await center.restart();
    expect((await center.vms.images.get('a.raw')).receivedBytes).toBe(5000);
    const image = await center.vms.images.putBytes(owner, 'a.raw', 5000, pieces(bytes.subarray(5000)));
    expect(image).toMatchObject({
      ...{ state: 'ready', format: 'raw', sha256: sha256(bytes), receivedBytes: mib, virtualSizeBytes: mib },
    });
    expect((await stat(file('a.raw'))).mode & 0o777).toBe(0o444);
    expect(await readFile(file('a.raw'))).toEqual(bytes);
  });

  it('whose connection breaks keeps what came', async () => {
    const bytes = disk('b');
    await center.vms.images.announce(owner, { name: 'b.raw', kind: 'disk', sizeBytes: mib });
    const broken = async function* () {
      yield bytes.subarray(0, 4096);
      throw new Error('aborted');
    };
    expect(await refusal(center.vms.images.putBytes(owner, 'b.raw', 0, broken()))).toMatchObject({
      code: 'WRONG_OFFSET',
    });
    expect((await center.vms.images.get('b.raw')).receivedBytes).toBe(4096);
    await center.vms.images.putBytes(owner, 'b.raw', 4096, pieces(bytes.subarray(4096)));
    expect((await center.vms.images.get('b.raw')).sha256).toBe(sha256(bytes));
  });

  it('with another checksum, or more bytes than announced, is refused', async () => {
    const bytes = disk('c');
    await center.vms.images.announce(owner, {
      name: 'c.raw',
      kind: 'disk',
      sizeBytes: mib,
      sha256: '0'.repeat(64),
    });
    expect(await refusal(center.vms.images.putBytes(owner, 'c.raw', 0, pieces(bytes, bytes)))).toMatchObject({
      code: 'INVALID_INPUT',
    });
    const rest = pieces(bytes.subarray((await center.vms.images.get('c.raw')).receivedBytes));
    const at = (await center.vms.images.get('c.raw')).receivedBytes;
    expect(await refusal(center.vms.images.putBytes(owner, 'c.raw', at, rest))).toMatchObject({
      code: 'IMAGE_REFUSED',
    });
    expect(await center.vms.images.get('c.raw')).toMatchObject({ state: 'refused' });
    expect((await readdir(join(center.storage, 'images'))).filter((name) => name.includes('c.raw'))).toEqual(
      [],
    );
  });

  it.each([
    ['got its name, and the row does not say so yet', true],
    ['has its name alone, and the row does not say so yet', false],
  ])('that ended when it %s is found complete', async (_when, hasPart) => {
    const name = hasPart ? 'crashed.raw' : 'crashed-late.raw';
    const bytes = disk(hasPart ? 'y' : 'z');
    await center.vms.images.announce(owner, { name, kind: 'disk', sizeBytes: mib });
    const part = file(`.${name}.part`);
    await writeFile(hasPart ? part : file(name), bytes, { mode: 0o444 });
    if (hasPart) await link(part, file(name));
    await center.db
      .updateTable('images')
      .set({ state: 'checking', received_bytes: mib, sha256: sha256(bytes) })
      .where('name', '=', name)
      .execute();
    await center.restart();
    expect(await center.vms.images.putBytes(owner, name, mib, pieces())).toMatchObject({
      state: 'ready',
      sha256: sha256(bytes),
    });
    expect(await readFile(file(name))).toEqual(bytes);
    expect((await stat(file(name))).nlink).toBe(1);
    expect(await refusal(stat(part))).toMatchObject({ code: 'ENOENT' });
  });

  it('does not take a file for its own that somebody else put there', async () => {
    await center.vms.images.announce(owner, { name: 'foreign.raw', kind: 'disk', sizeBytes: mib });
    await writeFile(file('foreign.raw'), disk('f'));
    expect(
      await refusal(center.vms.images.putBytes(owner, 'foreign.raw', 0, pieces(disk('g')))),
    ).toMatchObject({ code: 'IMAGE_REFUSED' });
    expect(await readFile(file('foreign.raw'))).toEqual(disk('f'));
  });

  it('from two senders at once is taken from one of them', async () => {
    const bytes = disk('t');
    await center.vms.images.announce(owner, { name: 'twice.raw', kind: 'disk', sizeBytes: mib });
    const put = () => center.vms.images.putBytes(owner, 'twice.raw', 0, pieces(bytes));
    const answers = await Promise.allSettled([put(), put()]);
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'IMAGE_NOT_READY' },
    });
    expect((await center.vms.images.get('twice.raw')).sha256).toBe(sha256(bytes));
  });

  it('of something else is refused with the reason, and nothing of it stays', async () => {
    const backed = Buffer.alloc(mib);
    const wrong: [string, Buffer, object][] = [
      ['vmdk.raw', Buffer.concat([Buffer.from('KDMV'), backed]), { kind: 'disk' }],
      ['kernel', disk('k'), { kind: 'kernel' }],
      ['initrd', disk('i'), { kind: 'initrd' }],
      ['said.qcow2', disk('q'), { kind: 'disk', format: 'qcow2' }],
    ];
    for (const [name, bytes, what] of wrong) {
      const image = { name, kind: 'disk' as const, sizeBytes: bytes.length, ...what };
      await center.vms.images.announce(owner, image);
      const refused = await refusal(center.vms.images.putBytes(owner, name, 0, pieces(bytes)));
      expect(refused, name).toMatchObject({ code: 'IMAGE_REFUSED' });
      expect(await refusal(stat(file(name)))).toMatchObject({ code: 'ENOENT' });
      expect(await refusal(center.vms.create(owner, { name: 'no', image: name }))).toMatchObject({
        code: 'IMAGE_REFUSED',
      });
    }
  });

  it('of a name that is there is refused', async () => {
    const again = center.vms.images.announce(owner, { name: 'a.raw', kind: 'disk', sizeBytes: 5 });
    expect(await refusal(again)).toMatchObject({ code: 'NAME_TAKEN' });
  });
});

describe('files that somebody puts into the folder', () => {
  it('are found, with their kind, and foreign ones refused with the reason', async () => {
    const kernel = Buffer.alloc(4096);
    kernel.write('HdrS', 0x202);
    await mkdir(join(center.storage, 'images'), { recursive: true });
    await writeFile(file('found-kernel'), kernel);
    await writeFile(file('found-vmlinux'), Buffer.concat([Buffer.from('7f454c460201', 'hex'), kernel]));
    await writeFile(file('found-initrd'), Buffer.concat([Buffer.from('070701'), Buffer.alloc(100)]));
    await writeFile(file('found.raw'), disk('f'));
    await writeFile(file('found.vmdk'), Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(1000)]));
    await symlink('/etc/passwd', file('link.raw'));
    const images = new Map((await center.vms.images.list()).map((image) => [image.name, image]));
    expect(images.get('found-kernel')).toMatchObject({ kind: 'kernel', state: 'ready' });
    expect(images.get('found-vmlinux')).toMatchObject({ kind: 'kernel', state: 'ready' });
    expect(images.get('found-initrd')).toMatchObject({ kind: 'initrd', state: 'ready' });
    expect(images.get('found.raw')).toMatchObject({ kind: 'disk', format: 'raw', state: 'ready' });
    expect(images.get('found.vmdk')).toMatchObject({
      state: 'refused',
      reason: expect.stringContaining('VMDK') as string,
    });
    expect(images.get('link.raw')).toMatchObject({
      state: 'refused',
      reason: expect.stringContaining('link') as string,
    });
  });
});

describe('an image in use', () => {
  it('is not deleted, and says by whom; afterwards it is', async () => {
    const { vm, operation } = await center.vms.create(owner, {
      name: 'resting',
      image: 'a.raw',
      diskSizeBytes: 2 * mib,
    });
    await center.done(operation);
    expect(await center.vms.images.get('a.raw')).toMatchObject({ usedBy: 1 });
    expect(await refusal(center.vms.images.remove(owner, 'a.raw'))).toMatchObject({
      code: 'IMAGE_IN_USE',
      message: expect.stringContaining('resting') as string,
    });
    await center.done(await center.vms.remove(owner, vm.id, false));
    expect(await readdir(join(center.storage, 'vms'))).not.toContain(vm.id);
    await center.vms.images.remove(owner, 'a.raw');
    expect(await refusal(stat(file('a.raw')))).toMatchObject({ code: 'ENOENT' });
  });

  it('that is not there is named together with those that are near', async () => {
    expect(await refusal(center.vms.create(owner, { name: 'x', image: 'found.rwa' }))).toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: expect.stringContaining('found.raw') as string,
    });
  });
});

describe('a template file', () => {
  const template = async (name: string, text: string) => {
    await mkdir(center.configDirectory, { recursive: true });
    await writeFile(join(center.configDirectory, `${name}.conf`), text);
    const found = (await center.vms.templates.list()).find((one) => one.name === name);
    if (!found) throw new Error(`${name} was not found`);
    return found;
  };

  it('makes machines of its size, with its arguments and the image of its name', async () => {
    const found = await template(
      'found',
      '# mine\nMEMORY=1G\nCPU=2\nADDITIONAL_ARGS="-device \'usb-ehci,id=u\' -rtc base=utc" # rest\n',
    );
    expect(found).toMatchObject({
      ...{ source: 'file', reason: null, memoryMib: 1024, cpus: 2, image: 'found.raw' },
      additionalArguments: ['-device', 'usb-ehci,id=u', '-rtc', 'base=utc'],
    });
    const { vm } = await center.vms.create(owner, { name: 'from-file', template: found.id });
    expect(vm).toMatchObject({ memoryMib: 1024, cpus: 2, templateId: found.id });
    expect((await template('found', 'MEMORY=1G\n')).id).toBe(found.id);
    const password = 'LOGIN_PASSWORD="not for everybody"\n';
    const named = await template('found', `LOGIN_USER=debian\n${password}`);
    expect(named).toMatchObject({ reason: null, loginUser: 'debian' });
    expect(JSON.stringify(named)).not.toContain('not for everybody');
    const login = { user: 'debian', password: 'not for everybody' };
    expect(await center.vms.throwAway.plan('found', {})).toMatchObject({ login });
    const stored = await center.vms.templates.add(
      owner,
      NewTemplate.parse({ name: 'stored', image: 'found.raw', login }),
    );
    expect(stored).toMatchObject({ loginUser: 'debian' });
    expect(JSON.stringify([stored, await center.vms.templates.list()])).not.toContain('not for everybody');
    expect(await center.vms.throwAway.plan('stored', {})).toMatchObject({ login });
  });

  it.each([
    ['-sandbox off'],
    ['-daemonize'],
    ['--runas root'],
    ['-qmp tcp::4444,server'],
    ['-monitor stdio'],
    ['-uuid 1'],
    ['-S'],
    ['-incoming tcp:0:4444'],
    ['-loadvm x'],
  ])('that says %s is refused with words, and makes nothing', async (argument) => {
    const found = await template('bad', `ADDITIONAL_ARGS="-rtc base=utc ${argument}"\n`);
    expect(found.reason).toContain(argument.split(' ')[0]);
    expect(
      await refusal(center.vms.create(owner, { name: 'bad', template: found.id, image: 'found.raw' })),
    ).toMatchObject({
      code: 'VM_IMPOSSIBLE',
    });
  });

  it.each([
    ['MEMORY=lots', 'line 1: MEMORY'],
    ['\nCPU=0', 'line 2: CPU'],
    ['ADDITIONAL_ARGS="-x', 'line 1: a quote'],
    ['rm -rf /', 'line 1: is not NAME=VALUE'],
    ['PATH=/tmp', 'line 1: PATH is not known'],
    ['LOGIN_USER="; reboot"', 'line 1: LOGIN_USER must be the name of a user'],
  ])('with %j says what is wrong', async (text, words) => {
    expect((await template('odd', text)).reason).toContain(words);
  });
});
