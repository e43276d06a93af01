import { NewVm, VmId, type VmMetrics } from '@vmo/contract';
import { testDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBus } from '../kernel/bus.ts';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';
import { createLoad, createMetrics } from './metrics.ts';
import { ratesBetween } from './rates.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
}, 60_000);
afterAll(() => center[Symbol.asyncDispose]());

/** A host of which nothing is told. */
const noHost = () => Promise.reject(new Error('not here'));

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

describe('10,000 machines', () => {
  beforeAll(async () => {
    await sql`
      insert into vms (id, name, status, cpus, max_cpus, memory_mib, max_memory_mib, boot, network, display, created_by)
      select gen_random_uuid(), 'load-' || lpad(n::text, 5, '0'), 'stopped', 1, 4, 512, 512,
        '{"from":"disk"}', '{"mode":"none"}', 'none', 'owner'
      from generate_series(1, 10000) as n`.execute(center.db);
    await sql`analyze vms`.execute(center.db);
  });

  it('are paged through by name, each exactly once, and a page takes less than 50 ms', async () => {
    const names: string[] = [];
    const took: number[] = [];
    for (let after: string | undefined; ;) {
      const begun = performance.now();
      const page = await center.vms.list({
        limit: 500,
        q: 'load-',
        ...(after === undefined ? {} : { after }),
      });
      took.push(performance.now() - begun);
      expect(page.total).toBe(10_000);
      names.push(...page.vms.map(({ name }) => name));
      if (page.nextAfter === null) break;
      after = page.nextAfter;
    }
    expect(names).toEqual(
      Array.from({ length: 10_000 }, (_, index) => `load-${String(index + 1).padStart(5, '0')}`),
    );
    // The best of them: a busy machine says nothing about the query.
    expect(Math.min(...took)).toBeLessThan(50);
  });

  it('are found by a part of the name and by status', async () => {
    expect(await center.vms.list({ limit: 10, q: '0999' })).toMatchObject({ total: 11 });
    expect(await center.vms.list({ limit: 10, status: 'running' })).toMatchObject({ total: 0, vms: [] });
    expect((await center.vms.list({ limit: 10, q: '%' })).total).toBe(0);
  });
});

describe('a new machine', () => {
  it.each(['a,b', '../x', '-x', '', 'a b', 'a\nb', 'ä', 'x'.repeat(64), "x';--", '$(x)'])(
    'is not called %j',
    (name) => {
      expect(NewVm.safeParse({ name, diskSizeBytes: 1024 * 1024 }).success).toBe(false);
    },
  );

  it('needs a name that is free, something to boot, and memory that the host has', async () => {
    await center.machine('taken');
    const size = { diskSizeBytes: 1024 * 1024 };
    expect(await refusal(center.vms.create(owner, { name: 'taken', ...size }))).toMatchObject({
      code: 'NAME_TAKEN',
    });
    expect(await refusal(center.vms.create(owner, { name: 'empty' }))).toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(
      await refusal(center.vms.create(owner, { name: 'huge', ...size, memoryMib: 16 * 1024 * 1024 })),
    ).toMatchObject({
      code: 'VM_IMPOSSIBLE',
    });
    const small = { name: 'odd', ...size, cpus: 8, maxCpus: 2 };
    expect(await refusal(center.vms.create(owner, small))).toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('is refused with what to install where QEMU is missing', async () => {
    await using bare = await startDatacenter({
      driver: () => fake.driver,
      strategy: () => fake.strategy,
      missing: () => 'QEMU is missing. Debian: apt-get install qemu-system-x86',
    });
    expect(await refusal(bare.vms.create(owner, { name: 'x', diskSizeBytes: 1024 * 1024 }))).toMatchObject({
      code: 'HYPERVISOR_UNAVAILABLE',
      message: expect.stringContaining('apt-get install qemu-system-x86') as string,
    });
    expect(await refusal(bare.vms.tryVm(owner))).toMatchObject({ code: 'VM_IMPOSSIBLE' });
  });

  it('can be renamed always, and changed while it is stopped', async () => {
    const vm = await center.machine('changing');
    expect(await center.vms.change(owner, vm.id, { cpus: 6, memoryMib: 1024 })).toMatchObject({
      ...{ cpus: 6, maxCpus: 6, memoryMib: 1024, maxMemoryMib: 1024 },
    });
    await center.done(await center.vms.act(owner, vm.id, 'start'));
    expect(await center.vms.change(owner, vm.id, { name: 'changed' })).toMatchObject({ name: 'changed' });
    expect(await refusal(center.vms.change(owner, vm.id, { cpus: 1 }))).toMatchObject({
      code: 'VM_WRONG_STATE',
    });
    await center.stopAll();
  });
});

describe('measurements', () => {
  it('are rates of counters, and say nothing of a first look or a counter that was set back', () => {
    const first = {
      ...{ at: 0, cpuSeconds: 1, memoryMib: 10, guestUsedMib: null, diskReadBytes: 100, diskWriteBytes: 500 },
      ...{ networkReceivedBytes: null, networkSentBytes: 0 },
    };
    expect(ratesBetween(null, first)).toMatchObject({
      cpuPercent: null,
      memoryMib: 10,
      diskReadBytesPerSecond: null,
    });
    const second = {
      ...first,
      at: 10_000,
      cpuSeconds: 6,
      diskReadBytes: 1100,
      diskWriteBytes: 0,
      networkSentBytes: 10,
    };
    expect(ratesBetween(first, second)).toMatchObject({
      ...{ cpuPercent: 50, diskReadBytesPerSecond: 100, diskWriteBytesPerSecond: null },
      ...{ networkReceivedBytesPerSecond: null, networkSentBytesPerSecond: 1 },
    });
  });

  it('are stored in one pass, told, averaged, and removed when they are old', async () => {
    await using database = await testDatabase();
    const { db } = database;
    const told: VmMetrics[] = [];
    const bus = createBus((error) => {
      throw error;
    });
    bus.on('vm:metrics', (fact) => told.push(fact));
    const vm = await center.machine('measured');
    await center.done(await center.vms.act(owner, vm.id, 'start'));
    const machine = fake.machines.get(vm.id);
    if (!machine) throw new Error('it does not run');
    const load = createLoad();
    const metrics = createMetrics({ db, bus, load, sampleHost: noHost, running: () => [[vm.id, machine]] });
    const start = Date.UTC(2026, 0, 5, 12, 0, 0);
    await metrics.keepPartitions(start);
    for (let look = 0; look < 61; look += 1) await metrics.look(new Date(start + look * 10_000));
    expect(told).toHaveLength(61);
    expect(load.of(vm.id)).toHaveLength(30);

    const hour = await metrics.read(vm.id, {}, start + 600_000);
    expect(hour.everySeconds).toBe(10);
    expect(hour.metrics).toHaveLength(60);
    expect(hour.metrics[5]).toMatchObject({
      cpuPercent: 50,
      diskReadBytesPerSecond: 100,
      networkSentBytesPerSecond: null,
    });

    await metrics.rollUp(start + 600_000);
    await metrics.rollUp(start + 600_000);
    const month = {
      from: new Date(start - 30 * 86_400_000).toISOString(),
      to: new Date(start + 86_400_000).toISOString(),
    };
    const rolled = await metrics.read(vm.id, month, start + 600_000);
    expect(rolled.everySeconds % 300).toBe(0);
    expect(rolled.metrics).toMatchObject([{ cpuPercent: 50 }]);

    await metrics.keepPartitions(start + 10 * 86_400_000);
    const { rows } = await sql<{ looks: number; averages: number }>`
      select (select count(*) from vm_metrics) as looks, (select count(*) from vm_metrics_rolled) as averages`.execute(
      db,
    );
    expect(rows).toEqual([{ looks: 0, averages: 2 }]);
    await center.stopAll();
  });

  it('do not wait for a machine that is silent', async () => {
    const vmId = VmId.parse('01990000-0000-7000-8000-000000000001');
    const bus = createBus(() => undefined);
    const vm = await center.machine('hung');
    await center.done(await center.vms.act(owner, vm.id, 'start'));
    const machine = fake.machines.get(vm.id);
    if (!machine) throw new Error('it does not run');
    const hung = { ...machine, sample: () => new Promise<never>(() => undefined) };
    const told = Promise.withResolvers<VmMetrics>();
    bus.on('vm:metrics', told.resolve);
    const metrics = createMetrics({
      db: center.db,
      bus,
      load: createLoad(),
      sampleHost: noHost,
      running: () => [
        [vmId, hung],
        [vm.id, machine],
      ],
    });
    await metrics.look();
    expect((await told.promise).vms.map((one) => one.vmId)).toEqual([vm.id]);
    await center.stopAll();
  });
});
