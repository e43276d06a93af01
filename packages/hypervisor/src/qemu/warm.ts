import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants, createWriteStream } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { MachineRequest, MachineSpec } from '@vmo/contract';
import { z } from 'zod';
import { DriverError } from '../driver.ts';
import type { Storage } from '../images/storage.ts';
import { runner } from '../request/runner.ts';
import type { Talk } from './talk.ts';

/** Of each kind of machine one is kept, and of all of them the last used: each takes as much as its guest has memory. */
const maxKept = 4;
const lookMs = 20;
const saveMs = 60_000;
const halfMs = 3_600_000;
const folderOf = (key: string): string => `vms/warm-${key}`;
const socketName = 'run/warm.sock';

const Kept = z.object({
  /** Seconds since the guest booted, when it was kept. */
  uptime: z.number(),
  /** What its runner had told until then. */
  report: z.string(),
});

export interface Warm {
  key: string;
  /** What it goes on from; null: nothing is kept yet. */
  kept: z.infer<typeof Kept> | null;
}

/** What is on the disks of one that goes on is kept under another name than its own: such disks cannot be kept. */
export const mayBeWarm = ({ warm, keepOnFailure, overlays }: MachineRequest): boolean =>
  warm && !(keepOnFailure && overlays.length > 0);

interface Facts {
  version: string;
  binary: string;
  accelerator: string;
  storage: Storage;
}

/** What is kept fits to exactly this hardware, these files and this QEMU: another of any of them is another key. */
export async function findWarm(spec: MachineSpec, facts: Facts): Promise<Warm> {
  const { request, boot } = spec;
  const files = [
    ...(boot.from === 'kernel' ? [boot.kernel, boot.initrd] : []),
    ...(request?.overlays.flatMap(({ below }) => below.map(({ file }) => file)) ?? []),
  ].filter((file) => file !== null);
  const look = async (path: string) => {
    const { size, mtimeMs } = await stat(path);
    return [path, size, mtimeMs];
  };
  const parts = [
    ...[facts.version, await look(facts.binary), facts.accelerator, runner],
    ...[spec.cpus, spec.maxCpus, spec.memoryMib, spec.maxMemoryMib, boot, spec.arguments, spec.network],
    spec.disks.map(({ format, readOnly }) => [format, readOnly]),
    request?.overlays.map(({ sizeBytes, below }) => [sizeBytes, below]),
    [request?.channel, request?.login?.user],
    await Promise.all(files.map((file) => look(join(facts.storage.root, file)))),
  ];
  const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
  const folder = join(facts.storage.root, folderOf(key));
  const kept = await readFile(join(folder, 'kept.json'), 'utf8').then(
    (text) => Kept.parse(JSON.parse(text)),
    () => null,
  );
  if (kept) await utimes(folder, new Date(), new Date());
  return { key, kept };
}

/** The same machine, its disks on those that were kept. */
export function onKept(request: MachineRequest, key: string): MachineRequest {
  const overlays = request.overlays.map((overlay, index) => {
    const file = `${folderOf(key)}/disk-${index}.qcow2`;
    return { ...overlay, below: [{ file, format: 'qcow2' as const }, ...overlay.below] };
  });
  return { ...request, overlays };
}

/** From the machine's folder. */
export const memoryPath = (key: string): string => `../../${folderOf(key)}/memory`;

export async function dropWarm(storage: Storage, key: string): Promise<void> {
  await rm(join(storage.root, folderOf(key)), { recursive: true, force: true });
}

export interface SaveOptions {
  storage: Storage;
  vmDirectory: string;
  key: string;
  disks: readonly string[];
  /** @param stoppedAt when it began to stand still, in milliseconds since 1970 */
  kept: (stoppedAt: number) => z.infer<typeof Kept>;
}

/**
 * Writes the guest's memory and devices to files, with its disks as they are at that moment; it stands still for that
 * long, and goes on.
 * @throws DriverError
 */
export async function saveWarm({ execute }: Pick<Talk, 'execute'>, options: SaveOptions): Promise<void> {
  const { storage, vmDirectory, key, disks, kept } = options;
  const vms = join(storage.root, 'vms');
  const temporary = join(vms, `.warm-${randomUUID()}`);
  await mkdir(temporary, { mode: 0o711 });
  let stoppedAt = Date.now();
  try {
    await receive(join(vmDirectory, socketName), join(temporary, 'memory'), async () => {
      await execute('migrate', { uri: `unix:${socketName}` });
      await migrated(execute);
      stoppedAt = Date.now();
    });
    for (const [index, file] of disks.entries()) {
      const copy = join(temporary, `disk-${index}.qcow2`);
      await copyFile(join(storage.root, file), copy, constants.COPYFILE_FICLONE);
    }
    await writeFile(join(temporary, 'kept.json'), JSON.stringify(kept(stoppedAt)), { mode: 0o600 });
    // Whoever was faster has kept the same.
    await rename(temporary, join(storage.root, folderOf(key))).catch(() => undefined);
  } finally {
    await rm(temporary, { recursive: true, force: true });
    await execute('cont');
  }
  await forget(vms);
}

/** One that we left standing still when we ended in the middle of it goes on. */
export async function goOn({ execute }: Pick<Talk, 'execute'>): Promise<void> {
  const { status } = await execute('query-status');
  if (status === 'postmigrate' || status === 'finish-migrate') await execute('cont');
}

async function migrated(execute: Talk['execute']): Promise<void> {
  const until = Date.now() + saveMs;
  while (Date.now() < until) {
    const { status, 'error-desc': error } = await execute('query-migrate');
    if (status === 'completed') return;
    if (status === 'failed' || status === 'cancelled') {
      throw new DriverError('refused', `QEMU could not write its memory: ${error ?? 'it does not say why'}`);
    }
    await delay(lookMs);
  }
  throw new DriverError('silent', 'QEMU did not write its memory in time');
}

/** QEMU itself may write to no file of ours: it gives the bytes to us. */
async function receive(socket: string, file: string, send: () => Promise<void>): Promise<void> {
  await rm(socket, { force: true });
  const server = createServer();
  const { promise: received, resolve, reject } = Promise.withResolvers<unknown>();
  received.catch(() => undefined);
  server.once('connection', (from) => {
    pipeline(from, createWriteStream(file, { mode: 0o600, flush: true })).then(() => {
      resolve(null);
    }, reject);
  });
  server.once('error', reject);
  try {
    server.listen(socket);
    await once(server, 'listening');
    await chmod(socket, 0o666);
    await send();
    await received;
  } finally {
    server.close();
  }
}

async function forget(vms: string): Promise<void> {
  const names = (await readdir(vms)).filter((name) => /^\.?warm-/.test(name));
  const all = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(join(vms, name))).mtimeMs })),
  );
  const kept = all.filter(({ name }) => name.startsWith('warm-')).sort((a, b) => b.at - a.at);
  // Of somebody who died in the middle of it.
  const halves = all.filter(({ name, at }) => name.startsWith('.') && at < Date.now() - halfMs);
  for (const { name } of [...kept.slice(maxKept), ...halves]) {
    await rm(join(vms, name), { recursive: true, force: true });
  }
}
