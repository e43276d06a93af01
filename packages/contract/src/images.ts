import { z } from 'zod';
import { ErrorCode } from './errors.ts';
import { GuestLogin } from './guest-login.ts';
import { DiskId, TemplateId, VmId } from './ids.ts';
import { Timestamp } from './text.ts';

/** The name of a file in the images directory, and nothing that leads out of it. */
export const ImageName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/,
    'must be 1 to 128 letters, digits, dots, dashes, underscores or plus signs, and begin with a letter or digit',
  );

export const DiskFormat = z.enum(['qcow2', 'raw']);
export type DiskFormat = z.infer<typeof DiskFormat>;

export const ImageKind = z.enum(['disk', 'kernel', 'initrd']);
export type ImageKind = z.infer<typeof ImageKind>;

export const Sha256 = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hexadecimal');

/** An image by what is in it, which is the same on every machine. */
export const ImageCopy = z.object({ name: ImageName, sha256: Sha256 });
export type ImageCopy = z.infer<typeof ImageCopy>;

export const Image = z.object({
  name: z.string(),
  kind: ImageKind,
  format: DiskFormat.nullable().describe('Of images of kind `disk`'),
  sizeBytes: z.int().describe('Of the file'),
  virtualSizeBytes: z.int().nullable().describe('Of the disk, as a guest sees it'),
  sha256: z.string().nullable().describe('Computed while it was received'),
  state: z
    .enum(['uploading', 'checking', 'ready', 'refused'])
    .describe('refused: see `reason`; the bytes are gone'),
  receivedBytes: z.int().describe('An interrupted upload goes on here'),
  reason: z.string().nullable(),
  usedBy: z.int().describe('Disks that rest on it, and machines that boot it'),
  createdAt: Timestamp,
  createdBy: z.string(),
});
export type Image = z.infer<typeof Image>;

/** Announces an upload; the bytes follow in pieces, see `putImageBytes`. */
export const NewImage = z.strictObject({
  name: ImageName,
  kind: ImageKind.default('disk'),
  format: DiskFormat.optional().describe('Of a disk; default: what its first bytes say'),
  sizeBytes: z
    .int()
    .min(1)
    .max(16 * 1024 ** 4)
    .describe('Of the whole file'),
  sha256: Sha256.optional().describe('Compared when everything is there'),
});
export type NewImage = z.input<typeof NewImage>;

export const ImageBytesQuery = z.strictObject({
  offset: z.coerce.number().int().min(0).describe('Where these bytes begin: `receivedBytes` of the image'),
});

export const Disk = z.object({
  id: DiskId,
  name: z.string(),
  format: DiskFormat,
  sizeBytes: z.int().describe('As a guest sees it'),
  usedBytes: z.int().nullable().describe('On the host'),
  image: z.string().nullable().describe('The image that it is an overlay on, or is being copied from'),
  state: z
    .enum(['creating', 'ready', 'growing', 'failed'])
    .describe('creating and growing: being worked on, ask again; failed: it was not made, see `reason`'),
  reason: z.string().nullable().describe('Why it was not made, or did not grow when that was asked last'),
  code: ErrorCode.nullable().describe('The same for programs'),
  vmId: VmId.nullable().describe('The machine that it is attached to'),
  vmName: z.string().nullable(),
  createdAt: Timestamp,
  createdBy: z.string(),
});
export type Disk = z.infer<typeof Disk>;

export const DiskName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be 1 to 63 letters, digits, dots, dashes or underscores, and begin with a letter or digit',
  );

const Size = z
  .int()
  .min(1024 * 1024, 'must be at least 1 MiB')
  .max(16 * 1024 ** 4, 'must be at most 16 TiB');

/** An empty disk, or one that is made from an image: an overlay on it, or with `copy` a disk of its own. */
export const NewDisk = z.strictObject({
  name: DiskName,
  format: DiskFormat.optional().describe('Default qcow2; an overlay is qcow2'),
  sizeBytes: Size.optional().describe('Default: that of the image'),
  image: ImageName.optional(),
  copy: z.boolean().optional(),
});
export type NewDisk = z.infer<typeof NewDisk>;

export const DiskResize = z.strictObject({
  sizeBytes: Size.describe('Larger than it is: what shrinks, loses'),
});

export const AttachDisk = z.strictObject({ diskId: DiskId, readOnly: z.boolean().optional() });

/** What machines are made from. Those of source `file` are files of the person's, read when asked for. */
export const Template = z.object({
  id: TemplateId,
  name: z.string(),
  source: z.enum(['stored', 'file']),
  file: z.string().nullable().describe('Where it stands'),
  reason: z.string().nullable().describe('Why the file cannot be used'),
  cpus: z.int(),
  memoryMib: z.int(),
  image: z.string().nullable(),
  diskSizeBytes: z.int().nullable(),
  kernel: z.string().nullable(),
  initrd: z.string().nullable(),
  append: z.string().nullable(),
  loginUser: z
    .string()
    .nullable()
    .describe('Who logs in for simulation requests; the password is never told'),
  additionalArguments: z
    .array(z.string())
    .describe('For QEMU, of templates of source `file` only: whoever writes there is trusted'),
});
export type Template = z.infer<typeof Template>;

export const NewTemplate = z.strictObject({
  name: DiskName,
  cpus: z.int().min(1).max(256).default(1),
  memoryMib: z
    .int()
    .min(32)
    .max(16 * 1024 * 1024)
    .default(512),
  image: ImageName.nullable().default(null),
  diskSizeBytes: Size.nullable().default(null),
  kernel: ImageName.nullable().default(null),
  initrd: ImageName.nullable().default(null),
  append: z.string().max(2048).nullable().default(null),
  login: GuestLogin.nullable().default(null),
});
export type NewTemplate = z.input<typeof NewTemplate>;
