import { CodedError, isFinal, isVmLive, type Job, type JobId, type VmId } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine, MachineStatus } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import { setTimeout as delay } from 'node:timers/promises';
import type { Jobs } from '../jobs/index.ts';
import type { Bus } from '../kernel/bus.ts';
import type { Logger } from '../kernel/logger.ts';
import * as disks from './disks-repository.ts';
import type { Hypervisor } from './hypervisor.ts';
import * as repository from './repository.ts';
import { createSemaphore } from './semaphore.ts';
import type { Telling } from './telling.ts';
import { verdictOn } from './verdict.ts';

/** A machine that was just started answers within this; the pause grows up to the second number. */
const firstPauseMs = 50;
const longestPauseMs = 1_000;
/** After this long without an answer it is said so. */
const silentAfterMs = 5_000;
/** Between the end of a process and the report of its job both are on their way. */
const endPatienceMs = 3_000;
const connectsAtOnce = 8;
/** What is asked of a machine right after our own start waits for it to be taken hold of. */
const holdPatienceMs = 10_000;

export interface LiveDeps {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Pick<Jobs, 'get' | 'note' | 'lines'>;
  hypervisor: Hypervisor;
  telling: Telling;
  logger: Logger;
}

/** One run of a machine that this process follows. */
interface Followed {
  jobId: JobId;
  machine: Machine | null;
  /** The machine when it answers; null: it will not, any more. */
  readonly held: PromiseWithResolvers<Machine | null>;
  readonly abort: AbortController;
}

export type Live = ReturnType<typeof createLive>;

/**
 * Follows every run of a machine: takes hold of it when its job runs, keeps its row true while it lives, and says how
 * it ended. All of it is driven by what is stored, so that a new process of ours goes on where the last one ended.
 */
export function createLive({ db, bus, jobs, hypervisor, telling, logger }: LiveDeps) {
  const followed = new Map<VmId, Followed>();
  const lastReported = new WeakMap<Machine, MachineStatus>();
  let stopped = false;
  const slots = createSemaphore(connectsAtOnce);

  async function change(vmId: VmId, jobId: JobId, ...rest: PatchArguments): Promise<void> {
    const row = await repository.updateRun(db, vmId, jobId, ...rest);
    if (row) await telling.changed(row.id);
  }

  function report(vmId: VmId, entry: Followed, machine: Machine, status: MachineStatus): void {
    if (lastReported.get(machine) === status) return;
    lastReported.set(machine, status);
    const told = write(vmId, entry.jobId, machine, status);
    told.catch((error: unknown) => {
      // The database is away: the next look at all machines writes it.
      lastReported.delete(machine);
      logger.warn({ err: error, vmId }, 'the status of a machine was not stored');
    });
  }

  async function write(vmId: VmId, jobId: JobId, machine: Machine, status: MachineStatus): Promise<void> {
    switch (status) {
      case 'running':
      case 'paused':
        if (machine.broken !== null) {
          const reason = `${machine.broken}. It can only be ended by force: it starts from its disks again`;
          await change(vmId, jobId, { status: 'unknown', reason }, ['stopping']);
          return;
        }
        // A machine on its way down says that it is paused, and is stopping all the same.
        await change(vmId, jobId, { status, reason: null }, ['stopping']);
        return;
      case 'silent':
        await change(vmId, jobId, {
          status: 'unknown',
          reason: 'its process is there, and its monitor does not answer',
        });
        return;
      case 'starting':
      case 'ended':
        // The end is told by its job, when everything that it wrote is stored.
        if (status === 'ended') machine.close();
    }
  }

  async function hold(vmId: VmId, entry: Followed, machine: Machine): Promise<void> {
    if (entry.abort.signal.aborted) {
      machine.close();
      return;
    }
    // After a database that was away it is the same machine, which is listened to already.
    if (entry.machine !== machine) listenTo(vmId, entry, machine);
    const job = await jobs.get(entry.jobId);
    await change(vmId, entry.jobId, {
      pid: machine.pid,
      qemuVersion: machine.version,
      accelerator: machine.accelerator,
      ports: machine.ports.map(({ guest, host }) => ({ guest, host })),
      startedAt: new Date(job.startedAt ?? Date.now()),
    });
    lastReported.set(machine, machine.status);
    await write(vmId, entry.jobId, machine, machine.status);
    await awaitDetached();
  }

  /** What is being detached is written in the rows alone: the machine is told to wait for it, or says that it is gone. */
  async function awaitDetached(): Promise<void> {
    for (const { id, vmId } of await disks.listDetaching(db)) {
      const machine = vmId === null ? null : followed.get(vmId)?.machine;
      if (!machine || (machine.status !== 'running' && machine.status !== 'paused')) continue;
      machine.awaitDetached([id]).catch((error: unknown) => {
        logger.debug(
          { err: error, vmId },
          'a disk that is being detached was not asked for; it will be soon',
        );
      });
    }
  }

  function listenTo(vmId: VmId, entry: Followed, machine: Machine): void {
    entry.machine = machine;
    entry.held.resolve(machine);
    machine.onStatus((status) => {
      report(vmId, entry, machine, status);
    });
    machine.onEvent(({ name, words }) => {
      bus.emit('vm:event', { type: 'hypervisor', vmId, at: new Date().toISOString(), name, words });
    });
    machine.onDetached((diskId) => {
      disks
        .updateDisk(db, diskId, disks.detached)
        .then(() => telling.changed(vmId))
        .catch((error: unknown) => {
          logger.warn({ err: error, vmId }, 'that a disk was detached was not stored');
        });
    });
  }

  async function connect(vmId: VmId, entry: Followed): Promise<void> {
    const { signal } = entry.abort;
    const since = Date.now();
    let saidSilent = false;
    for (let pause = firstPauseMs; !signal.aborted; pause = Math.min(pause * 2, longestPauseMs)) {
      let words = 'its process is there, and its monitor does not answer';
      try {
        const machine = await slots(() => hypervisor.driver.connect(vmId));
        if (machine) {
          await hold(vmId, entry, machine);
          return;
        }
        words = 'its process is not there, and its end has not been told yet';
      } catch (error) {
        if (error instanceof Error) words = error.message;
        logger.debug({ err: error, vmId }, 'a machine does not answer yet');
      }
      if (!saidSilent && Date.now() - since > silentAfterMs) {
        saidSilent = true;
        await change(vmId, entry.jobId, { status: 'unknown', reason: words }).catch((error: unknown) => {
          logger.debug({ err: error, vmId }, 'the status of a machine was not stored');
        });
      }
      await delay(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  function follow(vmId: VmId, jobId: JobId): void {
    if (stopped || followed.get(vmId)?.jobId === jobId) return;
    letGo(vmId);
    const entry: Followed = {
      ...{ jobId, machine: null, abort: new AbortController() },
      held: Promise.withResolvers(),
    };
    followed.set(vmId, entry);
    connect(vmId, entry).catch((error: unknown) => {
      if (followed.get(vmId) === entry) followed.delete(vmId); // the next look at all machines tries again
      logger.warn({ err: error, vmId }, 'a machine could not be taken hold of');
    });
  }

  function letGo(vmId: VmId): void {
    const entry = followed.get(vmId);
    entry?.abort.abort();
    entry?.held.resolve(null);
    entry?.machine?.close();
    followed.delete(vmId);
  }

  /** Its job is final: the machine is stopped or crashed, with the reason. */
  async function settle(vmId: VmId, job: Job): Promise<void> {
    const row = await repository.findVm(db, vmId);
    if (row?.jobId !== job.id || !isVmLive(row.status)) return;
    const entry = followed.get(vmId);
    const machine = entry?.jobId === job.id ? entry.machine : null;
    const seen = machine
      ? await Promise.race([machine.ended, delay(endPatienceMs, null, { ref: false })])
      : null;
    const { lines } = await jobs.lines(job.id, { last: 5, limit: 5, streams: ['stderr'], lineBytes: 500 });
    const verdict = verdictOn({
      job,
      seen,
      asked: row.status === 'stopping' || job.cancelRequested,
      lastWords: lines.map(({ text }) => text),
    });
    await disks.settleDisks(db, vmId);
    await change(vmId, job.id, {
      ...verdict,
      ...{ pid: null, qemuVersion: null, accelerator: null, ports: [], startedAt: null },
    });
    if (followed.get(vmId)?.jobId === job.id) letGo(vmId);
  }

  async function heard(job: Job): Promise<void> {
    const { vmId } = job;
    if (vmId === null) return;
    if (isFinal(job.status)) await settle(vmId, job);
    else if (job.status === 'running') {
      follow(vmId, job.id);
      if (job.cancelRequested) await change(vmId, job.id, { status: 'stopping' });
    }
  }

  /** The run that this process follows, as soon as it answers; null: not in this time. */
  async function soon(vmId: VmId, patienceMs: number): Promise<Machine | null> {
    const entry = followed.get(vmId);
    if (!entry || entry.machine) return entry?.machine ?? null;
    const timer = new AbortController();
    const late = delay(patienceMs, null, { signal: timer.signal, ref: false }).catch(() => null);
    return Promise.race([entry.held.promise, late]).finally(() => {
      timer.abort();
    });
  }

  const stopListening = bus.on('job:changed', (job) => {
    if (job.type !== 'vm') return;
    heard(job).catch((error: unknown) => {
      logger.warn({ err: error, vmId: job.vmId }, 'what became of a machine was not stored; it will be soon');
    });
  });

  return {
    /** Its run, where this process has hold of it. */
    get: (vmId: VmId): Machine | null => followed.get(vmId)?.machine ?? null,

    byJob(jobId: JobId): Machine | null {
      for (const entry of followed.values()) if (entry.jobId === jobId) return entry.machine;
      return null;
    },

    soon,

    /** @throws CodedError VM_WRONG_STATE where it does not run, or does not answer */
    async require(vmId: VmId, name: string): Promise<Machine> {
      const machine = await soon(vmId, holdPatienceMs);
      if (machine && machine.status !== 'ended') return machine;
      throw new CodedError('VM_WRONG_STATE', `${name} does not run, or does not answer`);
    },

    all: (): [VmId, Machine][] =>
      [...followed].flatMap(([vmId, { machine }]): [VmId, Machine][] => (machine ? [[vmId, machine]] : [])),

    /** Writes how it stands, where that has changed without a change of its status. */
    async tellAgain(vmId: VmId): Promise<void> {
      const entry = followed.get(vmId);
      if (entry?.machine) await write(vmId, entry.jobId, entry.machine, entry.machine.status);
    },

    /** Makes every row true: machines whose job has ended, and those that nobody follows. */
    async look(): Promise<void> {
      await Promise.all(
        (await repository.listLive(db)).map(async ({ id, jobId, name }) => {
          if (jobId === null) {
            const reason = 'its run is not in the history any more';
            const row = await repository.updateVm(db, id, { status: 'crashed', reason, endedBy: 'crash' });
            if (row) await telling.changed(id);
            logger.warn({ vmId: id }, `${name}: ${reason}`);
            return;
          }
          const job = await jobs.get(jobId);
          if (isFinal(job.status)) await settle(id, job);
          else if (job.status === 'running') follow(id, jobId);
        }),
      );
      await awaitDetached();
      for (const [vmId, entry] of followed) {
        if (entry.machine) report(vmId, entry, entry.machine, entry.machine.status);
      }
    },

    /** The machines run on. */
    stop(): void {
      stopped = true;
      stopListening();
      for (const vmId of [...followed.keys()]) letGo(vmId);
    },
  };
}

type PatchArguments =
  Parameters<typeof repository.updateRun> extends [unknown, unknown, unknown, ...infer Rest] ? Rest : never;
