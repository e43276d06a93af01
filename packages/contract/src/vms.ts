import { z } from 'zod';
import { ErrorCode } from './errors.ts';
import { DiskId, JobId, OperationId, SnapshotId, TemplateId, VmId } from './ids.ts';
import { DiskFormat, ImageName } from './images.ts';
import { noNul, Timestamp } from './text.ts';

/**
 * stopped → starting → running ⇄ paused → stopping → stopped; crashed: its process died without being asked to;
 * unknown: it cannot be told now, as when its monitor does not answer.
 */
export const VmStatus = z.enum([
  'stopped',
  'starting',
  'running',
  'paused',
  'stopping',
  'crashed',
  'unknown',
]);
export type VmStatus = z.infer<typeof VmStatus>;

/** What a person asks of a machine's power. `stop` is polite and climbs, see {@link StopRung}; `force-stop` pulls the plug. */
export const VmAction = z.enum(['start', 'stop', 'force-stop', 'reset', 'pause', 'resume']);
export type VmAction = z.infer<typeof VmAction>;

/** What each state allows; anything else is answered with 409, the state and this list. */
export const allowedActions: Readonly<Record<VmStatus, readonly VmAction[]>> = {
  stopped: ['start'],
  starting: ['force-stop'],
  running: ['stop', 'force-stop', 'reset', 'pause'],
  paused: ['resume', 'stop', 'force-stop', 'reset'],
  stopping: ['force-stop'],
  crashed: ['start'],
  unknown: ['force-stop'],
};

/** Whether a process runs for the machine, as far as is known. */
export const isVmLive = (status: VmStatus): boolean => status !== 'stopped' && status !== 'crashed';

/**
 * What ended the last run: the guest by itself, a rung of the stop ladder (guest agent, ACPI power button, QMP quit,
 * SIGTERM, SIGKILL), or a death that nobody asked for.
 */
export const StopRung = z.enum(['guest', 'guest-agent', 'acpi', 'quit', 'sigterm', 'sigkill', 'crash']);
export type StopRung = z.infer<typeof StopRung>;

/** No comma: names become options of QEMU. */
export const VmName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be 1 to 63 letters, digits, dots, dashes or underscores, and begin with a letter or digit',
  );

export const minMemoryMib = 32;
const Cpus = z.int().min(1).max(256);
const MemoryMib = z
  .int()
  .min(minMemoryMib)
  .max(16 * 1024 * 1024);

const Port = z.int().min(1).max(65_535);

/**
 * user: the guest reaches the network through its process, and is reached by forwarded ports on 127.0.0.1 only;
 * with `restrict` it reaches nothing. bridge: a tap device in a bridge of the host, which needs root.
 */
export const VmNetwork = z.discriminatedUnion('mode', [
  z.strictObject({
    mode: z.literal('user'),
    restrict: z.boolean().default(false),
    /** Ports of the guest that get a free port on 127.0.0.1 at each start. */
    forward: z.array(Port).max(32).default([]),
  }),
  z.strictObject({ mode: z.literal('none') }),
  z.strictObject({
    mode: z.literal('bridge'),
    bridge: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/, 'must be the name of a network interface'),
  }),
]);
export type VmNetwork = z.infer<typeof VmNetwork>;

/** Firmware and the first disk, or a kernel that is given directly. */
export const VmBoot = z.discriminatedUnion('from', [
  z.strictObject({ from: z.literal('disk') }),
  z.strictObject({
    from: z.literal('kernel'),
    kernel: ImageName.describe('An image of kind `kernel`'),
    initrd: ImageName.nullable().default(null).describe('An image of kind `initrd`'),
    append: noNul(z.string()).max(2048).default('console=ttyS0').describe('The kernel command line'),
  }),
]);
export type VmBoot = z.infer<typeof VmBoot>;

export const VmDisplay = z.enum(['vnc', 'none']);

/** Bytes; rounded up to whole sectors. */
export const DiskSize = z
  .int()
  .min(1024 * 1024, 'must be at least 1 MiB')
  .max(16 * 1024 ** 4, 'must be at most 16 TiB');

export const NewVm = z
  .strictObject({
    name: VmName,
    template: TemplateId.optional().describe('What is not given here comes from it'),
    image: ImageName.optional().describe('The first disk is an overlay on this image of kind `disk`'),
    diskSizeBytes: DiskSize.optional().describe(
      'Of the first disk: with `image` at least as large as it, else an empty disk',
    ),
    boot: VmBoot.optional().describe('Default: from the first disk'),
    cpus: Cpus.optional().describe('Default 1'),
    maxCpus: Cpus.optional().describe('Up to which CPUs can be added while it runs; default: 4, or `cpus`'),
    memoryMib: MemoryMib.optional().describe('Default 512'),
    maxMemoryMib: MemoryMib.optional().describe(
      'Up to which memory can be added while it runs; default: `memoryMib`, and nothing can be added',
    ),
    network: VmNetwork.optional().describe('Default: user, with port 22 forwarded'),
    display: VmDisplay.optional().describe('Default `vnc`'),
    start: z.boolean().optional().describe('Start it at once'),
  })
  .describe('With neither image, size nor kernel, there is nothing to boot: refused');
export type NewVm = z.input<typeof NewVm>;

/** Of a stopped machine all of it; of a running one the name, and CPUs and memory by {@link VmResize}. */
export const VmChange = z.strictObject({
  name: VmName.optional(),
  cpus: Cpus.optional(),
  maxCpus: Cpus.optional(),
  memoryMib: MemoryMib.optional(),
  maxMemoryMib: MemoryMib.optional(),
  boot: VmBoot.optional(),
  network: VmNetwork.optional(),
  display: VmDisplay.optional(),
});
export type VmChange = z.infer<typeof VmChange>;

export const VmResize = z
  .strictObject({
    cpus: Cpus.optional(),
    memoryMib: MemoryMib.optional(),
    balloonMib: MemoryMib.optional().describe('What the guest may keep of its memory now'),
  })
  .refine((resize) => Object.keys(resize).length > 0, 'give cpus, memoryMib or balloonMib');
export type VmResize = z.infer<typeof VmResize>;

export const VmDisk = z.object({
  id: DiskId,
  name: z.string(),
  format: DiskFormat,
  sizeBytes: z.int().describe('As the guest sees it'),
  readOnly: z.boolean(),
  root: z.boolean().describe('The first disk: it stays'),
  state: z
    .enum(['attached', 'attaching', 'detaching', 'creating', 'failed'])
    .describe(
      'detaching: the guest has not let go of it yet, which one without an operating system never does; creating: being made; failed: it was not made, and its machine cannot start',
    ),
  guestName: z.string().nullable().describe('Its serial in the guest: /dev/disk/by-id/virtio-<serial>'),
});
export type VmDisk = z.infer<typeof VmDisk>;

/** A machine as lists show it. */
export const VmSummary = z.object({
  id: VmId,
  name: z.string(),
  status: VmStatus,
  reason: z.string().nullable().describe('Why it crashed, did not start, or cannot be told'),
  cpus: z.int(),
  memoryMib: z.int(),
  accelerator: z.enum(['kvm', 'tcg']).nullable().describe('Of the running machine'),
  jobId: JobId.nullable().describe('Its latest run: its log is the serial console from the first byte'),
  createdAt: Timestamp,
  createdBy: z.string(),
  startedAt: Timestamp.nullable().describe('Of the running machine'),
  display: VmDisplay,
  load: z
    .array(z.number())
    .describe(
      'CPU in percent of one CPU, a value every 10 s, the newest last, 30 at most; empty: none known',
    ),
});
export type VmSummary = z.infer<typeof VmSummary>;

export const Vm = z.object({
  ...VmSummary.shape,
  allowed: z.array(VmAction).describe('What its state allows now'),
  maxCpus: z.int(),
  maxMemoryMib: z.int(),
  guestMemoryMib: z.int().nullable().describe('What the guest really has now; null: not running or not told'),
  boot: VmBoot,
  network: VmNetwork,
  ports: z
    .array(z.object({ guest: z.int(), host: z.int() }))
    .describe('Forwarded ports of the running machine, on 127.0.0.1'),
  disks: z.array(VmDisk),
  templateId: TemplateId.nullable(),
  pid: z.int().nullable(),
  qemuVersion: z.string().nullable(),
  guestAgent: z.boolean().describe('The guest agent answers'),
  endedBy: StopRung.nullable().describe('What ended its last run'),
});
export type Vm = z.infer<typeof Vm>;

export const VmFilter = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: VmName.optional().describe('`nextAfter` of the page before this one'),
  status: VmStatus.optional(),
  q: noNul(z.string()).max(200).optional().describe('Part of the name'),
});
export type VmFilter = z.infer<typeof VmFilter>;

export const VmPage = z.object({
  vms: z.array(VmSummary).describe('By name'),
  nextAfter: z.string().nullable(),
  total: z.int().describe('Machines that the filter lets through'),
});
export type VmPage = z.infer<typeof VmPage>;

export const OperationKind = z.enum([
  'create',
  'start',
  'stop',
  'force-stop',
  'reset',
  'pause',
  'resume',
  'clone',
  'delete',
  'attach-disk',
  'detach-disk',
  'resize-disk',
  'resize',
  'change',
  'snapshot',
  'restore',
  'delete-snapshot',
]);
export type OperationKind = z.infer<typeof OperationKind>;

/** What somebody did with a machine: asked for, carried out in turn, kept. */
export const VmOperation = z.object({
  id: OperationId,
  vmId: VmId,
  vmName: z.string().describe('As it was called then'),
  kind: OperationKind,
  status: z.enum(['queued', 'running', 'done', 'failed']),
  detail: z.string().nullable().describe('What of the machine it is about: a disk, a snapshot, a size'),
  result: z.string().nullable().describe('What came of it, or why it failed'),
  code: ErrorCode.nullable().describe('Why it failed, for programs'),
  createdBy: z.string(),
  createdAt: Timestamp,
  startedAt: Timestamp.nullable(),
  finishedAt: Timestamp.nullable(),
});
export type VmOperation = z.infer<typeof VmOperation>;

export const Snapshot = z.object({
  id: SnapshotId,
  vmId: VmId,
  name: z.string(),
  parentId: SnapshotId.nullable(),
  kind: z
    .enum(['ram', 'disk'])
    .describe('ram: memory, devices and disks, within the disks; disk: what the disks held, as overlays'),
  state: z.enum(['creating', 'ready', 'deleting']),
  current: z.boolean().describe('The machine goes on from here'),
  sizeBytes: z.int().nullable(),
  createdAt: Timestamp,
  createdBy: z.string(),
});
export type Snapshot = z.infer<typeof Snapshot>;

export const NewSnapshot = z.strictObject({
  name: VmName,
  kind: z.enum(['ram', 'disk']).optional().describe('Default: ram where the machine runs, else disk'),
});
export type NewSnapshot = z.infer<typeof NewSnapshot>;

/** One look at a machine. null: not told, as the network of user mode without a guest agent. */
export const VmMetric = z.object({
  at: Timestamp,
  cpuPercent: z.number().nullable().describe('100: one CPU of the host is busy with it'),
  memoryMib: z.number().nullable().describe('That the process holds on the host'),
  guestMemoryUsedMib: z.number().nullable().describe('As the guest tells'),
  diskReadBytesPerSecond: z.number().nullable(),
  diskWriteBytesPerSecond: z.number().nullable(),
  networkReceivedBytesPerSecond: z.number().nullable(),
  networkSentBytesPerSecond: z.number().nullable(),
});
export type VmMetric = z.infer<typeof VmMetric>;

/** One look at the machine that runs them. null: its system does not tell. */
export const HostMetric = z.object({
  at: Timestamp,
  cpuPercent: z.number().nullable().describe('100: all its CPUs are busy'),
  memoryMib: z.number().nullable().describe('In use'),
  storageBytes: z.number().nullable().describe('In use on the disk of the storage path'),
  diskReadBytesPerSecond: z.number().nullable().describe('Of that disk'),
  diskWriteBytesPerSecond: z.number().nullable(),
  networkReceivedBytesPerSecond: z.number().nullable(),
  networkSentBytesPerSecond: z.number().nullable(),
});
export type HostMetric = z.infer<typeof HostMetric>;

export const MetricsQuery = z.strictObject({
  from: Timestamp.optional().describe('Default: an hour before `to`'),
  to: Timestamp.optional().describe('Default: now'),
});

export const MetricsPage = z.object({
  everySeconds: z.int().describe('One value stands for so many seconds'),
  metrics: z.array(VmMetric),
});

export const HostMetricsPage = z.object({
  everySeconds: z.int().describe('One value stands for so many seconds'),
  metrics: z.array(HostMetric),
});

/** What this machine can do for guests; each said only after it was tried. */
export const VmHost = z.object({
  qemu: z.object({ version: z.string(), path: z.string() }).nullable(),
  accelerator: z.enum(['kvm', 'tcg']).nullable(),
  kvm: z.enum(['works', 'present-but-guests-do-not-boot', 'no-permission', 'absent']),
  words: z.string().describe('For people'),
  features: z.array(z.string()).describe('As virtio-mem, sandbox, user-networking, vnc'),
  cpus: z.int(),
  memoryMib: z.int(),
  freeMemoryMib: z.int(),
  storagePath: z.string(),
  freeStorageBytes: z.int().nullable(),
  storageBytes: z.int().nullable().describe('Size of the disk of the storage path'),
  probedAt: Timestamp.nullable(),
  probing: z.boolean().describe('It is being tried now what this machine can do: ask again'),
  tryVm: z
    .object({ possible: z.boolean(), install: z.string().nullable() })
    .describe('Whether the small guest can be built here, else what to install for it'),
  strangers: z
    .array(z.object({ pid: z.int(), name: z.string(), evidence: z.string() }))
    .describe('QEMU processes that are none of ours, and how one can tell; they are left alone'),
  dryRun: z.boolean(),
});
export type VmHost = z.infer<typeof VmHost>;
