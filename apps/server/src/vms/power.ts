import { availableMemory } from 'node:process';
import {
  allowedActions,
  CodedError,
  isVmLive,
  JobId,
  type StopRung,
  type VmAction,
  type VmId,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { LadderTimes } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { Jobs } from '../jobs/index.ts';
import type { Bus } from '../kernel/bus.ts';
import { newId } from '../kernel/ids.ts';
import { requireReady } from './attaching.ts';
import { listDisksOf, type DiskRow } from './disks-repository.ts';
import { inOurWords, noSuchVm, wrongState } from './errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import { findImage } from './images-repository.ts';
import type { Live } from './live.ts';
import { leaveMemoryToRequests } from './memory.ts';
import type { Carrier, Turn } from './operations.ts';
import { toSpec } from './plan.ts';
import * as repository from './repository.ts';
import type { MachineRow } from './repository.ts';
import type { Telling } from './telling.ts';

const mib = 1024 * 1024;
/** From the end of a machine's process to the end of its job: its output is stored meanwhile. */
const settlePatienceMs = 120_000;
/** One that does not answer in this time is ended without being asked. */
const connectPatienceMs = 2_000;

export interface PowerDeps {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Jobs;
  hypervisor: Hypervisor;
  live: Live;
  telling: Telling;
  ladder: Partial<LadderTimes>;
}

const endings: Record<StopRung, string> = {
  guest: 'the guest ended by itself',
  'guest-agent': 'the guest agent shut it down',
  acpi: 'the guest shut down at the power button',
  quit: 'QEMU was told to quit',
  sigterm: 'ended by SIGTERM',
  sigkill: 'ended by SIGKILL',
  crash: 'its process died',
};

/** How the actions on a machine's power are carried out. */
export function createPower({ db, bus, jobs, hypervisor, live, telling, ladder }: PowerDeps) {
  async function find(vmId: VmId): Promise<MachineRow> {
    const vm = await repository.findVm(db, vmId);
    if (!vm) throw noSuchVm(vmId);
    return vm;
  }

  async function allow(vmId: VmId, action: VmAction): Promise<MachineRow> {
    const vm = await find(vmId);
    if (!allowedActions[vm.status].includes(action)) throw wrongState(vm.name, vm.status, `cannot ${action}`);
    return vm;
  }

  /** The machine when `is` holds for it. @throws CodedError VM_IMPOSSIBLE when that takes longer than `patienceMs` */
  async function when(vmId: VmId, is: (vm: MachineRow) => boolean, patienceMs?: number): Promise<MachineRow> {
    const { promise, resolve, reject } = Promise.withResolvers<MachineRow>();
    const look = () => {
      find(vmId).then((vm) => {
        if (is(vm)) resolve(vm);
      }, reject);
    };
    const stop = bus.on('vm:changed', ({ id }) => {
      if (id === vmId) look();
    });
    const timer =
      patienceMs === undefined
        ? undefined
        : setTimeout(() => {
            reject(new CodedError('VM_IMPOSSIBLE', `nothing has come of it for ${patienceMs / 1000} s`));
          }, patienceMs).unref();
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      stop();
    });
  }

  const isOver = (jobId: JobId) => (vm: MachineRow) => vm.jobId !== jobId || !isVmLive(vm.status);

  async function checkMemory(vm: MachineRow): Promise<void> {
    const freeMib = Math.floor(availableMemory() / mib);
    if (vm.memoryMib > freeMib) {
      throw new CodedError(
        'VM_IMPOSSIBLE',
        `${vm.name} has ${vm.memoryMib} MiB of memory, and this host has ${freeMib} MiB free: stop another machine, or give it less`,
      );
    }
  }

  /** Nothing is started on a disk that somebody is still filling, or putting into the machine. */
  function requireAtRest(vm: MachineRow, disk: DiskRow): void {
    if (disk.state === 'failed') {
      throw new CodedError(
        'VM_IMPOSSIBLE',
        `the disk ${disk.name} of ${vm.name} was not made: delete the machine`,
      );
    }
    requireReady(disk);
    if (disk.attachment !== 'attached') {
      const words = `the disk ${disk.name} is being ${disk.attachment === 'attaching' ? 'attached to' : 'detached from'} ${vm.name}`;
      throw new CodedError('DISK_NOT_READY', `${words}: wait for it`);
    }
  }

  async function requireBootable({ name, boot }: MachineRow): Promise<void> {
    if (boot.from === 'disk') return;
    for (const file of [boot.kernel, boot.initrd]) {
      if (file === null || (await findImage(db, file))?.state === 'ready') continue;
      throw new CodedError('VM_IMPOSSIBLE', `${name} boots ${file}, which is not among the images`);
    }
  }

  async function start({ operation, actor, again, waits }: Turn): Promise<string> {
    let vm = await find(operation.vmId);
    if (!(again && isVmLive(vm.status))) {
      vm = await allow(operation.vmId, 'start');
      const missing = hypervisor.missing();
      if (missing !== null) throw new CodedError('HYPERVISOR_UNAVAILABLE', missing);
      const disks = await listDisksOf(db, vm.id);
      for (const disk of disks) requireAtRest(vm, disk);
      await requireBootable(vm);
      await checkMemory(vm);
      await leaveMemoryToRequests(jobs, vm.name, vm.memoryMib);
      const spec = toSpec(vm, disks);
      if (hypervisor.dryRun) return await inOurWords(() => rehearse(vm, spec));
      const { id, name } = vm;
      const jobId = JobId.parse(newId());
      const run = { id: jobId, vmId: id, spec, command: `vm start ${name}` };
      await jobs.submitMachines(actor, [[run]], async (trx) => {
        const patch = { status: 'starting', jobId, reason: null, endedBy: null } as const;
        await repository.updateVm(trx, id, { ...patch, startedAt: null });
      });
      vm = { ...vm, jobId };
      await telling.changed(id);
    }
    const { jobId } = vm;
    if (jobId === null) throw new CodedError('VM_IMPOSSIBLE', 'its run is gone');
    waits();
    const now = await when(vm.id, (row) => row.status !== 'starting' || row.jobId !== jobId);
    if (now.jobId === jobId && isVmLive(now.status)) return `${now.name} is ${now.status}`;
    throw new CodedError('VM_IMPOSSIBLE', now.reason ?? `it was ended before it ran`);
  }

  async function rehearse(vm: MachineRow, spec: ReturnType<typeof toSpec>): Promise<string> {
    const { root } = await hypervisor.storage();
    const { shown } = await hypervisor.driver.prepare(spec, { runDirectory: `${root}/vms/${vm.id}` });
    return `VMO_DRY_RUN is set, so nothing was started. It would be: ${shown.join(' ')}`;
  }

  /** Climbs the ladder, or pulls the plug. */
  async function end({ operation, actor, again, waits }: Turn, force: boolean): Promise<string> {
    const vm = await find(operation.vmId);
    if (again && !isVmLive(vm.status)) return endings[vm.endedBy ?? 'guest'];
    if (!(again && vm.status === 'stopping')) await allow(vm.id, force ? 'force-stop' : 'stop');
    const { jobId } = vm;
    if (jobId === null) throw new CodedError('VM_IMPOSSIBLE', 'its run is gone');
    if (await repository.updateRun(db, vm.id, jobId, { status: 'stopping' })) await telling.changed(vm.id);
    await jobs.note(jobId, [`${force ? 'force-stop' : 'stop'} by ${actor.name}`]);
    waits();
    const machine = await live.soon(vm.id, connectPatienceMs);
    try {
      if (machine && machine.status !== 'ended') await (force ? machine.kill() : machine.stop(ladder));
      else await cancel(jobId);
    } catch (error) {
      // What cannot be ended goes on as whatever it is.
      if (machine && machine.status !== 'ended') {
        const status = machine.status === 'paused' ? 'paused' : 'running';
        await repository.updateRun(db, vm.id, jobId, { status });
        await telling.changed(vm.id);
      }
      throw error;
    }
    const over = await when(vm.id, isOver(jobId), settlePatienceMs);
    return endings[over.endedBy ?? 'guest'];

    async function cancel(id: JobId): Promise<void> {
      try {
        await jobs.cancel(actor, id);
      } catch (error) {
        // It has ended meanwhile, which is what was wanted.
        if (!(error instanceof CodedError && error.code === 'JOB_ALREADY_FINISHED')) throw error;
      }
    }
  }

  /** What is done to a running machine, with its words for the log. */
  async function act(
    { operation, actor }: Turn,
    action: 'reset' | 'pause' | 'resume',
    then: 'running' | 'paused',
  ): Promise<string> {
    const vm = await allow(operation.vmId, action);
    const machine = await live.require(vm.id, vm.name);
    await machine[action]();
    const { jobId } = vm;
    if (jobId !== null) {
      await jobs.note(jobId, [`${action} by ${actor.name}`]);
      const row = await repository.updateRun(db, vm.id, jobId, { status: then, reason: null }, ['stopping']);
      if (row) await telling.changed(vm.id);
    }
    return `${vm.name} is ${then}`;
  }

  const carriers = {
    start: { carryOut: start, idempotent: true },
    stop: { carryOut: (turn: Turn) => end(turn, false), idempotent: true },
    'force-stop': { carryOut: (turn: Turn) => end(turn, true), idempotent: true, urgent: true },
    reset: { carryOut: (turn: Turn) => act(turn, 'reset', 'running'), idempotent: false },
    pause: { carryOut: (turn: Turn) => act(turn, 'pause', 'paused'), idempotent: true },
    resume: { carryOut: (turn: Turn) => act(turn, 'resume', 'running'), idempotent: true },
  } satisfies Record<VmAction, Carrier>;
  return { carriers, when };
}
