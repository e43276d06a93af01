import { join } from 'node:path';
import { createAgent, heldForEver, shipLimits, type Agent } from '@vmo/agent';
import { CodedError, isVmLive, type OperationId, type Vm, type VmId, type VmOperation } from '@vmo/contract';
import type { Database } from '@vmo/db';
import { createExecutionManager, type Strategy } from '@vmo/execution';
import {
  createQemuImg,
  openStorage,
  smallGuestKernelArguments,
  type Driver,
  type HostCapabilities,
} from '@vmo/hypervisor';
import { largeCapacity, temporaryDirectory, testDatabase } from '@vmo/testkit';
import type { Kysely } from 'kysely';
import { pino } from 'pino';
import { assembleJobs } from '../jobs/assembled.test.support.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { createBus, type Bus, type Facts } from '../kernel/bus.ts';
import { createVms, type Hypervisor, type Vms } from './index.ts';

export const owner: Actor = { name: 'owner', sessionId: null, address: '127.0.0.1' };
const mib = 1024 * 1024;
const refuse = () => Promise.reject(new CodedError('HOST_UNREACHABLE', 'there are no hosts here'));
const quiet = pino({ level: 'silent' });

export interface Datacenter extends AsyncDisposable {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Jobs;
  vms: Vms;
  hypervisor: Hypervisor;
  /** The storage path. */
  storage: string;
  configDirectory: string;
  /** Ends this process's part, as its death would, and starts another on the same database. */
  restart(): Promise<void>;
  stopAll(): Promise<void>;
  /** The operation when it has ended. */
  ended(operation: Pick<VmOperation, 'id'>): Promise<VmOperation>;
  /** The same, which must have gone well. */
  done(operation: Pick<VmOperation, 'id'>): Promise<VmOperation>;
  when(vmId: VmId, is: (vm: Vm) => boolean): Promise<Vm>;
  /** A machine with an empty disk of 1 MiB. */
  machine(name: string): Promise<Vm>;
  audits(subject: string): Promise<string[]>;
}

/** The machines' domain on a real database with a real agent, as server.ts puts them together. */
export async function startDatacenter(options: {
  driver: (storage: Hypervisor['storage']) => Driver;
  strategy: (driver: Driver) => Strategy;
  missing?: () => string | null;
  smallGuest?: Partial<Hypervisor['smallGuest']>;
  probe?: Hypervisor['probe'];
  /** In place of qemu-img's own. */
  images?: (real: Hypervisor['images']) => Partial<Hypervisor['images']>;
  slots?: number;
  /** Of the agent. */
  memoryMib?: number;
}): Promise<Datacenter> {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await temporaryDirectory());
  const { db } = stack.use(await testDatabase());
  const storagePath = join(home.path, 'storage');
  const images = createQemuImg();
  const storage = () => openStorage(storagePath);
  const driver = options.driver(storage);
  const hypervisor: Hypervisor = {
    driver,
    storage,
    images: { ...images, ...options.images?.(images) },
    inspect: ({ path, format }) => images.inspectImage(path, format),
    accelerators: () => [],
    probe: options.probe ?? (() => Promise.resolve(nothingTried)),
    missing: options.missing ?? (() => null),
    smallGuest: {
      missing: () => Promise.resolve(null),
      build: refuse,
      kernelArguments: smallGuestKernelArguments,
      ...options.smallGuest,
    },
    dryRun: false,
  };
  const configDirectory = join(home.path, 'vm_configs');
  const capacity = largeCapacity({ jobs: 10, vms: options.slots ?? 50, requests: 4 }, options.memoryMib);

  async function assemble() {
    const parts = new AsyncDisposableStack();
    const bus = createBus((error) => {
      throw error;
    });
    const { jobs, agent: ofAgent } = await assembleJobs({
      ...{ db, bus, home: home.path, capacity },
      onMarksError: () => undefined,
    });
    parts.defer(jobs.stop);
    const vms = createVms({ db, bus, jobs, hypervisor, configDirectory, ladder: {}, logger: quiet });
    parts.defer(vms.stop);
    const agent: Agent = createAgent({
      ...ofAgent,
      ...{ lease: heldForEver, environment: {}, cancelGraceMs: 1_000 },
      defaultDirectory: null,
      execution: createExecutionManager([options.strategy(driver)]),
      runsDirectory: join(home.path, 'runs'),
      limits: shipLimits(64 * mib, 1024 * mib),
      logger: quiet,
    });
    parts.defer(() => agent.stop());
    bus.on('job:pending', agent.hints.jobsPending);
    bus.on('job:cancel-requested', ({ jobId }) => {
      agent.hints.cancelRequested(jobId);
    });
    bus.on('job:memory', ({ jobId, memoryMib }) => {
      agent.hints.memoryChanged(jobId, memoryMib);
    });
    await agent.start();
    await vms.start();
    return { bus, jobs, vms, parts };
  }

  let now = await assemble();
  stack.defer(async () => {
    await now.parts.disposeAsync();
    await driver.close();
  });

  /** What `look` says, asked again at every fact of these kinds. */
  async function until<T>(names: readonly (keyof Facts)[], look: () => Promise<T | null>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const check = () => {
      look().then((found) => {
        if (found !== null) resolve(found);
      }, reject);
    };
    const stops = names.map((name) => now.bus.on(name, check));
    check();
    return promise.finally(() => {
      for (const stop of stops) stop();
    });
  }

  const ended = (operation: { id: OperationId }): Promise<VmOperation> =>
    until(['vm:event'], async () => {
      const found = await now.vms.operation(operation.id);
      return found.status === 'done' || found.status === 'failed' ? found : null;
    });

  async function done(operation: { id: OperationId }): Promise<VmOperation> {
    const found = await ended(operation);
    if (found.status !== 'done') throw new Error(`${found.kind} failed: ${found.result ?? ''}`);
    return found;
  }

  return {
    ...{ db, hypervisor, storage: storagePath, configDirectory, ended, done },
    get bus() {
      return now.bus;
    },
    get jobs() {
      return now.jobs;
    },
    get vms() {
      return now.vms;
    },
    async restart() {
      await now.parts.disposeAsync();
      now = await assemble();
    },
    async stopAll() {
      const { vms } = await now.vms.list({ limit: 1000 });
      for (const { id, status } of vms) {
        if (isVmLive(status)) await ended(await now.vms.act(owner, id, 'force-stop'));
      }
    },
    when: (vmId, is) =>
      until(['vm:changed'], async () => {
        const vm = await now.vms.get(vmId);
        return is(vm) ? vm : null;
      }),
    async machine(name) {
      const { vm, operation } = await now.vms.create(owner, { name, diskSizeBytes: mib });
      await done(operation);
      return now.vms.get(vm.id);
    },
    async audits(subject) {
      const rows = await db
        .selectFrom('audit')
        .select('action')
        .where('subject', '=', subject)
        .orderBy('id')
        .execute();
      return rows.map(({ action }) => action);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export const nothingTried: HostCapabilities = {
  ...{
    qemu: null,
    qemuImg: null,
    accelerator: 'tcg',
    kvm: 'absent',
    storage: null,
    words: ['nothing was tried'],
  },
  bootMilliseconds: { kvm: null, tcg: null },
  features: { sandbox: true, microvm: true, virtioMem: true, userNetworking: true, vnc: true },
  host: { memoryBytes: 0, cpuCount: 1 },
  probedAt: new Date(),
};
