import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, link, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findProgram, runProgram } from '../program.ts';
import { findStrangers } from './strangers.ts';
import { host, openWorkshop, type Workshop } from './testing.ts';

const execute = promisify(execFile);
const isRoot = process.getuid?.() === 0;
let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop[Symbol.asyncDispose]());

const prepare = (change: Parameters<Workshop['spec']>[0], driver = workshop.driver) =>
  driver.prepare(workshop.spec(change), { runDirectory: '/run/nowhere' });

it('refuses what cannot run before anything is started', async () => {
  const { storage } = workshop;
  const kernel = (file: string) =>
    prepare({ boot: { from: 'kernel', kernel: file, initrd: null, append: '' } });
  await expect(kernel('images/none')).rejects.toMatchObject({
    problem: 'impossible',
    message: 'there is no images/none',
  });
  await expect(kernel('images/a/../../../etc/passwd')).rejects.toThrow('leads out of the storage');
  await symlink('/etc/passwd', join(storage.root, 'images/link'));
  await expect(kernel('images/link')).rejects.toThrow('symbolic link');
  await writeFile(join(storage.root, 'images/twice'), 'x');
  await link(join(storage.root, 'images/twice'), join(storage.root, 'images/other'));
  await expect(kernel('images/twice')).rejects.toThrow('hard link');
  const disk = await workshop.disk();
  await expect(prepare({ disks: [{ ...disk, file: 'disks/none.qcow2' }] })).rejects.toThrow(
    'there is no disks/none',
  );
  await writeFile(join(storage.root, 'disks/raw.qcow2'), Buffer.alloc(1024));
  await expect(prepare({ disks: [{ ...disk, file: 'disks/raw.qcow2' }] })).rejects.toMatchObject({
    problem: 'impossible',
  });
});

it('has a screen for the boot loader of a disk, which nobody sees where none was asked for', async () => {
  const { shown } = await prepare({});
  expect(shown).toContain('VGA');
  expect(shown.join(' ')).not.toContain('-vnc');
});

it('says what is missing where there is no QEMU', async () => {
  const driver = workshop.newDriver({
    host: async () => ({ ...(await host()), qemu: null, accelerator: null, words: ['QEMU is missing'] }),
  });
  await expect(prepare({}, driver)).rejects.toMatchObject({
    problem: 'no-hypervisor',
    message: 'QEMU is missing',
  });
  const poor = workshop.newDriver({
    host: async () => {
      const all = await host();
      return { ...all, features: { ...all.features, userNetworking: false, vnc: false, sandbox: false } };
    },
  });
  await expect(prepare({ network: { mode: 'user', restrict: false, forward: [] } }, poor)).rejects.toThrow(
    'user networking',
  );
  await expect(prepare({ display: 'vnc' }, poor)).rejects.toThrow('VNC');
  expect((await prepare({}, poor)).shown).not.toContain('-sandbox');
  const nobody = workshop.newDriver({ user: 'no-such-user' });
  if (isRoot) await expect(prepare({}, nobody)).rejects.toThrow('no user no-such-user');
});

it('opens nothing below a disk but what is named, with the format that is named', async () => {
  const { storage } = workshop;
  const base = join(storage.root, 'images/base.qcow2');
  await execute('qemu-img', ['create', '-q', '-f', 'qcow2', base, '8M']);
  const overlay = (name: string, ...more: string[]) =>
    execute('qemu-img', ['create', '-q', '-f', 'qcow2', ...more, join(storage.root, 'disks', name), '8M']);
  await overlay('a.qcow2', '-b', base, '-F', 'qcow2');
  await overlay('b.qcow2', '-b', base, '-F', 'qcow2');
  const one = await workshop.disk();
  const two = await workshop.disk();
  const disks = [
    { ...one, file: 'disks/a.qcow2' },
    { ...two, file: 'disks/b.qcow2' },
  ];
  const { shown } = await prepare({ disks });
  const nodes = shown
    .filter((_, at) => shown[at - 1] === '-blockdev')
    .map((word): unknown => JSON.parse(word));
  // The image that both lie on is opened once.
  expect(nodes).toHaveLength(3);
  expect(nodes).toMatchObject([
    { driver: 'qcow2', 'read-only': true, backing: null, file: { filename: '../../images/base.qcow2' } },
    { driver: 'qcow2', 'read-only': false, file: { filename: '../../disks/a.qcow2', locking: 'on' } },
    { driver: 'qcow2', 'read-only': false, file: { filename: '../../disks/b.qcow2' } },
  ]);
  if (isRoot) {
    expect((await stat(base)).uid).toBe(0);
    expect((await stat(base)).mode & 0o022).toBe(0);
    expect((await stat(join(storage.root, 'disks/a.qcow2'))).uid).not.toBe(0);
    expect((await stat(join(storage.root, 'disks/a.qcow2'))).mode & 0o777).toBe(0o600);
  }
  await overlay('outside.qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw');
  await expect(prepare({ disks: [{ ...one, file: 'disks/outside.qcow2' }] })).rejects.toThrow('leads out');
  await overlay('guess.qcow2', '-u', '-b', base, '-F', 'qcow2');
  const bytes = await readFile(join(storage.root, 'disks/guess.qcow2'));
  const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  bytes.writeUInt32BE(0x12345678, at);
  await writeFile(join(storage.root, 'disks/guess.qcow2'), bytes);
  await expect(prepare({ disks: [{ ...one, file: 'disks/guess.qcow2' }] })).rejects.toThrow(
    'does not say of which format',
  );
});

it('opens nothing below a disk but what it is known to lie on', async () => {
  const { storage } = workshop;
  const make = (name: string, ...more: string[]) =>
    execute('qemu-img', ['create', '-q', '-f', 'qcow2', ...more, join(storage.root, name), '8M']);
  await make('images/known.qcow2');
  await make('images/secret.qcow2');
  await make('disks/low.qcow2', '-b', join(storage.root, 'images/known.qcow2'), '-F', 'qcow2');
  await make('disks/top.qcow2', '-b', join(storage.root, 'disks/low.qcow2'), '-F', 'qcow2');
  const disk = { ...(await workshop.disk()), file: 'disks/top.qcow2' };
  const layer = (file: string) => ({ file, format: 'qcow2' as const });
  const chain = [layer('disks/low.qcow2'), layer('images/known.qcow2')];
  await prepare({ disks: [{ ...disk, chain }] });
  await expect(prepare({ disks: [{ ...disk, chain: chain.slice(0, 1) }] })).rejects.toMatchObject({
    problem: 'impossible',
    message:
      'disks/low.qcow2 lies on images/known.qcow2 (qcow2), and should lie on nothing: it is not opened',
  });
  await execute('qemu-img', [
    ...['rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', join(storage.root, 'images/secret.qcow2')],
    join(storage.root, 'disks/low.qcow2'),
  ]);
  await expect(prepare({ disks: [{ ...disk, chain }] })).rejects.toThrow(
    'disks/low.qcow2 lies on images/secret.qcow2 (qcow2), and should lie on images/known.qcow2 (qcow2)',
  );
  await execute('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', '', join(storage.root, 'disks/top.qcow2')]);
  await expect(prepare({ disks: [{ ...disk, chain }] })).rejects.toThrow(
    'disks/top.qcow2 lies on nothing, and should lie on disks/low.qcow2 (qcow2)',
  );
});

it('gives words of others to QEMU as one argument each', async () => {
  const { storage } = workshop;
  const name = 'k,-x=$(touch canary) \'"`.img';
  await writeFile(storage.imagePath(name), 'x');
  const append = 'console=ttyS0,115200 -incoming tcp:0:1 $(touch canary) \'; touch canary; "';
  // The contract refuses such a file name; the driver must not depend on it.
  const spec = workshop.spec({ name: 'a.b-c', arguments: ['-device', 'pvpanic'] });
  const { argv, shown } = await workshop.driver.prepare(
    { ...spec, boot: { from: 'kernel', kernel: `images/${name}`, initrd: null, append } },
    { runDirectory: "/run/a b'c" },
  );
  expect(shown).toContain(`../../images/${name}`);
  expect(shown).toContain(append);
  expect(shown).toContain('guest=a.b-c,debug-threads=on');
  expect(shown.slice(-2)).toEqual(['-device', 'pvpanic']);
  expect(argv).toContain("/run/a b'c");
});

it('takes what is being tried on this host for nobody’s machine', async () => {
  const cancel = new AbortController();
  const args = ['-name', 'tried', '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'none'];
  const running = runProgram(findProgram('qemu-system-x86_64') ?? '', args, {
    timeoutMs: 60_000,
    signal: cancel.signal,
  });
  const ended = expect(running).rejects.toThrow('seen');
  const isTried = ({ name }: { name: string }) => name === 'tried';
  await expect.poll(() => findStrangers(new Set()).some(isTried), { timeout: 20_000 }).toBe(true);
  expect((await workshop.driver.strangers(new Set())).filter(isTried)).toEqual([]);
  cancel.abort(new Error('seen'));
  await ended;
});

it('forwards each port of the guest once, to a port that nobody has', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const all = await Promise.all(
    [1, 2, 3].map(() => prepare({ network: { mode: 'user', restrict: true, forward: [22, 80, 22] } })),
  );
  server.close();
  const ports = all.flatMap((prepared) => prepared.ports);
  expect(ports).toHaveLength(6);
  expect(new Set(ports.map((port) => port.host)).size).toBe(6);
  const [first] = all;
  const netdev = first?.shown[first.shown.indexOf('-netdev') + 1];
  expect(netdev).toMatch(
    /^user,id=net0,restrict=on,hostfwd=tcp:127\.0\.0\.1:\d+-:22,hostfwd=tcp:127\.0\.0\.1:\d+-:80$/,
  );
});

it('refuses a bridge that is not there', async () => {
  const bridge = prepare({ network: { mode: 'bridge', bridge: 'vmo-none' } });
  await expect(bridge).rejects.toMatchObject({ problem: 'impossible' });
});

it('makes and changes nothing in a dry run', async () => {
  const driver = workshop.newDriver({ dryRun: true });
  const disk = await workshop.disk();
  await chmod(join(workshop.storage.root, disk.file), 0o640);
  const spec = workshop.spec({ disks: [disk] });
  const { shown } = await driver.prepare(spec, { runDirectory: '/run/nowhere' });
  expect(shown).toContain('/usr/bin/qemu-system-x86_64');
  expect((await stat(join(workshop.storage.root, disk.file))).mode & 0o777).toBe(0o640);
  expect(existsSync(workshop.storage.vmDirectory(spec.id))).toBe(false);
});

it('refuses a storage whose path leaves no room for sockets', async () => {
  const { openStorage } = await import('../images/storage.ts');
  const deep = join(workshop.storage.root, 'd'.repeat(60));
  await mkdir(deep);
  const driver = workshop.newDriver({ storage: () => openStorage(deep) });
  await expect(prepare({}, driver)).rejects.toThrow('the storage path is too long');
});
