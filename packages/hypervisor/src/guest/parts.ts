import { accessSync, constants } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findProgram } from '../program.ts';
import { segmentsOf, segmentTypes } from './elf.ts';

/** What of this machine a small guest is made of. */
export interface SmallGuestParts {
  kernel: { path: string; version: string; modules: string } | null;
  busybox: string | null;
  /** Only needed for a guest with the guest agent. */
  guestAgent: string | null;
  /** What is missing and what to install, in a sentence; null: nothing is missing but perhaps the guest agent. */
  missing: string | null;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** By the numbers in them: 6.1.0-9 is older than 6.1.0-10. */
const { compare } = new Intl.Collator('en', { numeric: true });

/** The kernels made for virtual machines first: they boot fastest. Then the newest. */
function byFitness(one: string, other: string): number {
  const cloud = (name: string) => Number(/-(cloud|virtual|kvm)/.test(name));
  return cloud(other) - cloud(one) || compare(other, one);
}

async function findKernel(given: string | undefined): Promise<SmallGuestParts['kernel']> {
  const boot = '/boot';
  const names = given === undefined ? await readdir(boot).catch(() => []) : [];
  const candidates =
    given === undefined
      ? names
          .filter((name) => name.startsWith('vmlinuz-'))
          .sort(byFitness)
          .map((name) => join(boot, name))
      : [given];
  for (const path of candidates) {
    const version = basename(path).replace(/^vmlinuz-/, '');
    const modules = `/lib/modules/${version}`;
    if (isReadable(path) && isReadable(join(modules, 'modules.dep'))) return { path, version, modules };
  }
  return null;
}

/** A dynamically linked one would want a C library inside of the guest. Static programs name no interpreter (ELF). */
async function findBusybox(): Promise<string | null> {
  const path = findProgram('busybox');
  if (path === null) return null;
  const segments = segmentsOf(await readFile(path));
  const isStatic = segments.length > 0 && segments.every(({ type }) => type !== segmentTypes.interpreter);
  return isStatic ? path : null;
}

export async function findSmallGuestParts(options: { kernel?: string } = {}): Promise<SmallGuestParts> {
  const [kernel, busybox] = await Promise.all([findKernel(options.kernel), findBusybox()]);
  const lacks = [
    ...(kernel
      ? []
      : [{ what: 'a Linux kernel in /boot with its modules', package: 'linux-image-cloud-amd64' }]),
    ...(busybox ? [] : [{ what: 'a static busybox', package: 'busybox-static' }]),
  ];
  const what = lacks.map((lack) => lack.what).join(' and ');
  const packages = lacks.map((lack) => lack.package).join(' ');
  return {
    kernel,
    busybox,
    guestAgent: findProgram('qemu-ga'),
    missing:
      lacks.length === 0
        ? null
        : `the small guest is made of a Linux kernel and busybox, and ${what} is missing here. Debian: apt-get install ${packages}. Elsewhere: a kernel that this user may read, with its folder in /lib/modules, and a statically linked busybox on the PATH`,
  };
}
