import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { writeCpio, type CpioEntry } from './cpio.ts';
import { unpackKernel } from './kernel.ts';
import { findModules, moduleEntries } from './modules.ts';
import { findProgram } from '../program.ts';
import { findSmallGuestParts } from './parts.ts';
import { runner } from '../request/runner.ts';
import * as scripts from './scripts.ts';

const execute = promisify(execFile);

/** Two files to boot, with {@link smallGuestKernelArguments}. */
export interface SmallGuest {
  kernel: string;
  initrd: string;
  kernelVersion: string;
}

export interface SmallGuestOptions {
  /** Default: the newest in /boot, those made for virtual machines first. Its modules are taken from /lib/modules. */
  kernel?: string;
  /** With qemu-ga and its libraries, which talks at the virtio port `org.qemu.guest_agent.0`. */
  guestAgent?: boolean;
  /** With sshd and its libraries, for root with the key that a seed (NoCloud) brings. */
  ssh?: boolean;
  /** Names of programs of this machine, each with its libraries. */
  programs?: readonly string[];
}

/**
 * What the kernel must be told: its console is the serial port, a panic ends the machine (with `-no-reboot`) rather than
 * stand still, and self-tests of ciphers are left out, which only take time. Beside these the guest understands
 * `vmo.net=off`, `vmo.ignore_powerdown` (the power button does nothing), `vmo.no_runner`, `vmo.login=<crypt(3)>` (root logs
 * in with that password) and {@link runAtBoot}.
 */
export const smallGuestKernelArguments = 'console=ttyS0 quiet panic=-1 cryptomgr.notests';
/** A line of the console that begins so says that everything is set up. The shell's first prompt follows. */
export const smallGuestBanner = 'vmo-guest ready';
export const smallGuestPrompt = 'vmo:~# ';

/** The kernel argument for a command that the guest runs before its shell. The kernel takes 2,047 bytes of arguments. */
export const runAtBoot = (command: string): string => `vmo.run=${Buffer.from(command).toString('base64')}`;

const file = (name: string, text: string): CpioEntry => ({
  name,
  kind: 'file',
  content: Buffer.from(text),
  executable: text.startsWith('#!'),
});
const directory = (name: string): CpioEntry => ({ name, kind: 'directory' });

/** `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await execute('ldd', [program], { timeout: 10_000, env: { LC_ALL: 'C' } });
  return stdout.split('\n').flatMap((line) => /(?:=> |^\s+)(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** A program of this machine with the libraries that it needs. */
async function programEntries(name: string, program: string | null, from: string): Promise<CpioEntry[]> {
  if (program === null) {
    throw new Error(`${name} is missing: install ${from}, or build the small guest without it`);
  }
  const entries = new Map<string, CpioEntry>();
  for (const path of await librariesOf(program)) {
    const parts = path.slice(1).split('/').slice(0, -1);
    parts.forEach((_, index) => {
      const name = parts.slice(0, index + 1).join('/');
      entries.set(name, directory(name));
    });
    const name = path.slice(1);
    entries.set(name, { name, kind: 'file', content: await readFile(path), executable: true });
  }
  const content = await readFile(program);
  entries.set(`bin/${name}`, { name: `bin/${name}`, kind: 'file', content, executable: true });
  return [...entries.values()];
}

/** The key of the host is made here: in a guest without KVM that takes its time. */
async function sshEntries(folder: string): Promise<CpioEntry[]> {
  const key = join(folder, 'host-key');
  await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key], { timeout: 10_000 });
  const content = await readFile(key);
  for (const path of [key, `${key}.pub`]) await rm(path);
  return [
    ...(await programEntries('sshd', findProgram('sshd'), 'openssh-server')),
    directory('etc/ssh'),
    { name: 'etc/ssh/host-key', kind: 'file', content, executable: false },
    file('etc/ssh/sshd_config', scripts.sshdConfig),
    file('bin/take-seed', scripts.takeSeed),
  ];
}

async function busyboxEntries(busybox: string): Promise<CpioEntry[]> {
  const { stdout } = await execute(busybox, ['--list'], { timeout: 10_000 });
  const applets = stdout.split('\n').filter((name) => /^[\w[.-]+$/.test(name) && name !== 'busybox');
  return [
    { name: 'bin/busybox', kind: 'file', content: await readFile(busybox), executable: true },
    ...applets.map((name): CpioEntry => ({ name: `bin/${name}`, kind: 'link', target: 'busybox' })),
    file('bin/shutdown', scripts.shutdown),
    file('bin/vmo-runner', runner),
  ];
}

/** Without libraries' own folders, which come with them. */
const skeleton: readonly CpioEntry[] = [
  ...['bin', 'dev', 'etc', 'etc/acpi', 'etc/acpi/PWRF', 'lib', 'lib/modules'].map(directory),
  ...['mnt', 'proc', 'root', 'run', 'sys', 'tmp', 'usr', 'var'].map(directory),
  { name: 'sbin', kind: 'link', target: 'bin' },
  { name: 'usr/bin', kind: 'link', target: '../bin' },
  { name: 'usr/sbin', kind: 'link', target: '../bin' },
  { name: 'usr/lib', kind: 'link', target: '../lib' },
  { name: 'var/run', kind: 'link', target: '../run' },
  { name: 'dev/console', kind: 'character-device', major: 5, minor: 1 },
  file('init', scripts.init),
  file('etc/hotplug', scripts.hotplug),
  file('etc/fstab', scripts.fstab),
  directory('etc/dev'),
  ...scripts.deviceFolders.map((name) => directory(`etc/dev/${name}`)),
  ...Object.entries(scripts.deviceLinks).map(([name, target]): CpioEntry => {
    return { name: `etc/dev/${name}`, kind: 'link', target };
  }),
  file('etc/udhcpc', scripts.udhcpc),
  // Where busybox's acpid looks for what to do when the power button is pressed.
  file('etc/acpi/PWRF/00000080', scripts.powerButton),
  file('etc/os-release', scripts.osRelease),
  file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:100::/run/sshd:/bin/false\n'),
  file('etc/group', 'root:x:0:\nsshd:x:100:\n'),
];

/** Level 1 takes 0.2 s for a guest with its agent, level 9 1.9 s, and saves 7 % of 4.7 MB. */
const compress = promisify(gzip);

async function hashOf(files: readonly string[], rest: unknown): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(rest));
  for (const path of files) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path}\0${String(size)}\0${String(mtimeMs)}\0`);
  }
  return hash.digest('hex').slice(0, 16);
}

const bothThere = (guest: SmallGuest): Promise<boolean> =>
  Promise.all([stat(guest.kernel), stat(guest.initrd)]).then(
    () => true,
    () => false,
  );

/**
 * Makes a small Linux guest out of this machine's kernel and busybox: it boots to a shell on its serial console in a few
 * seconds without KVM, and knows hotplug of disks, network, memory and processors, the power button and the guest agent.
 * Kept in the folder by a hash of what it is made of; the kernel is a copy, unpacked where that can be done, so that an
 * update of the machine does not take it away from under a guest. May be called twice at once.
 * @throws Error with what to install, see {@link findSmallGuestParts}
 */
export async function buildSmallGuest(
  cacheDirectory: string,
  options: SmallGuestOptions = {},
): Promise<SmallGuest> {
  const parts = await findSmallGuestParts(options.kernel === undefined ? {} : { kernel: options.kernel });
  const { kernel, busybox } = parts;
  if (kernel === null || busybox === null) throw new Error(String(parts.missing));
  const modules = await findModules(kernel.modules);
  const agent =
    options.guestAgent === true ? await programEntries('qemu-ga', parts.guestAgent, 'qemu-guest-agent') : [];
  const programs: CpioEntry[] = [];
  for (const name of options.programs ?? []) {
    programs.push(...(await programEntries(name, findProgram(name), name)));
  }
  const inputs = [kernel.path, busybox, join(kernel.modules, 'modules.dep')];
  const hash = await hashOf(inputs, [
    'its kernel unpacked',
    skeleton,
    scripts,
    runner,
    [...agent, ...programs].map(({ name }) => name),
    parts.guestAgent,
    options.ssh === true,
  ]);
  const place = join(cacheDirectory, `guest-${kernel.version}-${hash}`);
  const inside = (folder: string): SmallGuest => ({
    kernel: join(folder, 'kernel'),
    initrd: join(folder, 'initrd.gz'),
    kernelVersion: kernel.version,
  });
  const guest = inside(place);
  if (await bothThere(guest)) return guest;

  const temporary = join(cacheDirectory, `.guest-${randomUUID()}`);
  const unfinished = inside(temporary);
  await mkdir(dirname(unfinished.kernel), { recursive: true });
  try {
    const ssh = options.ssh === true ? await sshEntries(temporary) : [];
    const rest = [...(await busyboxEntries(busybox)), ...(await moduleEntries(modules))];
    const entries = [...skeleton, ...rest, ...agent, ...programs, ...ssh];
    const unpacked = await unpackKernel(await readFile(kernel.path));
    if (unpacked) await writeFile(unfinished.kernel, unpacked);
    else await copyFile(kernel.path, unfinished.kernel, constants.COPYFILE_FICLONE);
    await writeFile(unfinished.initrd, await compress(writeCpio(entries), { level: 1 }));
    await rename(temporary, place).catch(async (error: unknown) => {
      // Somebody else was faster; theirs is the same.
      if (!(await bothThere(guest))) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return guest;
}
