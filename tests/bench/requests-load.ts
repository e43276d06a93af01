import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BatchId, NewRequest, RequestId } from '@vmo/contract';
import { openFilesOf, startTestServer, type TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { machineOf, pidsOfMachines, plainToReady, requestEnded, submitRequest } from './request-support.ts';

const vmName = 'small-guest';

const startServer = (slots: number): Promise<TestServer> =>
  startTestServer({
    embedded: true,
    env: { VMO_AGENT_COUNT: String(slots), VMO_MAX_CONCURRENT_VMS: String(slots) },
  });

/** Many of the same. */
const submitMany = (server: TestServer, count: number, request: Omit<NewRequest, 'vm_name'>) =>
  server.client.call('submitBatch', {
    body: { ...request, vm_names: [vmName], commands: Array.from({ length: count }, () => request.commands) },
  });

async function countDone(server: TestServer, batch: BatchId): Promise<number> {
  return (await server.client.call('listRequests', { query: { batch, status: 'done', limit: 1 } })).total;
}

/** A machine of its own: what it takes of the processors is not counted, as that of a request is. */
async function startMachine(server: TestServer, name: string): Promise<void> {
  const { vm } = await server.client.call('createVm', {
    body: {
      ...{ name, memoryMib: 128, start: true },
      boot: { from: 'kernel', kernel: `${vmName}.kernel`, initrd: `${vmName}.initrd`, append: 'quiet' },
    },
  });
  for (;;) {
    const now = await server.client.call('getVm', { params: { vmId: vm.id } });
    if (now.vm.status === 'running') return;
    if (now.vm.status === 'crashed') throw new Error(`${name} crashed: ${now.vm.reason ?? ''}`);
    await delay(100);
  }
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** What people and agents ask for while many machines run and more requests wait. */
async function api({ add, long }: Bench): Promise<void> {
  const running = long ? 50 : 8;
  const queued = 1000;
  await using server = await startServer(running);
  const { client } = server;
  // Builds the small guest.
  const first = await submitRequest(server, { vm_name: vmName, commands: 'true' });
  await requestEnded(server, first);
  const names = Array.from({ length: running }, (_, index) => `bench-${String(index)}`);
  await Promise.all(names.map((name) => startMachine(server, name)));
  const waiting = await submitMany(server, queued, { commands: 'true' });
  const queuedAt = (index: number): RequestId => {
    const request = waiting.requests[index % waiting.requests.length];
    if (!request) throw new Error('the batch is empty');
    return request.uuid;
  };
  const calls: readonly [string, (index: number) => Promise<unknown>][] = [
    ['`GET /requests`', () => client.call('listRequests')],
    ['`GET /requests/{uuid}`', (at) => client.call('getRequest', { params: { requestId: queuedAt(at) } })],
    ['`GET /requests/{uuid}/logs`', () => client.call('listRequestLogs', { params: { requestId: first } })],
    ['`POST /requests`', () => submitRequest(server, { vm_name: vmName, commands: 'true' })],
    ['`GET /requests/statistics`', () => client.call('getRequestStatistics')],
    ['`GET /vms`', () => client.call('listVms')],
  ];
  const samples = calls.map((): number[] => []);
  // By turns: what slows the machine down hits all of them.
  for (let round = 0; round < 100; round++)
    for (const [index, [, call]] of calls.entries()) samples[index]?.push(await timeOf(() => call(round)));
  for (const [index, [name]] of calls.entries())
    add({
      name: `${name}, ${String(running)} machines running and ${String(queued)} requests queued`,
      unit: 'ms',
      how: 'one after another, each route in turn, beside small guests at their prompt',
      values: samples[index] ?? [],
      targets: [{ share: 0.95, atMost: 50 }],
    });
}

/** What a server and its machines hold of this computer, but for its database. */
async function held(server: TestServer): Promise<{ processes: number; files: number; handles: number }> {
  const entries = (folder: string) => readdir(join(server.dataDirectory, folder));
  return {
    processes: (await pidsOfMachines(server)).length,
    // Run folders are kept for a day on purpose.
    files: (await entries('storage/vms')).length + (await entries('storage/disks')).length,
    // Sockets and so ports among them.
    handles: await openFilesOf(server.pid),
  };
}

/** What there is more of than before, when half a minute has passed: the database's connections are given back in time. */
async function leftOf(server: TestServer, before: Awaited<ReturnType<typeof held>>): Promise<number> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const now = await held(server);
    const left =
      Math.max(now.processes - before.processes, 0) +
      Math.max(now.files - before.files, 0) +
      Math.max(now.handles - before.handles, 0);
    if (left === 0 || performance.now() > deadline) return left;
    await delay(1_000);
  }
}

/** Many requests one after another on a few slots: how they end, and what stays. */
async function flood({ add, long }: Bench): Promise<void> {
  const slots = 8;
  const count = long ? 1000 : 40;
  await using server = await startServer(slots);
  const first = await submitRequest(server, { vm_name: vmName, commands: 'true' });
  const { argv } = await machineOf(first);
  await requestEnded(server, first);
  const plain = await plainToReady(argv, join(server.dataDirectory, 'storage', 'vms', 'plain'));
  const before = await held(server);
  const begin = performance.now();
  const { batch } = await submitMany(server, count, { commands: 'echo there', timeout: 1800 });
  await untilFinal(server, batch, count);
  const seconds = (performance.now() - begin) / 1000;
  const done = await countDone(server, batch);
  const left = await leftOf(server, before);
  const words = `${String(count)} requests on ${String(slots)} slots`;
  add({
    name: `${words}: until the last has ended`,
    unit: 's',
    how: `one batch of \`echo\` in the small guest; at once as many as this machine has processors, ${String(availableParallelism())}`,
    values: [seconds],
    limits: [
      {
        name: 'plain QEMU to its runner’s hello, as often, one after another',
        values: [(plain * count) / 1000],
      },
    ],
  });
  add({
    name: `${words}: not done`,
    unit: 'requests',
    how: 'lost ones among them',
    values: [count - done],
    targets: [{ share: 1, atMost: 0 }],
  });
  add({
    name: `${words}: left behind`,
    unit: 'in all',
    how: 'processes of QEMU, folders of machines and disks, and descriptors of the server, against before',
    values: [left],
    targets: [{ share: 1, atMost: 0 }],
  });
}

async function untilFinal(server: TestServer, batch: BatchId, count: number): Promise<void> {
  const open = ['hold', 'pending', 'acknowledged', 'running'] as const;
  for (;;) {
    let left = 0;
    for (const status of open)
      left += (await server.client.call('listRequests', { query: { batch, status, limit: 1 } })).total;
    if (left === 0) return;
    console.error(`    ${String(count - left)} of ${String(count)} have ended`);
    await delay(5_000);
  }
}

export const requestApiPart: Part = { name: 'request-api', limitSeconds: 900, measure: api };
/** The long form takes as long as a thousand guests boot: an hour where there is no KVM. */
export const requestFloodPart: Part = { name: 'request-flood', limitSeconds: 3600, measure: flood };
