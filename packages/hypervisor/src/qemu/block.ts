import type { MachineDisk } from '@vmo/contract';
import { relative } from 'node:path';
import { ImageError } from '../images/errors.ts';
import { readQcow2Header } from '../images/qcow2-header.ts';
import type { DiskFormat, Storage } from '../images/storage.ts';
import type { BlockdevOptions } from '../qmp/schema.generated.ts';
import { bytesNode, fromMachine, nodeName } from './layout.ts';

/** One file of a disk: itself, or one that it lies on. */
export interface Layer {
  /** From the storage path. */
  file: string;
  path: string;
  format: DiskFormat;
  readOnly: boolean;
}

const maxLayers = 64;

interface Below {
  file: string;
  format: DiskFormat;
}

/**
 * A disk with everything below it, the top first, as the files themselves say: what a format is, is never guessed from
 * the bytes, which a guest may have written.
 * @throws ImageError a file is missing, none of ours, not what it is said to be, or lies on another than it is known to
 */
export async function readLayers(
  storage: Storage,
  disk: Pick<MachineDisk, 'file' | 'format' | 'readOnly' | 'chain'>,
): Promise<Layer[]> {
  const layers: Layer[] = [];
  let next: Below | null = disk;
  while (next) {
    if (layers.length === maxLayers)
      throw new ImageError('backing-file', `${disk.file} lies on more than ${maxLayers} files`);
    const opened = await storage.openInside(next.file);
    await using file = opened.file;
    const { path } = opened;
    const readOnly = layers.length > 0 || disk.readOnly;
    const name = relative(storage.root, path);
    layers.push({ file: name, path, format: next.format, readOnly });
    const below: Below | null =
      next.format === 'raw'
        ? null
        : backingOf(next.file, (await readQcow2Header(file, opened.bytes, Number.MAX_SAFE_INTEGER)).backing);
    if (disk.chain) await requireKnown(storage, name, below, disk.chain[layers.length - 1]);
    next = below;
  }
  return layers;
}

/** A guest that has broken out into QEMU could have written another name into its disk's header: ours is the truth. */
async function requireKnown(
  storage: Storage,
  file: string,
  found: Below | null,
  known: Below | undefined,
): Promise<void> {
  const real = found && relative(storage.root, await storage.resolveInside(found.file));
  if (real === (known?.file ?? null) && found?.format === known?.format) return;
  const words = (below: Below | null | undefined, name = below?.file) =>
    below ? `${name ?? below.file} (${below.format})` : 'nothing';
  throw new ImageError(
    'backing-file',
    `${file} lies on ${words(found, real ?? undefined)}, and should lie on ${words(known)}: it is not opened`,
  );
}

function backingOf(file: string, backing: { file: string; format: string | null } | null): Below | null {
  if (backing === null) return null;
  if (backing.format === 'qcow2' || backing.format === 'raw')
    return { file: backing.file, format: backing.format };
  throw new ImageError('backing-file', `${file} does not say of which format the file below it is`);
}

/** How QEMU is to open a file: its driver named, and what lies below it by the node's name, null for nothing. */
export function blockNode(layer: Layer, backing: Layer | null): BlockdevOptions {
  const node = nodeName(layer.file);
  const bytes = { driver: 'file' as const, 'node-name': bytesNode(node), filename: fromMachine(layer.file) };
  const common = {
    'node-name': node,
    'read-only': layer.readOnly,
    discard: 'unmap' as const,
    file: { ...bytes, locking: 'on' as const },
  };
  if (layer.format === 'raw') return { driver: 'raw', ...common };
  return { driver: 'qcow2', ...common, backing: backing ? nodeName(backing.file) : null };
}

/** Lowest first, since each names the one below it. A file that several disks lie on is there once. */
export function blockNodes(disks: readonly (readonly Layer[])[]): BlockdevOptions[] {
  const nodes = new Map<string, BlockdevOptions>();
  for (const layers of disks) {
    for (const [index, layer] of [...layers.entries()].reverse())
      if (!nodes.has(layer.file)) nodes.set(layer.file, blockNode(layer, layers[index + 1] ?? null));
  }
  return [...nodes.values()];
}
