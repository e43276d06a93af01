import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { VmOperation } from '@vmo/contract';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
}, 60_000);
afterEach(async () => {
  fake.silent = false;
  fake.failNext = null;
  await center.stopAll();
});
afterAll(() => center[Symbol.asyncDispose]());

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

async function start(name: string) {
  const vm = await center.machine(name);
  await center.done(await center.vms.act(owner, vm.id, 'start'));
  return center.vms.get(vm.id);
}

describe('the life of a machine', () => {
  it('goes from stopped over running and paused back to stopped, and says what ended it', async () => {
    const vm = await center.machine('life');
    expect(vm).toMatchObject({ status: 'stopped', allowed: ['start'], endedBy: null });
    expect(vm.disks).toMatchObject([{ root: true, state: 'attached', sizeBytes: 1024 * 1024 }]);
    const started = await center.done(await center.vms.act(owner, vm.id, 'start'));
    expect(started).toMatchObject({ kind: 'start', createdBy: 'owner', result: 'life is running' });
    expect(await center.vms.get(vm.id)).toMatchObject({
      status: 'running',
      pid: 4321,
      accelerator: 'tcg',
      ports: [{ guest: 22, host: 40_022 }],
    });
    await center.done(await center.vms.act(owner, vm.id, 'pause'));
    expect((await center.vms.get(vm.id)).status).toBe('paused');
    await center.done(await center.vms.act(owner, vm.id, 'resume'));
    const stopped = await center.done(await center.vms.act(owner, vm.id, 'stop'));
    expect(stopped.result).toBe('the guest shut down at the power button');
    expect(await center.vms.get(vm.id)).toMatchObject({
      status: 'stopped',
      endedBy: 'acpi',
      pid: null,
      ports: [],
    });
    expect(await center.audits(vm.id)).toEqual(['vm.create', 'vm.start', 'vm.pause', 'vm.resume', 'vm.stop']);
  });

  it('is told in the log of its run', async () => {
    const vm = await start('logged');
    await center.done(await center.vms.act(owner, vm.id, 'pause'));
    if (!vm.jobId) throw new Error('it has no run');
    const { events } = await center.jobs.readEvents(vm.jobId, 0, 100);
    expect(events.map(({ chunk }) => chunk).join('')).toContain('pause by owner');
    expect(await center.jobs.get(vm.jobId)).toMatchObject({
      type: 'vm',
      vmId: vm.id,
      command: 'vm start logged',
    });
  });

  it('ends as crashed with the last words of a process that died', async () => {
    const vm = await start('crashing');
    fake.machines.get(vm.id)?.say('qemu: out of luck');
    fake.machines.get(vm.id)?.end('crash', 134, 'its process was ended by SIGABRT');
    const crashed = await center.when(vm.id, ({ status }) => status === 'crashed');
    expect(crashed).toMatchObject({
      endedBy: 'crash',
      reason: 'its process was ended by SIGABRT: qemu: out of luck',
      allowed: ['start'],
    });
  });

  it('ends as stopped when the guest ends it', async () => {
    const vm = await start('leaving');
    fake.machines.get(vm.id)?.end('guest');
    expect(await center.when(vm.id, ({ status }) => status === 'stopped')).toMatchObject({
      endedBy: 'guest',
      reason: null,
    });
  });

  it('says why it did not start', async () => {
    const vm = await center.machine('stillborn');
    fake.failNext = 'qemu: no such machine';
    const failed = await center.ended(await center.vms.act(owner, vm.id, 'start'));
    expect(failed.status).toBe('failed');
    expect(failed.result).toContain('qemu: no such machine');
  });

  it('is unknown while its monitor is silent, and running again when it answers', async () => {
    const vm = await start('silent');
    fake.machines.get(vm.id)?.become('silent');
    const unknown = await center.when(vm.id, ({ status }) => status === 'unknown');
    expect(unknown).toMatchObject({ allowed: ['force-stop'] });
    expect(unknown.reason).toContain('monitor does not answer');
    fake.machines.get(vm.id)?.become('running');
    expect(await center.when(vm.id, ({ status }) => status === 'running')).toMatchObject({ reason: null });
  });

  it('can be ended while it does not answer at all', async () => {
    fake.silent = true;
    const vm = await center.machine('mute');
    const starting = await center.vms.act(owner, vm.id, 'start');
    await center.when(vm.id, ({ status }) => status === 'starting');
    await center.done(await center.vms.act(owner, vm.id, 'force-stop'));
    expect((await center.vms.get(vm.id)).status).toBe('stopped');
    expect((await center.ended(starting)).finishedAt).not.toBeNull();
  });

  it('cannot be run again as a job', async () => {
    const vm = await start('again');
    if (!vm.jobId) throw new Error('it has no run');
    expect(await refusal(center.jobs.rerun(owner, vm.jobId))).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('start the machine instead') as string,
    });
  });

  it('ends when its job is cancelled', async () => {
    const vm = await start('cancelled');
    if (!vm.jobId) throw new Error('it has no run');
    await center.jobs.cancel(owner, vm.jobId);
    expect((await center.when(vm.id, ({ status }) => status === 'stopped')).reason).toBeNull();
  });
});

describe('what the state does not allow', () => {
  it('is refused at once, with the state and what it allows', async () => {
    const vm = await center.machine('still');
    for (const action of ['stop', 'pause', 'resume', 'reset', 'force-stop'] as const) {
      expect(await refusal(center.vms.act(owner, vm.id, action))).toMatchObject({
        code: 'VM_WRONG_STATE',
        message: `still is stopped and cannot ${action}: its state allows start`,
      });
    }
    expect(await center.vms.operations(vm.id)).toHaveLength(1);
  });

  it('is looked at in turn where something is queued already', async () => {
    const vm = await center.machine('turns');
    const operations = await Promise.all(
      (['start', 'pause', 'resume', 'stop', 'start', 'stop'] as const).reduce<Promise<VmOperation>[]>(
        (all, action) => [
          ...all,
          (all.at(-1) ?? Promise.resolve()).then(() => center.vms.act(owner, vm.id, action)),
        ],
        [],
      ),
    );
    const ended = await Promise.all(operations.map(center.ended));
    expect(ended.map(({ status }) => status)).toEqual(Array(6).fill('done'));
    const order = ended.map(({ finishedAt }) => finishedAt ?? '');
    expect(order).toEqual([...order].sort());
    expect((await center.vms.get(vm.id)).status).toBe('stopped');
  });

  it('fails in turn, with words, when it is not allowed then', async () => {
    const vm = await center.machine('hasty');
    const first = await center.vms.act(owner, vm.id, 'start');
    const second = await center.vms.act(owner, vm.id, 'start');
    expect((await center.ended(first)).status).toBe('done');
    expect(await center.ended(second)).toMatchObject({
      status: 'failed',
      result: expect.stringContaining('is running') as string,
    });
  });
});

describe('many at once', () => {
  it('are queued, not refused, and all carried out', async () => {
    const made = await Promise.all(Array.from({ length: 25 }, (_, index) => center.machine(`many-${index}`)));
    const ids = made.map(({ id }) => id);
    const before = fake.begun();
    const { operations, refused } = await center.vms.actOnMany(owner, ids, 'start');
    expect(refused).toEqual([]);
    const stops = await center.vms.actOnMany(owner, ids, 'stop');
    const restarts = await center.vms.actOnMany(owner, ids, 'start');
    const ends = await center.vms.actOnMany(owner, ids, 'stop');
    const all = [operations, stops.operations, restarts.operations, ends.operations].flat();
    expect(all).toHaveLength(100);
    for (const one of await Promise.all(all.map(center.ended))) expect(one).toMatchObject({ status: 'done' });
    expect(fake.begun() - before).toBe(50);
  });

  it('name those that cannot', async () => {
    const able = await center.machine('able');
    const up = await start('up');
    const { operations, refused } = await center.vms.actOnMany(owner, [able.id, up.id], 'start');
    expect(operations.map(({ vmId }) => vmId)).toEqual([able.id]);
    expect(refused).toMatchObject([
      { vmId: up.id, reason: expect.stringContaining('up is running') as string },
    ]);
    await Promise.all(operations.map(center.done));
  });
});

describe('more machines than places', () => {
  it('wait with words, do not keep jobs from running, and start when a place is free', async () => {
    await using small = await startDatacenter({
      driver: () => fake.driver,
      strategy: () => fake.strategy,
      slots: 1,
    });
    const [one, two] = [await small.machine('one'), await small.machine('two')];
    await small.done(await small.vms.act(owner, one.id, 'start'));
    const waiting = await small.vms.act(owner, two.id, 'start');
    const { jobId } = await small.when(two.id, ({ status }) => status === 'starting');
    if (!jobId) throw new Error('it has no run');
    expect((await small.jobs.get(jobId)).reason).toBe('waiting for a free slot for a machine: 1 of 1 busy');
    const taken = new Promise((resolve) => {
      small.bus.on('job:changed', (job) => {
        if (job.type === 'stream' && job.status === 'acknowledged') resolve(job.agent);
      });
    });
    await small.jobs.submit(owner, { command: 'true' });
    expect(await taken).toBe('test');
    await small.done(await small.vms.act(owner, one.id, 'stop'));
    await small.done(waiting);
    await small.stopAll();
  });
});

describe('when this process ends', () => {
  it('machines run on, and are taken up again', async () => {
    const vm = await start('surviving');
    const begun = fake.begun();
    await center.restart();
    await center.when(vm.id, ({ status, pid }) => status === 'running' && pid === 4321);
    expect(fake.begun()).toBe(begun);
    await center.done(await center.vms.act(owner, vm.id, 'stop'));
    expect((await center.vms.get(vm.id)).endedBy).toBe('acpi');
  });

  it('a machine that ended meanwhile is found to be stopped', async () => {
    const vm = await start('gone');
    const machine = fake.machines.get(vm.id);
    const restarted = center.restart();
    machine?.end('guest');
    await restarted;
    expect((await center.when(vm.id, ({ status }) => status === 'stopped')).endedBy).toBe('guest');
  });

  it('what was queued goes on, and what cannot be repeated says so', async () => {
    const vm = await start('queued');
    await center.db
      .insertInto('vm_operations')
      .values(
        [
          { id: '00000000-0000-7000-8000-000000000001', kind: 'reset', status: 'running' },
          { id: '00000000-0000-7000-8000-000000000002', kind: 'stop', status: 'queued' },
        ].map((row) => ({
          ...row,
          ...{ vm_id: vm.id, vm_name: vm.name, detail: null, result: null, created_by: 'owner' },
          ...{ started_at: null, finished_at: null },
        })),
      )
      .execute();
    await center.restart();
    const stopped = await center.when(vm.id, ({ status }) => status === 'stopped');
    expect(stopped.endedBy).toBe('acpi');
    const [stop, reset] = (await center.vms.operations(vm.id))
      .filter(({ id }) => id.startsWith('00000000'))
      .toReversed();
    const found = [stop, reset].find((one) => one?.kind === 'reset');
    expect(found).toMatchObject({
      status: 'failed',
      result: expect.stringContaining('ended in the middle') as string,
    });
  });
});
