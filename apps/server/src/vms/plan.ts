import { totalmem } from 'node:os';
import {
  CodedError,
  type DiskFormat,
  type MachineSpec,
  type NewVm,
  type Template,
  type VmBoot,
  type VmNetwork,
} from '@vmo/contract';
import type { z } from 'zod';
import type { DiskRow } from './disks-repository.ts';
import type { ImageRow } from './images-repository.ts';
import type { MachineRow } from './repository.ts';

const mib = 1024 * 1024;
const defaults = { cpus: 1, maxCpus: 4, memoryMib: 512 };
export const defaultForwards = [22];
const defaultNetwork: VmNetwork = { mode: 'user', restrict: false, forward: defaultForwards };
const defaultAppend = 'console=ttyS0';

export type Wanted = z.output<typeof NewVm>;

/** What a new machine is going to be. */
export interface Plan extends Pick<
  MachineRow,
  'name' | 'cpus' | 'maxCpus' | 'memoryMib' | 'maxMemoryMib' | 'boot' | 'network' | 'display' | 'arguments'
> {
  templateId: MachineRow['templateId'];
  /** Its first disk: an overlay on the image, or an empty one. */
  disk: { sizeBytes: number; image: string | null; below: { file: string; format: DiskFormat }[] } | null;
}

function refuse(path: string, message: string): CodedError {
  return new CodedError('INVALID_INPUT', `${path} ${message}`, { issues: [{ path, message }] });
}

/** @throws CodedError INVALID_INPUT, VM_IMPOSSIBLE */
export function checkSizes(sizes: Pick<MachineRow, 'cpus' | 'maxCpus' | 'memoryMib' | 'maxMemoryMib'>): void {
  if (sizes.maxCpus < sizes.cpus) throw refuse('maxCpus', `must be at least cpus, which is ${sizes.cpus}`);
  if (sizes.maxMemoryMib < sizes.memoryMib) {
    throw refuse('maxMemoryMib', `must be at least memoryMib, which is ${sizes.memoryMib}`);
  }
  const hostMib = Math.floor(totalmem() / mib);
  if (sizes.memoryMib > hostMib) {
    throw new CodedError(
      'VM_IMPOSSIBLE',
      `${sizes.memoryMib} MiB of memory were asked for, and this host has ${hostMib} MiB in all`,
    );
  }
}

/** What is given, then what the template says, then what is usual. */
export function planVm(
  wanted: Wanted,
  template: Template | null,
  findImage: (name: string, kind: ImageRow['kind']) => ImageRow,
): Plan {
  const cpus = wanted.cpus ?? template?.cpus ?? defaults.cpus;
  const memoryMib = wanted.memoryMib ?? template?.memoryMib ?? defaults.memoryMib;
  const boot: VmBoot =
    wanted.boot ??
    (template?.kernel
      ? {
          from: 'kernel',
          kernel: template.kernel,
          initrd: template.initrd,
          append: template.append ?? defaultAppend,
        }
      : { from: 'disk' });
  const disk = planDisk(
    wanted.image ?? template?.image ?? null,
    wanted.diskSizeBytes ?? template?.diskSizeBytes ?? null,
    findImage,
  );
  if (!disk && boot.from === 'disk') {
    throw new CodedError(
      'INVALID_INPUT',
      'there is nothing to boot: give an image, a size for an empty disk, or a kernel',
      { issues: [{ path: 'image', message: 'or diskSizeBytes, or boot.kernel' }] },
    );
  }
  const plan: Plan = {
    ...{ name: wanted.name, cpus, memoryMib, boot, disk },
    maxCpus: wanted.maxCpus ?? Math.max(defaults.maxCpus, cpus),
    maxMemoryMib: wanted.maxMemoryMib ?? memoryMib,
    network: wanted.network ?? defaultNetwork,
    display: wanted.display ?? 'vnc',
    arguments: template?.additionalArguments ?? [],
    templateId: template?.id ?? null,
  };
  checkSizes(plan);
  return plan;
}

export function checkBoot(boot: VmBoot, findImage: (name: string, kind: ImageRow['kind']) => ImageRow): void {
  if (boot.from === 'disk') return;
  findImage(boot.kernel, 'kernel');
  if (boot.initrd !== null) findImage(boot.initrd, 'initrd');
}

function planDisk(
  imageName: string | null,
  sizeBytes: number | null,
  findImage: (name: string, kind: ImageRow['kind']) => ImageRow,
): Plan['disk'] {
  if (imageName === null) return sizeBytes === null ? null : { sizeBytes, image: null, below: [] };
  const image = findImage(imageName, 'disk');
  const least = image.virtualSizeBytes ?? 0;
  if (sizeBytes !== null && sizeBytes < least) {
    throw refuse('diskSizeBytes', `must be at least ${least}, the size of the image ${imageName}`);
  }
  return {
    sizeBytes: sizeBytes ?? least,
    image: imageName,
    below: [{ file: `images/${imageName}`, format: image.format ?? 'raw' }],
  };
}

/** With images as files below the storage path. */
export function specBoot(boot: VmBoot): MachineSpec['boot'] {
  if (boot.from === 'disk') return boot;
  return {
    from: 'kernel',
    kernel: `images/${boot.kernel}`,
    initrd: boot.initrd === null ? null : `images/${boot.initrd}`,
    append: boot.append,
  };
}

/** What travels to whoever runs the machine. */
export function toSpec(vm: MachineRow, disks: readonly DiskRow[]): MachineSpec {
  const { id, name, cpus, maxCpus, memoryMib, maxMemoryMib, boot, network, display } = vm;
  return {
    ...{ id, name, cpus, maxCpus, memoryMib, maxMemoryMib, network, display },
    arguments: vm.arguments,
    request: null,
    boot: specBoot(boot),
    disks: disks.map(toMachineDisk),
  };
}

export const toMachineDisk = ({ id, file, format, readOnly, chain }: DiskRow) => ({
  ...{ id, file, format, readOnly, chain },
});
