import type { MachineDisk, MachineRequest, MachineSpec } from '@vmo/contract';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageChain } from '../images/inspect.ts';
import { createQemuImg } from '../images/qemu-img.ts';
import type { Storage } from '../images/storage.ts';

type Below = MachineRequest['overlays'][number]['below'];

function chainOf(storage: Storage, [top, ...rest]: Below): ImageChain | undefined {
  if (!top) return undefined;
  const backing = rest.length > 0 ? chainOf(storage, rest) : undefined;
  return { path: join(storage.root, top.file), format: top.format, backing };
}

/** The disks that are thrown away. What an attempt before has left of them is no disk any more. */
export async function makeOverlays(
  storage: Storage,
  id: string,
  { overlays }: MachineRequest,
): Promise<void> {
  if (overlays.length === 0) return;
  const images = createQemuImg();
  await mkdir(storage.vmDirectory(id), { recursive: true, mode: 0o711 });
  for (const { file, below, sizeBytes } of overlays) {
    const path = join(storage.root, file);
    await rm(path, { force: true });
    const backing = chainOf(storage, below);
    if (backing) await images.createOverlay({ path, backing, sizeBytes });
    else await images.createDisk({ path, sizeBytes, format: 'qcow2' });
  }
}

/** The disks as they would be without being made: read, what they are to lie on. */
export function withoutOverlays({ disks, request }: MachineSpec): MachineDisk[] {
  return disks.flatMap((disk) => {
    if (disk.file === request?.seed) return [];
    const overlay = request?.overlays.find(({ file }) => file === disk.file);
    if (!overlay) return [disk];
    const [top] = overlay.below;
    return top ? [{ ...disk, ...top, readOnly: true }] : [];
  });
}

/** Records, sockets and screenshots go. */
export async function keepDisksOnly(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!name.endsWith('.qcow2')) await rm(join(directory, name), { recursive: true, force: true });
  }
}
