import {
  CodedError,
  type AttachDisk,
  type Disk,
  type HostMetricsPage,
  type DiskId,
  type DiskResize,
  type Image,
  type JobId,
  type MetricsPage,
  type MetricsQuery,
  type NewDisk,
  type NewImage,
  type NewSnapshot,
  type NewTemplate,
  type OperationId,
  type OperationKind,
  type Snapshot,
  type SnapshotId,
  type Template,
  type TemplateId,
  type Vm,
  type VmAction,
  type VmChange,
  type VmFilter,
  type VmHost,
  type VmId,
  type VmOperation,
  type VmPage,
  type VmResize,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { LadderTimes } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { every } from '../kernel/every.ts';
import type { Logger } from '../kernel/logger.ts';
import { createAttaching } from './attaching.ts';
import { createDiskWork } from './disk-work.ts';
import { createDisks, type Grown } from './disks.ts';
import { inOurWords, noSuchVm, wrongState } from './errors.ts';
import { createHost } from './host.ts';
import type { Hypervisor } from './hypervisor.ts';
import { createImageCopies, type ImageCopies } from './image-copies.ts';
import { createImages } from './images.ts';
import { createKept } from './kept.ts';
import { createLive } from './live.ts';
import { createMaking } from './making.ts';
import { createLoad, createMetrics, lookEveryMs } from './metrics.ts';
import { sampleHost } from './metrics-host.ts';
import { createOperations, type Carrier } from './operations.ts';
import * as operationsRepository from './operations-repository.ts';
import type { Wanted } from './plan.ts';
import { createPower } from './power.ts';
import * as repository from './repository.ts';
import { createReceived } from './received.ts';
import { createService, type Made } from './service.ts';
import { createShow } from './show.ts';
import { createSnapshots } from './snapshots.ts';
import * as snapshotsRepository from './snapshots-repository.ts';
import { createSettling } from './settling.ts';
import { sweep } from './sweep.ts';
import { createTelling } from './telling.ts';
import { createTemplates } from './templates.ts';
import { createThumbnails } from './thumbnails.ts';
import { createThrowAway } from './throw-away.ts';
import { createUpload } from './upload.ts';

export type { Hypervisor } from './hypervisor.ts';
export type { ThrowAway } from './throw-away.ts';

const lookAgainMs = 15_000;
const rollUpMs = 300_000;
const hourMs = 3_600_000;
const shownOperations = 200;

/** The door of the machines' domain. Everything may throw a CodedError as the contract names them. */
export interface Vms {
  host: {
    get(): Promise<VmHost>;
    /** Finds out what this host can do, in the background, unless that is known. */
    look(): void;
    tryAgain(): Promise<VmHost>;
    metrics(query: z.output<typeof MetricsQuery>): Promise<z.output<typeof HostMetricsPage>>;
  };
  list(filter: VmFilter): Promise<VmPage>;
  get(vmId: VmId): Promise<Vm>;
  create(actor: Actor, wanted: Wanted): Promise<Made>;
  /** A machine of the small guest, which is built, made and started in turn. */
  tryVm(actor: Actor): Promise<Made>;
  clone(actor: Actor, vmId: VmId, name: string): Promise<Made>;
  change(actor: Actor, vmId: VmId, change: z.output<typeof VmChange>): Promise<Vm>;
  remove(actor: Actor, vmId: VmId, withDisks: boolean): Promise<VmOperation>;
  act(actor: Actor, vmId: VmId, action: VmAction): Promise<VmOperation>;
  actOnMany(
    actor: Actor,
    vmIds: readonly VmId[],
    action: VmAction,
  ): Promise<{ operations: VmOperation[]; refused: { vmId: VmId; reason: string }[] }>;
  resize(actor: Actor, vmId: VmId, resize: z.output<typeof VmResize>): Promise<VmOperation>;
  attachDisk(actor: Actor, vmId: VmId, disk: z.output<typeof AttachDisk>): Promise<VmOperation>;
  detachDisk(actor: Actor, vmId: VmId, diskId: DiskId): Promise<VmOperation>;
  operation(id: OperationId): Promise<VmOperation>;
  /** Newest first. */
  operations(vmId: VmId): Promise<VmOperation[]>;
  metrics(vmId: VmId, query: z.output<typeof MetricsQuery>): Promise<z.output<typeof MetricsPage>>;
  /** PNG. */
  screenshot(vmId: VmId): Promise<Buffer>;
  /** PNG, small, and at most 30 s old. */
  thumbnail(vmId: VmId): Promise<Buffer>;
  snapshots: {
    list(vmId: VmId): Promise<Snapshot[]>;
    create(
      actor: Actor,
      vmId: VmId,
      snapshot: z.output<typeof NewSnapshot>,
    ): Promise<{ snapshot: Snapshot; operation: VmOperation }>;
    restore(actor: Actor, id: SnapshotId): Promise<VmOperation>;
    remove(actor: Actor, id: SnapshotId): Promise<VmOperation>;
  };
  disks: {
    list(): Promise<Disk[]>;
    get(id: DiskId): Promise<Disk>;
    /** At once: its state tells how it goes. */
    create(actor: Actor, disk: z.output<typeof NewDisk>): Promise<Disk>;
    resize(actor: Actor, id: DiskId, resize: z.output<typeof DiskResize>): Promise<Grown>;
    remove(actor: Actor, id: DiskId): Promise<void>;
  };
  images: {
    list(): Promise<Image[]>;
    get(name: string): Promise<Image>;
    announce(actor: Actor, image: z.output<typeof NewImage>): Promise<Image>;
    putBytes(actor: Actor, name: string, offset: number, bytes: AsyncIterable<Uint8Array>): Promise<Image>;
    remove(actor: Actor, name: string): Promise<void>;
    /** The bytes of one that an agent elsewhere lacks. */
    readCopy: ImageCopies['read'];
  };
  templates: {
    list(): Promise<Template[]>;
    add(actor: Actor, template: z.output<typeof NewTemplate>): Promise<Template>;
    remove(actor: Actor, id: TemplateId): Promise<void>;
  };
  /** Machines that are made for one run, and thrown away at its end. */
  throwAway: ReturnType<typeof createThrowAway>;
  /** An ordinary machine of the disks that such a one left. */
  openKept: ReturnType<typeof createKept>;
  /** Kept disks that come from other machines. */
  received: ReturnType<typeof createReceived>;
  /** Types into the serial console of the machine that this job is a run of. */
  input(jobId: JobId, data: string): Promise<void>;
  /** The Unix socket of a running machine's screen (RFB). */
  vncSocket(vmId: VmId): Promise<string>;
  /** Takes up what ran, and what was queued, when we ended; then keeps it true. */
  start(): Promise<void>;
  /** Lets go of everything: machines run on. */
  stop(): void;
}

export interface VmsDeps {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Jobs;
  hypervisor: Hypervisor;
  /** Where template files are; null: nowhere. */
  configDirectory: string | null;
  /** How long each rung of a stop may take. */
  ladder: Partial<LadderTimes>;
  logger: Logger;
}

export function createVms(deps: VmsDeps): Vms {
  const { db, logger, hypervisor, jobs } = deps;
  const load = createLoad();
  const telling = createTelling({ db, bus: deps.bus, loadOf: load.of });
  const live = createLive({ ...deps, telling });
  const images = createImages({ db, hypervisor });
  const copies = createImageCopies({ db, hypervisor });
  const upload = createUpload({ db, images });
  const templates = createTemplates({ db, images, configDirectory: deps.configDirectory });
  const power = createPower({ ...deps, live, telling });
  const work = createDiskWork({ db, hypervisor, logger });
  const attaching = createAttaching({ ...deps, work, live, telling });
  const host = createHost({
    hypervisor,
    images,
    logger,
    listOurs: async () => {
      const machines = await repository.listLive(db);
      return new Set([...machines.map(({ id }) => String(id)), ...(await jobs.throwAwayMachines())]);
    },
  });
  const settling = createSettling({ db, hypervisor, live });
  const { buildSmallGuest } = host;
  const making = createMaking({ db, hypervisor, telling, settle: settling.settle, buildSmallGuest });
  /** For what needs the files of disks to be what the rows say. */
  const settledFirst = (carrier: Carrier): Carrier => ({
    ...carrier,
    async carryOut(turn) {
      await settling.settle(turn.operation.vmId);
      return carrier.carryOut(turn);
    },
  });
  const snapshots = createSnapshots({ db, jobs, hypervisor, live, settling, logger });
  const carriers: Record<OperationKind, Carrier> = {
    ...power.carriers,
    start: settledFirst(power.carriers.start),
    ...making,
    delete: {
      ...making.delete,
      async carryOut(turn) {
        await settling.settle(turn.operation.vmId).catch((error: unknown) => {
          // What cannot be made right any more can still be deleted.
          logger.warn(
            { err: error, vmId: turn.operation.vmId },
            'the files of a machine could not be settled',
          );
        });
        return making.delete.carryOut(turn);
      },
    },
    'attach-disk': settledFirst(attaching.carriers['attach-disk']),
    'detach-disk': settledFirst(attaching.carriers['detach-disk']),
    'resize-disk': settledFirst(attaching.carriers['resize-disk']),
    resize: attaching.carriers.resize,
    snapshot: settledFirst(snapshots.snapshot),
    restore: settledFirst(snapshots.restore),
    'delete-snapshot': settledFirst(snapshots['delete-snapshot']),
    // Changes of a machine that is stopped are made at once.
    change: { carryOut: () => Promise.resolve('changed'), idempotent: true },
  };
  const operations = createOperations({ db, telling, logger, carriers });
  const disks = createDisks({ db, hypervisor, images, operations, work });
  const show = createShow({ db, live, load });
  const service = createService({ db, hypervisor, images, templates, operations, telling, show });
  const throwAway = createThrowAway({
    ...{ db, hypervisor, images, copies, templates, host },
    settle: settling.settle,
  });
  const metrics = createMetrics({
    ...{ db, bus: deps.bus, load, running: live.all },
    sampleHost: async () => sampleHost((await hypervisor.storage()).root),
  });
  const thumbnails = createThumbnails();
  const chores: (() => void)[] = [];

  async function running(vmId: VmId) {
    const vm = await repository.findVm(db, vmId);
    if (!vm) throw noSuchVm(vmId);
    const machine = live.get(vmId);
    if (!machine || (vm.status !== 'running' && vm.status !== 'paused' && vm.status !== 'stopping')) {
      throw wrongState(vm.name, vm.status, 'has no screen now');
    }
    return { vm, machine };
  }

  return {
    host: { get: host.get, look: host.look, tryAgain: host.tryAgain, metrics: metrics.readHost },
    list: show.list,
    get: show.vm,
    create: service.create,
    tryVm: service.tryVm,
    clone: service.clone,
    change: service.change,
    remove: service.remove,
    act: service.act,
    actOnMany: service.actOnMany,
    throwAway,
    received: createReceived({ db, hypervisor, copies }),
    openKept: createKept({ db, hypervisor, images, operations, telling, show }),
    resize: service.resize,
    attachDisk: (actor, vmId, { diskId, readOnly = false }) =>
      service.attachDisk(actor, vmId, diskId, readOnly),
    detachDisk: service.detachDisk,

    async operation(id) {
      const operation = await operationsRepository.findOperation(db, id);
      if (!operation) throw new CodedError('OPERATION_NOT_FOUND', `there is no operation ${id}`);
      return operationsRepository.withoutRequest(operation);
    },

    /** Also of a machine that is gone: what was done with it is kept. */
    async operations(vmId) {
      const found = await operationsRepository.listOperations(db, vmId, shownOperations);
      if (found.length === 0 && !(await repository.findVm(db, vmId))) throw noSuchVm(vmId);
      return found;
    },

    async metrics(vmId, query) {
      if (!(await repository.findVm(db, vmId))) throw noSuchVm(vmId);
      return metrics.read(vmId, query);
    },

    async screenshot(vmId) {
      const { machine } = await running(vmId);
      return inOurWords(() => machine.screenshot());
    },

    async thumbnail(vmId) {
      const { machine } = await running(vmId);
      return inOurWords(() => thumbnails.of(vmId, machine));
    },

    snapshots: {
      list: service.listSnapshots,
      create: service.snapshot,
      restore: service.restore,
      remove: service.deleteSnapshot,
    },
    disks,
    images: {
      list: images.list,
      get: images.get,
      announce: images.announce,
      putBytes: upload.putBytes,
      remove: images.remove,
      readCopy: copies.read,
    },
    templates,

    async input(jobId, data) {
      const machine = live.byJob(jobId);
      if (!machine)
        throw new CodedError('JOB_NOT_RUNNING', 'the machine does not run, or does not answer yet');
      await inOurWords(() => machine.input(data));
    },

    async vncSocket(vmId) {
      const { vm, machine } = await running(vmId);
      const socket = await inOurWords(() => machine.vncSocket());
      if (socket !== null) return socket;
      throw new CodedError('VM_IMPOSSIBLE', `${vm.name} has no screen: its display is ${vm.display}`);
    },

    async start() {
      await metrics.keepPartitions();
      await upload.start();
      await live.look();
      await snapshotsRepository.deleteNeverBegun(db);
      // Before anything of ours makes files again.
      await sweep({ db, storage: hypervisor.storage, logger }).catch((error: unknown) => {
        // What is left over costs room, and keeps nobody from working.
        logger.warn({ err: error }, 'files that earlier processes have left could not be looked for');
      });
      await work.start();
      await operations.start();
      const settleDisks = () => attaching.settleAll(operations.isBusy);
      // Machines are being taken hold of meanwhile, and are asked.
      settleDisks().catch((error: unknown) => {
        logger.warn({ err: error }, 'disks on their way were not looked at; they will be soon');
      });
      chores.push(
        every(lookAgainMs, 'looking at all machines', live.look, logger),
        every(lookAgainMs, 'looking at disks on their way', settleDisks, logger),
        every(lookEveryMs, 'measuring machines', metrics.look, logger),
        every(rollUpMs, 'averages of machines', metrics.rollUp, logger),
        every(hourMs, 'partitions of measurements', metrics.keepPartitions, logger),
      );
    },

    stop() {
      for (const end of chores.splice(0)) end();
      operations.stop();
      work.stop();
      live.stop();
    },
  };
}
