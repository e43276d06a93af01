import {
  allowedActions,
  CodedError,
  DiskId,
  isVmLive,
  SnapshotId,
  VmId,
  type NewSnapshot,
  type Snapshot,
  type Vm,
  type VmAction,
  type VmChange,
  type VmOperation,
  type VmResize,
} from '@vmo/contract';
import { isUniqueViolation, type Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';
import type { z } from 'zod';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import { firstStays, requireFree, requireReady } from './attaching.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { noSuchDisk, noSuchVm, wrongState } from './errors.ts';
import { smallGuest } from './host.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Images } from './images.ts';
import { namingOnce } from './naming.ts';
import type { NewWork, Operations } from './operations.ts';
import { isStartOpen, type StoredOperation } from './operations-repository.ts';
import { checkBoot, checkSizes, planVm, type Plan, type Wanted } from './plan.ts';
import * as repository from './repository.ts';
import type { MachineRow, VmPatch } from './repository.ts';
import { noSuchSnapshot, requireQcow2 } from './snapshots.ts';
import * as snapshots from './snapshots-repository.ts';
import type { Telling } from './telling.ts';
import type { Templates } from './templates.ts';
import type { Show } from './show.ts';

export interface ServiceDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  images: Images;
  templates: Templates;
  operations: Operations;
  telling: Telling;
  show: Show;
}

export interface Made {
  vm: Vm;
  operation: VmOperation;
}

const tinyPrefix = 'tiny';
const tinyMemoryMib = 256;
const tinyAttempts = 10;
const noImage = () => {
  throw new Error('the small guest rests on no image');
};

/** What people ask of machines: checked at once, carried out in turn. */
export function createService(deps: ServiceDeps) {
  const { db, hypervisor, images, templates, operations, telling, show } = deps;

  async function find(vmId: string): Promise<MachineRow> {
    const vm = await repository.findVm(db, vmId);
    if (!vm) throw noSuchVm(vmId);
    return vm;
  }

  /**
   * Queues work for a machine. Where something is queued already, the state is one that nobody can know yet: it is
   * looked at when it is its turn.
   */
  async function queue(
    actor: Actor,
    vmId: VmId,
    work: Omit<NewWork, 'vm'>,
    check: (vm: MachineRow) => void,
  ): Promise<VmOperation> {
    const inserted = await db.transaction().execute(async (trx) => {
      const vm = await repository.lockVm(trx, vmId);
      if (!vm) throw noSuchVm(vmId);
      if (!operations.isBusy(vmId)) check(vm);
      return operations.insert(trx, actor, { ...work, vm });
    });
    return takeOne(inserted);
  }

  function takeOne(...inserted: [StoredOperation, ...StoredOperation[]]): VmOperation {
    const [first] = operations.take(...inserted);
    if (!first) throw new Error('an operation was not taken');
    return first;
  }

  const objectionTo = (action: VmAction, { name, status }: Pick<MachineRow, 'name' | 'status'>) =>
    allowedActions[status].includes(action) ? null : wrongState(name, status, `cannot ${action}`);
  const mustAllow = (action: VmAction) => (vm: MachineRow) => {
    const objection = objectionTo(action, vm);
    if (objection) throw objection;
  };
  const mustRest = (asked: string) => (vm: MachineRow) => {
    if (isVmLive(vm.status)) throw wrongState(vm.name, vm.status, asked);
  };
  const mustBeSteady = (asked: string) => (vm: MachineRow) => {
    if (['starting', 'stopping', 'unknown'].includes(vm.status)) throw wrongState(vm.name, vm.status, asked);
  };

  function requireHypervisor(): void {
    const missing = hypervisor.missing();
    if (missing !== null) throw new CodedError('HYPERVISOR_UNAVAILABLE', missing);
  }

  const rootOf = (vmId: VmId, plan: NonNullable<Plan['disk']>, name: string, createdBy: string) => ({
    ...{ id: DiskId.parse(newId()), name, format: 'qcow2' as const, readOnly: false, createdBy },
    file: `vms/${vmId}/root.qcow2`,
    ...{ sizeBytes: plan.sizeBytes, image: plan.image, chain: plan.below },
    ...{ vmId, slot: 0, attachment: 'attached' as const },
  });

  async function create(actor: Actor, wanted: Wanted): Promise<Made> {
    const template = wanted.template === undefined ? null : await templates.get(wanted.template);
    const find = await images.finder();
    const plan = planVm(wanted, template, find);
    checkBoot(plan.boot, find);
    if (plan.disk || wanted.start === true) requireHypervisor();
    return insertPlanned(actor, plan, { start: wanted.start === true });
  }

  async function insertPlanned(
    actor: Actor,
    plan: Plan,
    { start, request = {} }: { start: boolean; request?: object },
  ): Promise<Made> {
    const { id, inserted } = await namingOnce(db, plan.name, async (trx) => {
      const vm = await repository.insertVm(trx, { ...plan, id: VmId.parse(newId()), createdBy: actor.name });
      if (plan.disk) await disks.insertDisk(trx, rootOf(vm.id, plan.disk, plan.name, actor.name));
      const made = await operations.insert(trx, actor, { vm, kind: 'create', request });
      const started = start ? [await operations.insert(trx, actor, { vm, kind: 'start' })] : [];
      return { id: vm.id, inserted: [made, ...started] as const };
    });
    await telling.changed(id);
    const operation = takeOne(...inserted);
    return { vm: await show.vm(id), operation };
  }

  async function copyDisks(
    trx: Transaction<Database>,
    from: readonly DiskRow[],
    copy: MachineRow,
  ): Promise<void> {
    for (const disk of from) {
      const id = DiskId.parse(newId());
      const format = disk.slot === 0 ? 'qcow2' : disk.format;
      await disks.insertDisk(trx, {
        ...{ id, format, sizeBytes: disk.sizeBytes, readOnly: disk.readOnly, chain: [], image: null },
        name: disk.slot === 0 ? copy.name : `${copy.name}-${disk.name}`.slice(0, 63),
        file: disk.slot === 0 ? `vms/${copy.id}/root.qcow2` : `disks/${id}.${format}`,
        ...{ vmId: copy.id, slot: disk.slot, attachment: 'attached', createdBy: copy.createdBy },
      });
    }
  }

  async function snapshotOf(snapshotId: SnapshotId) {
    const snapshot = await snapshots.findSnapshot(db, snapshotId);
    if (!snapshot) throw noSuchSnapshot(snapshotId);
    return snapshot;
  }

  async function diskOf(vmId: VmId, diskId: DiskId): Promise<DiskRow> {
    const vm = await find(vmId);
    const disk = await disks.findDisk(db, diskId);
    if (disk?.vmId !== vmId) throw new CodedError('DISK_NOT_FOUND', `${vm.name} has no disk ${diskId}`);
    if (disk.slot === 0) throw firstStays(vm.name);
    return disk;
  }

  return {
    create,

    /** The small guest, as the next `tiny-N`, on its way up: it is built by the operation. */
    async tryVm(actor: Actor): Promise<Made> {
      const missing = hypervisor.missing() ?? (await hypervisor.smallGuest.missing());
      if (missing !== null) throw new CodedError('VM_IMPOSSIBLE', missing);
      const boot = { from: 'kernel', ...smallGuest, append: hypervisor.smallGuest.kernelArguments } as const;
      for (let attempt = 1; ; attempt += 1) {
        const number = (await repository.highestNumber(db, tinyPrefix)) + 1;
        try {
          const name = `${tinyPrefix}-${number}`;
          const plan = planVm({ name, boot, memoryMib: tinyMemoryMib }, null, noImage);
          return await insertPlanned(actor, plan, { start: true, request: { smallGuest: true } });
        } catch (error) {
          // Somebody else clicked at the same moment.
          const isTaken = error instanceof CodedError && error.code === 'NAME_TAKEN';
          if (!isTaken || attempt === tinyAttempts) throw error;
        }
      }
    },

    /** @throws CodedError VM_NOT_FOUND, VM_WRONG_STATE, NAME_TAKEN */
    async clone(actor: Actor, vmId: VmId, name: string): Promise<Made> {
      requireHypervisor();
      const { copy, inserted } = await namingOnce(db, name, async (trx) => {
        const source = await repository.lockVm(trx, vmId);
        if (!source) throw noSuchVm(vmId);
        // What is queued for it before comes first: its state is looked at again in turn.
        mustRest('cannot be cloned')(source);
        const fields = { ...source, id: VmId.parse(newId()), name, createdBy: actor.name };
        const made = await repository.insertVm(trx, fields);
        await copyDisks(trx, await disks.listDisksOf(trx, vmId), made);
        const work = { vm: made, kind: 'clone', request: { from: vmId }, detail: source.name } as const;
        return { copy: made, inserted: await operations.insert(trx, actor, work) };
      });
      await telling.changed(copy.id);
      const operation = takeOne(inserted);
      return { vm: await show.vm(copy.id), operation };
    },

    act: (actor: Actor, vmId: VmId, action: VmAction) =>
      queue(actor, vmId, { kind: action }, mustAllow(action)),

    async actOnMany(actor: Actor, vmIds: readonly VmId[], action: VmAction) {
      const wanted = [...new Set(vmIds)];
      const { inserted, refused } = await db.transaction().execute(async (trx) => {
        const found = new Map((await repository.lockVms(trx, wanted)).map((vm) => [vm.id, vm]));
        const able: NewWork['vm'][] = [];
        const refused: { vmId: VmId; reason: string }[] = [];
        for (const vmId of wanted) {
          const vm = found.get(vmId);
          const objection = vm ? objectionTo(action, vm) : noSuchVm(vmId);
          if (vm && (objection === null || operations.isBusy(vmId))) able.push(vm);
          else if (objection) refused.push({ vmId, reason: objection.message });
        }
        return { inserted: await operations.insertMany(trx, actor, action, able), refused };
      });
      return { operations: operations.take(...inserted), refused };
    },

    /** Its name always, the rest while it is stopped. @throws CodedError VM_WRONG_STATE, NAME_TAKEN, INVALID_INPUT */
    async change(actor: Actor, vmId: VmId, wanted: z.output<typeof VmChange>): Promise<Vm> {
      const findImage = wanted.boot ? await images.finder() : null;
      const { name, ...rest } = wanted;
      const patch = Object.fromEntries(
        Object.entries(wanted).filter(([, value]) => value !== undefined),
      ) as VmPatch;
      await namingOnce(db, name ?? '', async (trx) => {
        const vm = await repository.lockVm(trx, vmId);
        if (!vm) throw noSuchVm(vmId);
        if (Object.values(rest).some((value) => value !== undefined)) {
          mustRest('can only be renamed: stop it first, or resize it')(vm);
          if (await isStartOpen(trx, vmId)) {
            const words =
              'is about to start and can only be renamed: wait for that, then stop it or resize it';
            throw new CodedError('VM_WRONG_STATE', `${vm.name} ${words}`);
          }
          // What it asks for beyond what is there grows along.
          const cpus = patch.cpus ?? vm.cpus;
          const memoryMib = patch.memoryMib ?? vm.memoryMib;
          patch.maxCpus ??= Math.max(vm.maxCpus, cpus);
          patch.maxMemoryMib ??= Math.max(vm.maxMemoryMib, memoryMib);
          checkSizes({ cpus, memoryMib, maxCpus: patch.maxCpus, maxMemoryMib: patch.maxMemoryMib });
          if (findImage && patch.boot) checkBoot(patch.boot, findImage);
        }
        if (Object.keys(patch).length > 0) await repository.updateVm(trx, vmId, patch);
        await audit.record(trx, actor, 'vm.change', vmId, patch);
      });
      await telling.changed(vmId);
      return show.vm(vmId);
    },

    remove: (actor: Actor, vmId: VmId, withDisks: boolean) =>
      queue(
        actor,
        vmId,
        { kind: 'delete', request: { disks: withDisks }, detail: withDisks ? 'with all its disks' : null },
        mustRest('cannot be deleted: stop it first'),
      ),

    async resize(actor: Actor, vmId: VmId, request: z.output<typeof VmResize>): Promise<VmOperation> {
      const detail = Object.entries(request)
        .map(([what, value]) => `${what} ${value}`)
        .join(', ');
      return queue(actor, vmId, { kind: 'resize', request, detail }, (vm) => {
        if (!isVmLive(vm.status)) throw wrongState(vm.name, vm.status, 'is not running: change it instead');
        mustBeSteady('cannot be resized now')(vm);
      });
    },

    async attachDisk(actor: Actor, vmId: VmId, diskId: DiskId, readOnly: boolean): Promise<VmOperation> {
      const disk = await disks.findDisk(db, diskId);
      if (!disk) throw noSuchDisk(diskId);
      // One that is being made or grows is waited for in turn.
      if (disk.state === 'failed') requireReady(disk);
      if (!operations.isBusy(vmId)) {
        requireFree(
          disk,
          disk.vmId === null ? null : ((await repository.findVm(db, disk.vmId))?.name ?? null),
        );
      }
      const work = { kind: 'attach-disk', request: { diskId, readOnly }, detail: disk.name } as const;
      return queue(actor, vmId, work, mustBeSteady('cannot take a disk now'));
    },

    async detachDisk(actor: Actor, vmId: VmId, diskId: DiskId): Promise<VmOperation> {
      const { name } = await diskOf(vmId, diskId);
      const work = { kind: 'detach-disk', request: { diskId }, detail: name } as const;
      return queue(actor, vmId, work, mustBeSteady('cannot let go of a disk now'));
    },

    async snapshot(
      actor: Actor,
      vmId: VmId,
      { name, kind }: z.output<typeof NewSnapshot>,
    ): Promise<{ snapshot: Snapshot; operation: VmOperation }> {
      try {
        const { snapshot, inserted } = await db.transaction().execute(async (trx) => {
          const vm = await repository.lockVm(trx, vmId);
          if (!vm) throw noSuchVm(vmId);
          const chosen = kind ?? (isVmLive(vm.status) ? 'ram' : 'disk');
          if (!operations.isBusy(vmId)) {
            mustBeSteady('cannot be kept as a snapshot now')(vm);
            if (chosen === 'ram' && !isVmLive(vm.status)) {
              throw wrongState(vm.name, vm.status, 'has no memory to keep: take a snapshot of kind disk');
            }
          }
          const writable = (await disks.listDisksOf(trx, vmId)).filter(({ readOnly }) => !readOnly);
          if (writable.length === 0) {
            throw new CodedError('VM_IMPOSSIBLE', `${vm.name} has no disk that a snapshot could be in`);
          }
          if (chosen === 'ram') requireQcow2(writable);
          const parent = (await snapshots.listSnapshots(trx, vmId)).find(({ current }) => current);
          const fields = { vmId, name, kind: chosen, parentId: parent?.id ?? null, createdBy: actor.name };
          const made = await snapshots.insertSnapshot(trx, { ...fields, id: SnapshotId.parse(newId()) });
          const work = { vm, kind: 'snapshot', request: { snapshotId: made.id }, detail: name } as const;
          return { snapshot: made, inserted: await operations.insert(trx, actor, work) };
        });
        return { snapshot: snapshots.toShown(snapshot), operation: takeOne(inserted) };
      } catch (error) {
        if (!isUniqueViolation(error, 'idx_vm_snapshots_name')) throw error;
        throw new CodedError('NAME_TAKEN', `this machine has a snapshot with the name ${name} already`);
      }
    },

    async restore(actor: Actor, snapshotId: SnapshotId): Promise<VmOperation> {
      const { vmId, name, kind } = await snapshotOf(snapshotId);
      return queue(actor, vmId, { kind: 'restore', request: { snapshotId }, detail: name }, (vm) => {
        mustBeSteady('cannot go back to a snapshot now')(vm);
        if (kind === 'disk') mustRest('has its disks in use: stop it, then restore')(vm);
        else if (!isVmLive(vm.status)) {
          throw wrongState(vm.name, vm.status, 'has no memory to fill: start it, then restore');
        }
      });
    },

    async deleteSnapshot(actor: Actor, snapshotId: SnapshotId): Promise<VmOperation> {
      const { vmId, name } = await snapshotOf(snapshotId);
      const work = { kind: 'delete-snapshot', request: { snapshotId }, detail: name } as const;
      return queue(actor, vmId, work, mustBeSteady('cannot lose a snapshot now'));
    },

    async listSnapshots(vmId: VmId): Promise<Snapshot[]> {
      await find(vmId);
      return (await snapshots.listSnapshots(db, vmId)).map(snapshots.toShown);
    },
  };
}
