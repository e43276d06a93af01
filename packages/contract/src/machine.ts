import { z } from 'zod';
import { DiskId, VmId } from './ids.ts';
import { DiskFormat, ImageCopy } from './images.ts';
import { RequestChannel } from './new-request.ts';
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

/** An image that a machine is made of: `images/NAME` where the server is. */
export const NeededImage = ImageCopy.extend({ sizeBytes: z.int().min(0) });
export type NeededImage = z.infer<typeof NeededImage>;

/** What makes a machine the throw-away one of a simulation request. */
export const MachineRequest = z.object({
  /** Disks of the machine that are made for it, each on what is only read, nearest first; on nothing: an empty one. */
  overlays: z.array(
    z.object({
      file: StoredFile,
      sizeBytes: z.int(),
      below: z.array(z.object({ file: StoredFile, format: DiskFormat })),
    }),
  ),
  /** Everything that the machine is made of; null: that is on the server's machine alone. */
  images: z.array(NeededImage).nullable().default(null),
  /** From its start until a channel must have answered. */
  readySeconds: z.number(),
  channel: RequestChannel.nullable(),
  /** Who can log in, over SSH or at the serial console; a password of null: with a key that is made for the run. */
  login: z.object({ user: z.string(), password: z.string().nullable() }).nullable().default(null),
  /** Of the disks, the one that is made for the run and tells the guest's cloud-init the key. */
  seed: StoredFile.nullable().default(null),
  /** It may go on from where such a machine was ready, and may be kept to be gone on from. */
  warm: z.boolean().default(false),
  keepOnFailure: z.boolean(),
  /** Of all artifacts together. */
  maxArtifactBytes: z.int(),
});
export type MachineRequest = z.infer<typeof MachineRequest>;

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
  /** null: it is somebody's machine, and runs until it is stopped. */
  request: MachineRequest.nullable().default(null),
});
export type MachineSpec = z.infer<typeof MachineSpec>;

/** What the job's machine is thrown away after; null: it is not. */
export function machineRequestOf(vm: unknown): MachineRequest | null {
  const spec = MachineSpec.safeParse(vm);
  return spec.success ? spec.data.request : null;
}
