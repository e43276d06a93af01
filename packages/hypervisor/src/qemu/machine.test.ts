import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createHash } from 'node:crypto';
import type { DiskNow } from '../driver.ts';
import { connect } from '../guest/testing.ts';
import { smallGuestPrompt } from '../guest/small-guest.ts';
import { checkImage, host, mib, openWorkshop, statusOf, type Started, type Workshop } from './testing.ts';

/*
 * One guest for all of it, in order: to boot one takes longer than everything that is done with it.
 */
const patience = 90_000;
let workshop: Workshop;
let started: Started;
beforeAll(async () => {
  workshop = await openWorkshop();
  const spec = workshop.spec({
    ...(await workshop.guest({ agent: true })),
    ...{ name: 'main', cpus: 1, maxCpus: 2, memoryMib: 256, maxMemoryMib: 512, display: 'vnc' },
    disks: [await workshop.disk(), await workshop.disk(8)],
    network: { mode: 'user', restrict: true, forward: [22, 80] },
  });
  started = await workshop.start(spec);
  await started.see(smallGuestPrompt);
}, patience);
afterAll(() => workshop[Symbol.asyncDispose]());

const fileOf = (all: readonly DiskNow[], wanted: string) => all.find(({ diskId }) => diskId === wanted)?.file;

it('keeps its console from the first byte, whether or not anybody was connected', async () => {
  expect(await started.boot()).toMatch(/^[^]*vmo-guest ready/);
  expect(started.machine.status).toBe('running');
});

it('is not root, and locked in', async () => {
  const status = await statusOf(started.machine.pid);
  expect(status.get('NoNewPrivs')).toBe('1');
  expect(status.get('Seccomp')).toBe('2');
  expect(status.get('Uid')?.split('\t')).not.toContain('0');
  expect(status.get('Gid')?.split('\t')).not.toContain('0');
  expect(status.get('CapEff')).toBe('0000000000000000');
  const directory = workshop.storage.vmDirectory(started.spec.id);
  // The folder with its identity stays ours, where QEMU could else change whom we signal.
  expect((await stat(directory)).uid).toBe(process.getuid?.());
  expect((await stat(join(directory, 'run'))).mode & 0o777).toBe(0o700);
});

it('forwards ports of the loopback address only, each its own', async () => {
  const { ports } = started.machine;
  expect(ports.map(({ guest }) => guest)).toEqual([22, 80]);
  for (const { host: port } of ports) {
    const socket = createConnection({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    socket.destroy();
    const elsewhere = createConnection({ host: '127.0.0.2', port });
    await expect(once(elsewhere, 'connect')).rejects.toThrow('ECONNREFUSED');
  }
});

it('runs what is typed into its console', async () => {
  expect(await started.command('echo $((6 * 7))')).toBe('42');
});

it(
  'keeps every byte of its console once, also after something was typed',
  { timeout: patience },
  async () => {
    const lines = await started.command('seq 1 8000');
    const numbers = Array.from({ length: 8000 }, (_, index) => String(index + 1));
    expect(lines.split(/\r?\n/).filter((line) => /\d/.test(line))).toEqual(numbers);
  },
);

it('shows its screen, and leaves nothing behind', async () => {
  const png = await started.machine.screenshot();
  expect(png.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  const left = await readdir(join(workshop.storage.vmDirectory(started.spec.id), 'run'));
  expect(left.filter((name) => name.endsWith('.png'))).toEqual([]);
  const vnc = createConnection((await started.machine.vncSocket()) ?? '');
  const greeting: unknown[] = await once(vnc, 'data');
  expect(String(greeting[0])).toMatch(/^RFB 003/);
  vnc.destroy();
});

it('tells what it uses', async () => {
  expect(await started.machine.hasGuestAgent()).toBe(true);
  const sample = await vi.waitFor(
    async () => {
      const one = await started.machine.sample();
      expect(one.guestUsedMib).not.toBeNull();
      return one;
    },
    { timeout: 30_000, interval: 200 },
  );
  expect(sample.cpuSeconds).toBeGreaterThan(0.5);
  expect(sample.memoryMib).toBeGreaterThan(50);
  expect(sample.guestUsedMib).toBeLessThan(256);
  expect(sample.diskReadBytes).toBeGreaterThan(0);
  expect(sample.networkReceivedBytes).not.toBeNull();
});

it('takes a disk while it runs, grows it, and lets go of it again', { timeout: patience }, async () => {
  const { machine, command, spec } = started;
  const disk = await workshop.disk(8);
  await machine.attachDisk(disk);
  const name = await command(
    `until grep -l ${disk.id.replaceAll('-', '').slice(0, 20)} /sys/block/vd*/serial; do usleep 10000; done`,
  );
  expect(name).toBe('/sys/block/vdc/serial');
  await command('echo kept | dd of=/dev/vdc conv=fsync 2> /dev/null');
  await machine.resizeDisk(disk.id, 16 * mib);
  expect(
    await command('until [ $(cat /sys/block/vdc/size) = 32768 ]; do usleep 10000; done; echo grown'),
  ).toBe('grown');
  await expect(machine.resizeDisk(disk.id, 8 * mib)).rejects.toMatchObject({ problem: 'impossible' });
  await expect(machine.attachDisk(disk)).rejects.toThrow('is attached already');
  const attached = [...spec.disks, disk].map(({ id, file }) => ({
    ...{ diskId: id, file, state: 'attached', tags: [] },
  }));
  expect(new Set(await machine.disks())).toEqual(new Set(attached));

  expect(await machine.detachDisk(disk.id)).toBe('detached');
  expect(await command('ls /sys/block | grep vd')).toBe('vda\r\nvdb');
  await checkImage(join(workshop.storage.root, disk.file));
  await expect(machine.detachDisk(disk.id)).rejects.toThrow('is not attached');
  await expect(machine.detachDisk(spec.disks[0]?.id ?? '')).rejects.toThrow('stays while it runs');

  await machine.attachDisk(disk);
  expect(await command('until [ -b /dev/vdc ]; do usleep 10000; done; head -c 4 /dev/vdc')).toBe('kept');
  expect(await machine.detachDisk(disk.id)).toBe('detached');
});

it('goes back to what its memory was', { timeout: patience }, async () => {
  const { machine, command, spec } = started;
  const ids = spec.disks.map(({ id }) => id);
  await command(
    '(i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; usleep 1000; done) & sync; mark=before',
  );
  await machine.saveSnapshot('one', ids);
  await command('mark=after; kill %1');
  const then = await command('echo $mark');
  expect(then).toBe('after');
  await machine.loadSnapshot('one', ids);
  expect(machine.status).toBe('running');
  expect(await command('echo $mark')).toBe('before');
  const first = await command('cat /tmp/count');
  expect(
    await command(`until [ $(cat /tmp/count) -gt ${first} ]; do :; done; kill %1; echo counts`),
  ).toContain('counts');
  await machine.deleteSnapshot('one', ids);
  await expect(machine.loadSnapshot('one', ids)).rejects.toThrow('has no snapshot one');
  expect(await command('echo goes on')).toBe('goes on');
  await expect(machine.saveSnapshot('two', [])).rejects.toMatchObject({ problem: 'impossible' });
});

it('goes on in an overlay, and comes back from it with what was written', { timeout: patience }, async () => {
  const { machine, command, spec } = started;
  const [disk] = spec.disks;
  if (!disk) throw new Error('it has no disk');
  const [lower, upper] = [1, 2].map(() => `disks/${workshop.spec().id}.qcow2`);
  if (lower === undefined || upper === undefined) throw new Error('it has no overlays');
  for (const [index, file] of [lower, upper].entries()) {
    await machine.takeOverlays([{ diskId: disk.id, file }]);
    await command(`echo over${index} | dd of=/dev/vda conv=fsync 2> /dev/null`);
    expect((await stat(join(workshop.storage.root, file))).blocks * 512).toBeGreaterThan(200_000);
  }
  for (const [above, below] of [
    [upper, lower],
    [lower, disk.file],
  ] as const) {
    await machine.commitOverlay(disk.id, below);
    expect(await readdir(join(workshop.storage.root, 'disks'))).not.toContain(above.slice('disks/'.length));
    expect(fileOf(await machine.disks(), disk.id)).toBe(below);
  }
  expect(machine.status).toBe('running');
  expect(await command('echo 3 > /proc/sys/vm/drop_caches; head -c 5 /dev/vda')).toBe('over1');
  await expect(machine.takeOverlays([{ diskId: workshop.spec().id, file: lower }])).rejects.toThrow(
    'is not attached',
  );
});

it('settles what an earlier process of ours has left under way', { timeout: patience }, async () => {
  const { machine, command, spec } = started;
  const [disk] = spec.disks;
  if (!disk) throw new Error('it has no disk');
  const file = `disks/${workshop.spec().id}.qcow2`;
  await machine.takeOverlays([{ diskId: disk.id, file }]);
  await command('echo left | dd of=/dev/vda conv=fsync 2> /dev/null');
  // As far as it had come: the job is ready, the guest held up, and the switch not asked for.
  const directory = workshop.storage.vmDirectory(spec.id);
  const { ask, socket } = await connect(join(directory, 'run/qmp2.sock'));
  await ask('qmp_capabilities');
  const node = (name: string) => `node-${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;
  await ask('block-commit', {
    ...{ 'job-id': 'job-left', device: node(file), 'top-node': node(file), 'base-node': node(disk.file) },
    'auto-dismiss': false,
  });
  await vi.waitFor(async () => expect(await ask('query-jobs')).toMatchObject([{ status: 'ready' }]), {
    timeout: 20_000,
  });
  await ask('stop');
  machine.close();
  const recordPath = join(directory, 'machine.json');
  const record: object = JSON.parse(await readFile(recordPath, 'utf8')) as object;
  await writeFile(recordPath, JSON.stringify({ ...record, heldUp: true }));

  const next = await workshop.driver.connect(spec.id);
  if (!next) throw new Error('it is gone');
  started.machine = next;
  expect(next.status).toBe('paused');
  expect(fileOf(await next.settleDisks(), disk.id)).toBe(file);
  expect(await ask('query-jobs')).toEqual([]);
  expect(next.status).toBe('paused');
  await next.goOn();
  expect(next.status).toBe('running');
  await next.commitOverlay(disk.id, disk.file);
  expect(fileOf(await next.settleDisks(), disk.id)).toBe(disk.file);
  socket.destroy();
});

it('lets go of a disk that was there at the start, but for the first', { timeout: patience }, async () => {
  const { machine, command, spec } = started;
  expect(await machine.detachDisk(spec.disks[1]?.id ?? '')).toBe('detached');
  expect(await command('ls /sys/block | grep vd')).toBe('vda');
});

it('gets more processors and memory, and says what it cannot', { timeout: patience }, async () => {
  const { machine, command } = started;
  await expect(machine.resize({ cpus: 3 })).rejects.toThrow('at most 2 CPUs');
  await expect(machine.resize({ memoryMib: 1024 })).rejects.toThrow('at most 512 MiB');
  await expect(machine.resize({ memoryMib: 128 })).rejects.toThrow('none can be taken away');
  await expect(machine.resize({ cpus: 2, balloonMib: 32 })).rejects.toThrow(
    'the guest keeps at least 64 MiB',
  );
  expect(await command('nproc')).toBe('1');

  // As Debian: a processor that is added is not used until somebody says so.
  await command('killall uevent');
  expect(await machine.resize({ cpus: 2, memoryMib: 512 })).toBe('2 CPUs; 512 MiB of memory');
  expect(await command('nproc')).toBe('2');
  expect(Number(await command(`free -m | awk '/^Mem/ {print $2}'`))).toBeGreaterThan(400);
  expect(await machine.guestMemoryMib()).toBe(512);
  await expect(machine.resize({ cpus: 1 })).rejects.toThrow('none can be taken away while it runs');

  expect(await machine.resize({ memoryMib: 256 })).toBe('256 MiB of memory');
  expect(await machine.resize({ balloonMib: 200 })).toBe('the guest keeps 200 MiB');
  expect(await machine.guestMemoryMib()).toBe(200);
  expect(await machine.resize({ balloonMib: 256 })).toBe('the guest keeps 256 MiB');

  // And memory.
  await command('echo offline > /sys/devices/system/memory/auto_online_blocks');
  expect(await machine.resize({ memoryMib: 512 })).toBe('512 MiB of memory');
  expect(Number(await command(`free -m | awk '/^Mem/ {print $2}'`))).toBeGreaterThan(400);
});

it('is found again by the next of us, and cannot be started twice', async () => {
  const { machine, spec, runSpec } = started;
  await workshop.driver.close();
  const next = workshop.newDriver();
  const found = await next.connect(spec.id);
  expect(found).toMatchObject({
    pid: machine.pid,
    status: 'running',
    ports: machine.ports,
    accelerator: 'tcg',
  });
  expect(await next.connect(spec.id)).toBe(found);
  await expect(next.prepare(spec, { runDirectory: runSpec.directory })).rejects.toThrow(
    'runs already, as process',
  );
  const others = await next.strangers(new Set([spec.id]));
  expect(others.map(({ pid }) => pid)).not.toContain(machine.pid);
  const strangers = await next.strangers(new Set());
  expect(strangers.find(({ pid }) => pid === machine.pid)).toMatchObject({ name: 'main' });
  await next.close();
});

it('leaves alone whoever has got the pid that stands in the file', async () => {
  const spec = workshop.spec();
  const directory = workshop.storage.vmDirectory(spec.id);
  await mkdir(directory);
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  await writeFile(join(directory, 'qemu.pid'), `pid=${started.machine.pid}\nstart=1\nboot=${boot}\n`);
  expect(await workshop.newDriver().connect(spec.id)).toBeNull();
  expect((await statusOf(started.machine.pid)).get('Name')).toContain('qemu');
});

it('is silent while it hangs, says so to whoever asks, and comes back', { timeout: patience }, async () => {
  const driver = workshop.newDriver({ commandTimeoutMs: 500 });
  const machine = await driver.connect(started.spec.id);
  if (!machine) throw new Error('it is gone');
  const statuses: string[] = [];
  const silent = new Promise<void>((resolve) => {
    machine.onStatus((status) => {
      statuses.push(status);
      if (status === 'silent') resolve();
    });
  });
  const begun = Date.now();
  process.kill(machine.pid, 'SIGSTOP');
  await expect(machine.pause()).rejects.toMatchObject({ problem: 'silent' });
  await silent;
  expect(Date.now() - begun).toBeLessThan(5_000);
  const fresh = workshop.newDriver();
  expect(await fresh.connect(started.spec.id)).toMatchObject({ pid: machine.pid, status: 'silent' });
  await fresh.close();
  process.kill(machine.pid, 'SIGCONT');
  await vi.waitFor(() => expect(['running', 'paused']).toContain(machine.status), { timeout: 10_000 });
  // What could not be told in time may have been done all the same: QEMU cannot take a command back.
  await machine.resume();
  await driver.close();
});

it('is shut down by its guest agent', { timeout: patience }, async () => {
  const machine = await workshop.newDriver().connect(started.spec.id);
  expect(await machine?.stop()).toBe('guest-agent');
  expect(await started.run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect(await workshop.newDriver({ host }).connect(started.spec.id)).toBeNull();
  for (const disk of started.spec.disks) await checkImage(join(workshop.storage.root, disk.file));
});
