import { CodedError, DiskId, isVmLive, VmResize, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import { inOurWords, noSuchDisk, noSuchVm, wrongState } from './errors.ts';
import { chainOf } from './files.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Live } from './live.ts';
import type { Carrier, Turn } from './operations.ts';
import { toMachineDisk } from './plan.ts';
import * as repository from './repository.ts';
import type { MachineRow } from './repository.ts';
import type { Telling } from './telling.ts';
import { sizeInWords } from './words.ts';

const AttachRequest = z.object({ diskId: DiskId, readOnly: z.boolean() });
const DetachRequest = z.object({ diskId: DiskId });
const ResizeDiskRequest = z.object({ diskId: DiskId, sizeBytes: z.int() });

export interface AttachingDeps {
  db: Kysely<Database>;
  jobs: Pick<Jobs, 'note'>;
  hypervisor: Hypervisor;
  live: Live;
  telling: Telling;
}

/** What a disk is attached to already, if it is. */
export function requireFree(disk: DiskRow, vmName: string | null): void {
  if (disk.vmId === null) return;
  const state = disk.attachment === 'detaching' ? 'is being detached from' : 'is attached to';
  throw new CodedError('DISK_IN_USE', `the disk ${disk.name} ${state} ${vmName ?? disk.vmId}`);
}

/** How disks, CPUs and memory of a machine change, cold and hot. */
export function createAttaching({ db, jobs, hypervisor, live, telling }: AttachingDeps) {
  async function find(vmId: VmId): Promise<MachineRow> {
    const vm = await repository.findVm(db, vmId);
    if (!vm) throw noSuchVm(vmId);
    if (['starting', 'stopping', 'unknown'].includes(vm.status)) {
      throw wrongState(vm.name, vm.status, 'cannot be changed now');
    }
    return vm;
  }

  async function note(vm: MachineRow, words: string): Promise<void> {
    if (vm.jobId !== null && isVmLive(vm.status)) await jobs.note(vm.jobId, [words]);
  }

  async function attach({ operation, actor }: Turn): Promise<string> {
    const { diskId, readOnly } = AttachRequest.parse(operation.request);
    const vm = await find(operation.vmId);
    const disk = await db.transaction().execute(async (trx) => {
      const found = await disks.lockDisk(trx, diskId);
      if (!found) throw noSuchDisk(diskId);
      const user = found.vmId === null ? undefined : await repository.findVm(trx, found.vmId);
      requireFree(found, user?.name ?? null);
      const slot = await disks.nextSlot(trx, vm.id);
      const patch = { vmId: vm.id, slot, readOnly, attachment: 'attaching' } as const;
      await disks.updateDisk(trx, diskId, patch);
      return { ...found, ...patch };
    });
    try {
      if (isVmLive(vm.status)) {
        await (await live.require(vm.id, vm.name)).attachDisk(toMachineDisk(disk));
        await note(vm, `disk ${disk.name} attached by ${actor.name}`);
      }
      await disks.updateDisk(db, diskId, { attachment: 'attached' });
    } catch (error) {
      await disks.updateDisk(db, diskId, disks.detached);
      throw error;
    } finally {
      await telling.changed(vm.id);
    }
    return `${disk.name} is attached${readOnly ? ', to be read only' : ''}`;
  }

  async function detach({ operation, actor }: Turn): Promise<string> {
    const { diskId } = DetachRequest.parse(operation.request);
    const vm = await find(operation.vmId);
    const disk = await disks.findDisk(db, diskId);
    if (disk?.vmId !== vm.id) throw new CodedError('DISK_NOT_FOUND', `${vm.name} has no disk ${diskId}`);
    if (disk.slot === 0) throw firstStays(vm.name);
    const machine = isVmLive(vm.status) ? await live.require(vm.id, vm.name) : null;
    if (machine) {
      await disks.updateDisk(db, diskId, { attachment: 'detaching' });
      await telling.changed(vm.id);
      // One that let go while nobody of us was there is gone already.
      const isThere = (await machine.disks()).some((found) => found.diskId === diskId);
      const letGo = isThere ? machine.detachDisk(diskId) : Promise.resolve('detached' as const);
      const how = await letGo.catch(async (error: unknown) => {
        await disks.updateDisk(db, diskId, { attachment: 'attached' });
        await telling.changed(vm.id);
        throw error;
      });
      await note(vm, `disk ${disk.name} detached by ${actor.name}${how === 'pending' ? ', pending' : ''}`);
      if (how === 'pending') return `asked for; the guest has not let go of ${disk.name} yet`;
    }
    await disks.updateDisk(db, diskId, disks.detached);
    await telling.changed(vm.id);
    return `${disk.name} is detached`;
  }

  async function resizeDisk({ operation, actor }: Turn): Promise<string> {
    const { diskId, sizeBytes } = ResizeDiskRequest.parse(operation.request);
    const vm = await find(operation.vmId);
    const disk = await disks.findDisk(db, diskId);
    if (!disk) throw noSuchDisk(diskId);
    const size = Math.ceil(sizeBytes / 512) * 512;
    if (isVmLive(vm.status)) {
      await (await live.require(vm.id, vm.name)).resizeDisk(diskId, size);
      await note(vm, `disk ${disk.name} resized to ${sizeInWords(size)} by ${actor.name}`);
    } else await grow(disk, size);
    await disks.updateDisk(db, diskId, { sizeBytes: size });
    await telling.changed(vm.id);
    return `${disk.name} has ${sizeInWords(size)} now`;
  }

  async function grow(disk: DiskRow, sizeBytes: number): Promise<void> {
    const storage = await hypervisor.storage();
    const request = { ...chainOf(storage, disk), sizeBytes, guestWritten: true };
    await inOurWords(() => hypervisor.images.resizeDisk(request));
  }

  async function resize({ operation, actor }: Turn): Promise<string> {
    const wanted = VmResize.parse(operation.request);
    const vm = await find(operation.vmId);
    if (!isVmLive(vm.status)) throw wrongState(vm.name, vm.status, 'is not running: change it instead');
    const { cpus, memoryMib, balloonMib } = wanted;
    const change = {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
      ...(balloonMib === undefined ? {} : { balloonMib }),
    };
    const words = await (await live.require(vm.id, vm.name)).resize(change);
    await repository.updateVm(db, vm.id, {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
    });
    await note(vm, `resized by ${actor.name}: ${words}`);
    await telling.changed(vm.id);
    return words;
  }

  const carriers = {
    'attach-disk': { carryOut: attach, idempotent: false },
    'detach-disk': { carryOut: detach, idempotent: false },
    'resize-disk': { carryOut: resizeDisk, idempotent: true },
    resize: { carryOut: resize, idempotent: true },
  } satisfies Record<string, Carrier>;
  return { carriers, grow };
}

export const firstStays = (vmName: string) =>
  new CodedError('VM_IMPOSSIBLE', `this is the first disk of ${vmName}: it stays as long as the machine`);
