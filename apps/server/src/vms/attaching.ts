import { CodedError, DiskId, isVmLive, VmResize, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine } from '@vmo/hypervisor';
import { sizeInWords } from '../kernel/words.ts';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import * as disks from './disks-repository.ts';
import type { DiskRow } from './disks-repository.ts';
import type { DiskWork } from './disk-work.ts';
import { noSuchDisk, noSuchVm, wrongState } from './errors.ts';
import type { Live } from './live.ts';
import { leaveMemoryToRequests } from './memory.ts';
import type { Carrier, Turn } from './operations.ts';
import { toMachineDisk } from './plan.ts';
import * as repository from './repository.ts';
import type { MachineRow } from './repository.ts';
import type { Telling } from './telling.ts';

const AttachRequest = z.object({ diskId: DiskId, readOnly: z.boolean() });
const DetachRequest = z.object({ diskId: DiskId });
const ResizeDiskRequest = z.object({ diskId: DiskId, sizeBytes: z.int() });

/** After our start, machines are taken hold of within this time. */
const holdPatienceMs = 10_000;

export interface AttachingDeps {
  db: Kysely<Database>;
  jobs: Pick<Jobs, 'note' | 'memoryHere' | 'setMemory'>;
  work: DiskWork;
  live: Live;
  telling: Telling;
}

/** What a disk is attached to already, if it is. */
export function requireFree(disk: DiskRow, vmName: string | null): void {
  if (disk.vmId === null) return;
  const state = disk.attachment === 'detaching' ? 'is being detached from' : 'is attached to';
  throw new CodedError('DISK_IN_USE', `the disk ${disk.name} ${state} ${vmName ?? disk.vmId}`);
}

/** @throws CodedError DISK_NOT_READY with how it goes, or why it was not made */
export function requireReady(disk: DiskRow): void {
  if (disk.state === 'ready') return;
  const words =
    disk.state === 'failed'
      ? `was not made: ${disk.reason ?? 'no reason given'}`
      : `is ${disk.state === 'creating' ? 'being made' : 'growing'}: wait for it`;
  throw new CodedError('DISK_NOT_READY', `the disk ${disk.name} ${words}`);
}

/** How disks, CPUs and memory of a machine change, cold and hot. */
export function createAttaching({ db, jobs, work, live, telling }: AttachingDeps) {
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

  /** The disk as one of this machine's, on its way; as a first attempt has left it, where we ended in the middle. */
  async function take(vm: MachineRow, diskId: DiskId, readOnly: boolean, again: boolean): Promise<DiskRow> {
    return db.transaction().execute(async (trx) => {
      const found = await disks.lockDisk(trx, diskId);
      if (!found) throw noSuchDisk(diskId);
      if (again && found.vmId === vm.id && found.attachment !== 'detaching') return found;
      const user = found.vmId === null ? undefined : await repository.findVm(trx, found.vmId);
      requireFree(found, user?.name ?? null);
      requireReady(found);
      const slot = await disks.nextSlot(trx, vm.id);
      const patch = { vmId: vm.id, slot, readOnly, attachment: 'attaching' } as const;
      await disks.updateDisk(trx, diskId, patch);
      return { ...found, ...patch };
    });
  }

  /** Whether this machine has the disk. null: it cannot be asked now. */
  async function has(machine: Machine, diskId: DiskId): Promise<boolean | null> {
    const found = await machine.disks().catch(() => null);
    return found?.some((disk) => disk.diskId === diskId) ?? null;
  }

  /** What failed, or was broken off, has left the disk in the machine or out of it: only the machine knows. */
  async function settle(disk: DiskRow, machine: Machine | null): Promise<void> {
    const isThere = machine && machine.status !== 'ended' ? await has(machine, disk.id) : false;
    // Not known yet, so it is nobody else's: asked again at the next look.
    if (isThere === null) return;
    const to = isThere ? ({ attachment: 'attached' } as const) : disks.detached;
    await disks.updateDisk(db, disk.id, to);
  }

  async function attach({ operation, actor, again, waits }: Turn): Promise<string> {
    const { diskId, readOnly } = AttachRequest.parse(operation.request);
    // One that is still being made is waited for.
    const making = work.settled(diskId);
    if (making) {
      waits();
      await making;
    }
    const vm = await find(operation.vmId);
    const disk = await take(vm, diskId, readOnly, again);
    let machine: Machine | null = null;
    try {
      if (isVmLive(vm.status)) {
        machine = await live.require(vm.id, vm.name);
        if (!(again && (await has(machine, diskId)))) await machine.attachDisk(toMachineDisk(disk));
        await note(vm, `disk ${disk.name} attached by ${actor.name}`);
      }
      await disks.updateDisk(db, diskId, { attachment: 'attached' });
    } catch (error) {
      // A first attempt may have put it there: only the machine knows.
      const unknown = again && !machine && isVmLive(vm.status);
      if (!unknown) await settle(disk, machine);
      throw error;
    } finally {
      await telling.changed(vm.id);
    }
    return `${disk.name} is attached${readOnly ? ', to be read only' : ''}`;
  }

  /** Disks that somebody has left on their way: those of machines with which nothing is being done. */
  async function settleAll(isBusy: (vmId: VmId) => boolean): Promise<void> {
    for (const disk of await disks.listAttaching(db)) {
      if (disk.vmId === null || isBusy(disk.vmId)) continue;
      const vm = await repository.findVm(db, disk.vmId);
      const machine = await live.soon(disk.vmId, holdPatienceMs);
      // Whoever has no hold of a machine that runs does not know; and somebody may have begun meanwhile.
      if (!vm || (isVmLive(vm.status) && !machine) || isBusy(vm.id)) continue;
      await settle(disk, machine);
      await telling.changed(vm.id);
    }
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
    requireReady(disk);
    const size = Math.ceil(sizeBytes / 512) * 512;
    if (isVmLive(vm.status)) {
      await (await live.require(vm.id, vm.name)).resizeDisk(diskId, size);
      await note(vm, `disk ${disk.name} resized to ${sizeInWords(size)} by ${actor.name}`);
    } else await work.grow(disk, size);
    await disks.updateDisk(db, diskId, { sizeBytes: size });
    await telling.changed(vm.id);
    return `${disk.name} has ${sizeInWords(size)} now`;
  }

  async function resize({ operation, actor }: Turn): Promise<string> {
    const wanted = VmResize.parse(operation.request);
    const vm = await find(operation.vmId);
    if (!isVmLive(vm.status)) throw wrongState(vm.name, vm.status, 'is not running: change it instead');
    const { cpus, memoryMib, balloonMib } = wanted;
    if (memoryMib !== undefined) await leaveMemoryToRequests(jobs, vm.name, memoryMib - vm.memoryMib);
    const change = {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
      ...(balloonMib === undefined ? {} : { balloonMib }),
    };
    const words = await (await live.require(vm.id, vm.name)).resize(change);
    // The balloon is of this run alone, and not kept.
    if (cpus !== undefined || memoryMib !== undefined)
      await repository.updateVm(db, vm.id, {
        ...(cpus === undefined ? {} : { cpus }),
        ...(memoryMib === undefined ? {} : { memoryMib }),
      });
    if (memoryMib !== undefined && vm.jobId !== null) await jobs.setMemory(vm.jobId, memoryMib);
    await note(vm, `resized by ${actor.name}: ${words}`);
    await telling.changed(vm.id);
    return words;
  }

  const carriers = {
    'attach-disk': { carryOut: attach, idempotent: true },
    'detach-disk': { carryOut: detach, idempotent: false },
    'resize-disk': { carryOut: resizeDisk, idempotent: true },
    resize: { carryOut: resize, idempotent: true },
  } satisfies Record<string, Carrier>;
  return { carriers, settleAll };
}

export const firstStays = (vmName: string) =>
  new CodedError('VM_IMPOSSIBLE', `this is the first disk of ${vmName}: it stays as long as the machine`);
