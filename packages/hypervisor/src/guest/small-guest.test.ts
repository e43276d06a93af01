import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { execute, temporaryDirectory } from '../images/testing.ts';
import { unpackKernel } from './kernel.ts';
import { findModules, moduleEntries } from './modules.ts';
import { findSmallGuestParts } from './parts.ts';
import { buildSmallGuest, runAtBoot, smallGuestBanner, smallGuestPrompt } from './small-guest.ts';
import { bootSmallGuest, connect } from './testing.ts';

/** Without KVM, on a machine that runs the other tests beside it. */
const patience = 120_000;

let cache: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeAll(async () => {
  cache = await temporaryDirectory();
});
afterAll(() => cache[Symbol.asyncDispose]());

it(
  'boots to a shell, runs what is typed, and ends with poweroff',
  { timeout: patience },
  async ({ annotate }) => {
    await using guest = await bootSmallGuest(await buildSmallGuest(cache.path));
    await guest.see(smallGuestBanner);
    await guest.see(smallGuestPrompt);
    await annotate(`plain QEMU without KVM: ${guest.age().toFixed(0)} ms to the prompt of the small guest`);
    guest.type('cat /proc/uptime');
    await guest.see(/\n\d+\.\d+ \d+\.\d+\r?\n/);
    await guest.see(smallGuestPrompt);
    guest.type('exit');
    await guest.see(smallGuestPrompt);
    guest.type('poweroff');
    expect(await guest.ended).toBe(0);
  },
);

it('ends when the power button is pressed', { timeout: patience }, async () => {
  await using guest = await bootSmallGuest(await buildSmallGuest(cache.path));
  await guest.see(smallGuestPrompt);
  await guest.qmp('system_powerdown');
  expect(await guest.ended).toBe(0);
});

it(
  'runs a command at boot, and can ignore the power button and the network',
  { timeout: patience },
  async () => {
    await using guest = await bootSmallGuest(await buildSmallGuest(cache.path), {
      kernelArguments: `vmo.ignore_powerdown vmo.net=off ${runAtBoot(`echo "it ran: $((6 * 7))"`)}`,
      qemuArguments: ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net'],
    });
    await guest.see('it ran: 42');
    await guest.see(smallGuestPrompt);
    await guest.qmp('system_powerdown');
    // The kernel has noticed the button when its interrupt was counted.
    guest.type('until grep -q "ff_pwr_btn: *1" /sys/firmware/acpi/interrupts/ff_pwr_btn ||');
    guest.type(
      'grep -q "^ *1 " /sys/firmware/acpi/interrupts/ff_pwr_btn; do usleep 10000; done; echo pres""sed',
    );
    await guest.see('pressed');
    guest.type('ip -4 addr show eth0; echo status $((1+1))');
    expect(await guest.see('status 2')).not.toContain('inet ');
    guest.type('reboot');
    expect(await guest.ended).toBe(0);
  },
);

it(
  'sees processors, memory, disks and network that come later, and has a guest agent',
  { timeout: patience },
  async () => {
    const disk = join(cache.path, 'disk.raw');
    await writeFile(disk, Buffer.alloc(8 * 1024 * 1024));
    const agentSocket = join(cache.path, 'agent');
    await using guest = await bootSmallGuest(await buildSmallGuest(cache.path, { guestAgent: true }), {
      qemuArguments: [
        ...[
          '-smp',
          '1,maxcpus=2,sockets=1,cores=2,threads=1',
          '-device',
          'virtio-balloon-pci',
          '-device',
          'virtio-rng-pci',
        ],
        ...['-device', 'pcie-root-port,id=port1,chassis=1', '-device', 'pcie-root-port,id=port2,chassis=2'],
        ...['-netdev', 'user,id=net', '-object', 'memory-backend-ram,id=more,size=512M'],
        ...['-device', 'virtio-mem-pci,id=plugged,memdev=more,requested-size=0'],
        ...['-chardev', `socket,id=agent,path=${agentSocket},server=on,wait=off`],
        ...[
          '-device',
          'virtio-serial',
          '-device',
          'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
        ],
        ...['-blockdev', `raw,node-name=disk,file.driver=file,file.filename=${disk}`],
      ],
    });
    await guest.see(smallGuestPrompt);

    await guest.qmp('device_add', { driver: 'virtio-blk-pci', id: 'disk1', drive: 'disk', bus: 'port1' });
    guest.type('until [ -b /dev/vda ]; do usleep 10000; done');
    guest.type('mke2fs /dev/vda > /dev/null; mount -t ext4 /dev/vda /mnt && echo kept > /mnt/file; sync');
    guest.type('umount /mnt; mount /dev/vda /mnt; echo disk $(cat /mnt/file)');
    await guest.see('disk kept');

    await guest.qmp('device_add', { driver: 'virtio-net-pci', id: 'net1', netdev: 'net', bus: 'port2' });
    guest.type('until ip -4 addr show eth0 2> /dev/null | grep inet; do usleep 10000; done');
    await guest.see('inet 10.0.2.15/24');

    const place = { 'socket-id': 0, 'core-id': 1, 'thread-id': 0 };
    await guest.qmp('device_add', { driver: 'max-x86_64-cpu', id: 'cpu1', ...place });
    guest.type('until [ $(nproc) = 2 ]; do usleep 10000; done; echo processors $(nproc)');
    await guest.see('processors 2');

    await guest.qmp('qom-set', {
      path: '/machine/peripheral/plugged',
      property: 'requested-size',
      value: 512 * 1024 ** 2,
    });
    guest.type('until [ $(free -m | awk "/^Mem/ {print \\$2}") -gt 600 ]; do usleep 10000; done');
    guest.type('echo memory $((1+1))');
    await guest.see('memory 2');

    const agent = await connect(agentSocket);
    await agent.ask('guest-ping');
    expect(await agent.ask('guest-get-osinfo')).toMatchObject({ id: 'vmo-guest' });
    agent.socket.write('{"execute":"guest-shutdown"}\n');
    expect(await guest.ended).toBe(0);
    agent.socket.destroy();
  },
);

it('is built once for the same parts, also by several at once, and again for others', async () => {
  await using folder = await temporaryDirectory();
  const place = join(folder.path, 'deeper');
  const [one, ...others] = await Promise.all([1, 2, 3, 4].map(() => buildSmallGuest(place)));
  for (const other of others) expect(other).toEqual(one);
  const built = (await stat(String(one?.initrd))).mtimeMs;
  await buildSmallGuest(place);
  expect((await stat(String(one?.initrd))).mtimeMs).toBe(built);
  const withAgent = await buildSmallGuest(place, { guestAgent: true });
  expect(withAgent.initrd).not.toBe(one?.initrd);
  expect(await readdir(place)).toHaveLength(2);
});

it('takes the kernel out of its packing where it can be started so, and else as it is', async () => {
  const parts = await findSmallGuestParts();
  const packed = await readFile(String(parts.kernel?.path));
  const kernel = await unpackKernel(packed);
  expect(kernel?.subarray(0, 6).toString('hex')).toBe('7f454c460201');
  expect(kernel?.length).toBeGreaterThan(packed.length);
  const { kernel: built } = await buildSmallGuest(cache.path);
  expect((await readFile(built)).equals(kernel ?? Buffer.alloc(0))).toBe(true);

  const damaged = Buffer.from(packed);
  const payload = (packed.readUInt8(0x1f1) + 1) * 512 + packed.readUInt32LE(0x248);
  damaged.fill(0xff, payload + 8, payload + 4096);
  expect(await unpackKernel(damaged)).toBeNull();
  expect(await unpackKernel(Buffer.from('HdrS'))).toBeNull();
  expect(await unpackKernel(Buffer.alloc(0))).toBeNull();
});

it('says exactly what is missing', async () => {
  const parts = await findSmallGuestParts({ kernel: '/boot/vmlinuz-of-nobody' });
  expect(parts.kernel).toBeNull();
  expect(parts.missing).toContain('Debian: apt-get install linux-image-cloud-amd64.');
  await expect(buildSmallGuest('/nowhere', { kernel: '/boot/vmlinuz-of-nobody' })).rejects.toThrow(
    'a Linux kernel in /boot with its modules is missing here',
  );
  expect(await findSmallGuestParts()).toMatchObject({ missing: null });
});

it('takes compressed modules, with what they need', async () => {
  await using folder = await temporaryDirectory();
  await mkdir(join(folder.path, 'kernel'));
  const files = ['virtio.ko', 'virtio_pci.ko', 'virtio-rng.ko'].map((name) =>
    join(folder.path, 'kernel', name),
  );
  for (const file of files) await writeFile(file, `code of ${file}`);
  await execute('gzip', [String(files[0])]);
  await execute('xz', [String(files[1])]);
  await execute('zstd', ['-q', '--rm', String(files[2])]);
  await writeFile(
    join(folder.path, 'modules.dep'),
    'kernel/virtio.ko.gz:\nkernel/virtio_pci.ko.xz: kernel/virtio.ko.gz\nkernel/virtio-rng.ko.zst: kernel/virtio.ko.gz\nkernel/other.ko:\n',
  );
  const entries = await moduleEntries(await findModules(folder.path));
  const text = (name: string) => {
    const entry = entries.find((each) => each.name.endsWith(`/${name}`));
    return entry?.kind === 'file' ? Buffer.from(entry.content).toString() : null;
  };
  expect(text('modules.dep')).toBe(
    'kernel/virtio_pci.ko: kernel/virtio.ko\nkernel/virtio.ko:\nkernel/virtio-rng.ko: kernel/virtio.ko\n',
  );
  expect(text('virtio.ko')).toBe(`code of ${String(files[0])}`);
  expect(text('virtio_pci.ko')).toBe(`code of ${String(files[1])}`);
  expect(text('virtio-rng.ko')).toBe(`code of ${String(files[2])}`);
});
