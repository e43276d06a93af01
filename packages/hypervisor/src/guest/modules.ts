import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { findProgram } from '../program.ts';
import type { CpioEntry } from './cpio.ts';

const execute = promisify(execFile);

/**
 * What the guest may want; it loads a module when a device or a file system asks for it, since each takes 30 ms without
 * KVM. What a kernel has built in, or not at all, is left out.
 */
const wantedModules: readonly string[] = [
  ...['virtio_pci', 'virtio_mmio', 'virtio_console', 'virtio_blk', 'virtio_net', 'virtio_scsi', 'sd_mod'],
  ...[
    'virtio_balloon',
    'virtio_mem',
    'virtio_rng',
    'button',
    'evdev',
    'qemu_fw_cfg',
    'af_packet',
    'sr_mod',
    'pvpanic_pci',
  ],
  ...['ext4', 'isofs', 'vfat', 'nls_utf8', 'nls_ascii', 'nls_cp437'],
];

const plainName = (file: string) => file.replace(/\.(gz|xz|zst)$/, '');
/** A module's name is spelled with dashes in one place and with underscores in another. */
const moduleName = (file: string) => basename(plainName(file)).replace(/\.ko$/, '').replaceAll('-', '_');

/** Some of a kernel's modules, with the kernel's own tables about them. Files are relative to the folder. */
export interface Modules {
  directory: string;
  /** Each with the files that it needs, nearest first. */
  files: ReadonlyMap<string, readonly string[]>;
}

/** `kernel/a.ko: kernel/b.ko kernel/c.ko`: a needs b, which needs c. */
export async function findModules(directory: string): Promise<Modules> {
  const known = new Map<string, { file: string; needs: string[] }>();
  for (const line of (await readFile(join(directory, 'modules.dep'), 'utf8')).split('\n')) {
    const [file, rest] = line.split(':');
    if (file === undefined || rest === undefined) continue;
    known.set(moduleName(file), { file, needs: rest.split(' ').filter((need) => need !== '') });
  }
  const files = new Map<string, string[]>();
  const add = (name: string) => {
    const module = known.get(name);
    if (!module || files.has(module.file)) return;
    files.set(module.file, module.needs);
    for (const need of module.needs) add(moduleName(need));
  };
  wantedModules.forEach(add);
  return { directory, files };
}

/** Decompressed, since not every insmod can do that. */
async function readModule(file: string): Promise<Buffer> {
  const content = await readFile(file);
  if (file.endsWith('.gz')) return promisify(gunzip)(content);
  if (file.endsWith('.zst')) return promisify(zstdDecompress)(content);
  if (!file.endsWith('.xz')) return content;
  const xz = findProgram('xz');
  if (xz === null) throw new Error(`${file} is compressed, and the program xz is missing: install xz-utils`);
  const limits = { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024, timeout: 30_000 } as const;
  return (await execute(xz, ['-dc', '--', file], limits)).stdout;
}

/** A table of the kernel's folder with those lines that are about our modules; empty where there is no such table. */
async function filterTable(path: string, keep: (line: string) => boolean): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.split('\n').filter(keep).join('\n').concat('\n');
}

/** The guest's folder of modules, as modprobe wants it. */
export async function moduleEntries({ directory, files }: Modules): Promise<CpioEntry[]> {
  const place = `lib/modules/${basename(directory)}`;
  const names = new Set([...files.keys()].map(moduleName));
  const wanted = new Set(wantedModules);
  const [aliases, builtin] = await Promise.all([
    filterTable(join(directory, 'modules.alias'), (line) => names.has(line.split(' ')[2] ?? '')),
    filterTable(join(directory, 'modules.builtin'), (line) => wanted.has(moduleName(line))),
  ]);
  const dependencies = [...files].map(
    ([file, needs]) => `${plainName(file)}:${needs.map((need) => ` ${plainName(need)}`).join('')}\n`,
  );
  const table = (name: string, text: string): CpioEntry => {
    return { name: `${place}/${name}`, kind: 'file', content: Buffer.from(text), executable: false };
  };
  const folders = new Set<string>();
  for (const file of files.keys()) {
    const parts = dirname(file).split('/');
    parts.forEach((_, index) => folders.add(`${place}/${parts.slice(0, index + 1).join('/')}`));
  }
  const modules = [...files.keys()].map(async (file): Promise<CpioEntry> => {
    const content = await readModule(join(directory, file));
    return { name: `${place}/${plainName(file)}`, kind: 'file', content, executable: false };
  });
  return [
    { name: place, kind: 'directory' },
    ...[...folders].map((name): CpioEntry => ({ name, kind: 'directory' })),
    table('modules.dep', dependencies.join('')),
    table('modules.alias', aliases),
    table('modules.builtin', builtin),
    ...(await Promise.all(modules)),
  ];
}
