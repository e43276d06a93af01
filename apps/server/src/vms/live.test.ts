import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Machine } from '@vmo/hypervisor';
import { until } from '@vmo/testkit';
import { createFakeHypervisor } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';

const fake = createFakeHypervisor();
const connect = fake.driver.connect.bind(fake.driver);
let center: Datacenter;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
}, 60_000);
afterEach(async () => {
  fake.driver.connect = connect;
  fake.stubborn = false;
  await center.stopAll();
});
afterAll(() => center[Symbol.asyncDispose]());

it('listens once to a machine, however often the database refuses what is to be written of it', async () => {
  const vm = await center.machine('heard-once');
  const listened = new Map<Machine, number>();
  let connected = 0;
  fake.driver.connect = async (id) => {
    const machine = await connect(id);
    connected += 1;
    if (machine && !listened.has(machine)) {
      listened.set(machine, 0);
      const listen = machine.onStatus.bind(machine);
      machine.onStatus = (listener) => {
        listened.set(machine, (listened.get(machine) ?? 0) + 1);
        return listen(listener);
      };
    }
    return machine;
  };
  await sql`create or replace function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'the database refuses'; end $$`.execute(center.db);
  await sql`create trigger fault before update on vms for each row
    when (new.pid is not null) execute function refuse()`.execute(center.db);
  const started = await center.vms.act(owner, vm.id, 'start');
  await until('it was tried again and again', () => Promise.resolve(connected >= 3));
  await sql`drop trigger fault on vms`.execute(center.db);
  await center.done(started);
  expect((await center.vms.get(vm.id)).status).toBe('running');
  expect([...listened.values()]).toEqual([1]);
});

it('finds that a guest has let go of a disk while nobody was there to hear it', async () => {
  const vm = await center.machine('let-go');
  await center.done(await center.vms.act(owner, vm.id, 'start'));
  const disk = await center.vms.disks.create(owner, { name: 'held', sizeBytes: 1024 * 1024 });
  await center.done(await center.vms.attachDisk(owner, vm.id, { diskId: disk.id }));
  fake.stubborn = true;
  await center.done(await center.vms.detachDisk(owner, vm.id, disk.id));
  expect((await center.vms.get(vm.id)).disks).toMatchObject([{ root: true }, { state: 'detaching' }]);
  fake.driver.connect = async (id) => {
    // Between the two of us: the one before has let go of the machine, and the next listens from here on.
    fake.machines.get(id)?.letGoOf(disk.id);
    return connect(id);
  };
  await center.restart();
  await center.when(vm.id, ({ disks }) => disks.length === 1);
  expect(await center.vms.disks.list()).toContainEqual(expect.objectContaining({ id: disk.id, vmId: null }));
});
