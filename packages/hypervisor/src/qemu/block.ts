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

/**
 * A disk with everything below it, the top first, as the files themselves say: what a format is, is never guessed from
 * the bytes, which a guest may have written.
 * @throws ImageError a file is missing, none of ours, or not what it is said to be
 */
export async function readLayers(
  storage: Storage,
  disk: Pick<MachineDisk, 'file' | 'format' | 'readOnly'>,
): Promise<Layer[]> {
  const layers: Layer[] = [];
  let next: { file: string; format: DiskFormat } | null = disk;
  while (next) {
    if (layers.length === maxLayers)
      throw new ImageError('backing-file', `${disk.file} lies on more than ${maxLayers} files`);
    const opened = await storage.openInside(next.file);
    await using file = opened.file;
    const { path } = opened;
    const readOnly = layers.length > 0 || disk.readOnly;
    layers.push({ file: relative(storage.root, path), path, format: next.format, readOnly });
    next =
      next.format === 'raw'
        ? null
        : backingOf(next.file, (await readQcow2Header(file, opened.bytes, Number.MAX_SAFE_INTEGER)).backing);
  }
  return layers;
}

function backingOf(
  file: string,
  backing: { file: string; format: string | null } | null,
): { file: string; format: DiskFormat } | null {
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
