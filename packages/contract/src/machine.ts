import { z } from 'zod';
import { DiskId, VmId } from './ids.ts';
import { DiskFormat } from './images.ts';
import { VmDisplay, VmName, VmNetwork } from './vms.ts';

/** A file below the storage path of whoever runs the machine, as `vms/<id>/root.qcow2` or `images/debian.qcow2`. */
const StoredFile = z.string().regex(/^(images|disks|vms)\/[A-Za-z0-9][A-Za-z0-9._+/-]*$/);

export const MachineDisk = z.object({
  id: DiskId,
  file: StoredFile,
  format: DiskFormat,
  readOnly: z.boolean(),
  /** What it is known to lie on, the nearest first. Missing in runs of before it was sent along. */
  chain: z.array(z.object({ file: StoredFile, format: DiskFormat })).optional(),
});
export type MachineDisk = z.infer<typeof MachineDisk>;

/** What an agent needs to run a machine: it travels with the job of type `vm`. */
export const MachineSpec = z.object({
  id: VmId,
  name: VmName,
  cpus: z.int(),
  maxCpus: z.int(),
  memoryMib: z.int(),
  maxMemoryMib: z.int(),
  boot: z.discriminatedUnion('from', [
    z.object({ from: z.literal('disk') }),
    z.object({
      from: z.literal('kernel'),
      kernel: StoredFile,
      initrd: StoredFile.nullable(),
      append: z.string(),
    }),
  ]),
  /** In order; the first one is booted from. */
  disks: z.array(MachineDisk),
  network: VmNetwork,
  display: VmDisplay,
  /** For QEMU, from a template file: whoever writes there is trusted. */
  arguments: z.array(z.string()),
});
export type MachineSpec = z.infer<typeof MachineSpec>;
