import { JobId, MachineSpec, type Job } from '@vmo/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({
    ...{ driver: () => fake.driver, strategy: () => fake.strategy, memoryMib: 1200 },
  });
}, 60_000);
afterEach(async () => {
  const all = [...fake.machines.values()];
  for (const machine of all) if (machine.spec.request) machine.end('guest');
  await center.stopAll();
});
afterAll(() => center[Symbol.asyncDispose]());

/** A request whose machine has so much memory. */
async function submitRequest(memoryMib: number): Promise<JobId> {
  const id = JobId.parse(newId());
  const plan = { commands: [], stopOnFailure: true, env: {}, files: [], artifacts: [] };
  const spec = MachineSpec.parse({
    ...{ id, name: 'request', cpus: 1, maxCpus: 1, memoryMib, maxMemoryMib: memoryMib, disks: [] },
    boot: { from: 'kernel', kernel: 'images/kernel', initrd: 'images/initrd', append: '' },
    ...{ network: { mode: 'user', restrict: false, forward: [] }, display: 'none', arguments: [] },
    request: {
      ...{ images: null, overlays: [], readySeconds: 60, channel: null, keepOnFailure: false },
      maxArtifactBytes: 1024,
    },
  });
  const rest = { timeout: 60, priority: 0, retries: 0, idempotencyKey: null, isHeld: false };
  const run = { id, vmId: null, spec, command: 'a request', request: { plan, ...rest } };
  await center.jobs.submitMachines(owner, [[run]], () => Promise.resolve());
  return id;
}

async function whenJob(jobId: JobId, is: (job: Job) => boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const look = () => {
    center.jobs.get(jobId).then((job) => {
      if (is(job)) resolve(undefined);
    }, reject);
  };
  const stop = center.bus.on('job:changed', look);
  look();
  await promise.finally(stop);
}

const isRunning = ({ status }: Job) => status === 'running';

/** With the 512 MiB that are usual. */
async function start(name: string) {
  const vm = await center.machine(name);
  await center.done(await center.vms.act(owner, vm.id, 'start'));
  return vm;
}

describe('the memory of the host of the server', () => {
  it('is for requests what machines that persons run leave of it, and what they give back', async () => {
    const vm = await start('giving');
    const waiting = await submitRequest(800);
    expect((await center.jobs.get(waiting)).reason).toBe(
      'waiting until 800 MiB of memory are free: of 1200 MiB of the server’s host, running machines have 512',
    );
    const small = await submitRequest(600);
    await whenJob(small, isRunning);
    fake.machines.get(small)?.end('guest');
    await center.done(await center.vms.resize(owner, vm.id, { memoryMib: 400 }));
    await whenJob(waiting, isRunning);
  });

  it('is counted for a machine of before the cockpit was started again', async () => {
    const vm = await start('staying');
    await center.restart();
    const waiting = await submitRequest(800);
    expect((await center.jobs.get(waiting)).reason).toContain('running machines have 512');
    await center.done(await center.vms.act(owner, vm.id, 'stop'));
    await whenJob(waiting, isRunning);
  });

  it('is not taken from requests by a machine that is started or grows', async () => {
    const vm = await start('growing');
    const request = await submitRequest(600);
    await whenJob(request, isRunning);
    const late = await center.machine('late');
    expect(await center.ended(await center.vms.act(owner, late.id, 'start'))).toMatchObject({
      status: 'failed',
      result:
        'late needs 512 MiB of memory; of the 1200 MiB of this host, requests that run have 600, and other machines 512: wait until requests have ended, cancel some, or give it less',
    });
    expect(await center.ended(await center.vms.resize(owner, vm.id, { memoryMib: 712 }))).toMatchObject({
      status: 'failed',
      result: expect.stringContaining('growing needs 200 MiB of memory') as string,
    });
    fake.machines.get(request)?.end('guest');
    await whenJob(request, ({ status }) => status !== 'running');
    await center.done(await center.vms.act(owner, late.id, 'start'));
  });

  it('may be promised twice to machines, which do not use all of theirs; requests wait then', async () => {
    for (const name of ['first', 'second', 'third']) await start(name);
    const waiting = await submitRequest(100);
    expect((await center.jobs.get(waiting)).reason).toBe(
      'waiting until 100 MiB of memory are free: of 1200 MiB of the server’s host, running machines have 1536',
    );
    await center.jobs.cancel(owner, waiting);
  });
});
