import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BatchId, JobId, NewRequest, RequestId } from '@vmo/contract';
import { smallGuestBanner, smallGuestKernelArguments } from '@vmo/hypervisor';
import { openFilesOf, processesOfJobs, startTestServer, type TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { machineOf, plainToReady, requestEnded, requestOf, submitRequest } from './request-support.ts';

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

/** A machine of its own, as a person starts one; until its guest has booted, since that takes a whole processor. */
async function startMachine(server: TestServer, name: string): Promise<void> {
  const { vm } = await server.client.call('createVm', {
    body: {
      ...{ name, memoryMib: 128, start: true },
      boot: {
        ...{ from: 'kernel', kernel: `${vmName}.kernel`, initrd: `${vmName}.initrd` },
        append: smallGuestKernelArguments,
      },
    },
  });
  for (;;) {
    const now = await server.client.call('getVm', { params: { vmId: vm.id } });
    if (now.vm.status === 'crashed') throw new Error(`${name} crashed: ${now.vm.reason ?? ''}`);
    if (now.vm.jobId && (await consoleOf(server, now.vm.jobId)).includes(smallGuestBanner)) return;
    await delay(500);
  }
}

async function consoleOf(server: TestServer, jobId: JobId): Promise<string> {
  return (await server.client.download('getLog', { params: { jobId }, query: { stream: 'boot' } })).text();
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

interface Held {
  /** Of its jobs: QEMU, wrappers and what they have started. */
  processes: number;
  /** Run folders are kept for a day on purpose. */
  files: number;
  /** Descriptors of the server, its sockets among them; ports of machines are held by their processes. */
  handles: number;
  groups: number;
}

/** What a server and its machines hold of this computer, but for its database. */
async function held(server: TestServer): Promise<Held> {
  const entries = (folder: string) => readdir(join(server.dataDirectory, folder));
  const runs = await entries('runs');
  return {
    processes: (await processesOfJobs(new Set(runs))).length,
    files: (await entries('storage/vms')).length + (await entries('storage/disks')).length,
    handles: await openFilesOf(server.pid),
    groups: await groupsOf(server.pid, new Set(runs)),
  };
}

/** Control groups of these jobs. */
async function groupsOf(pid: number, jobIds: ReadonlySet<string>): Promise<number> {
  const mounts = await readFile('/proc/mounts', 'utf8');
  const mount = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
  const own = /^0::(.*)$/m.exec(await readFile(`/proc/${String(pid)}/cgroup`, 'utf8'))?.[1];
  if (mount === undefined || own === undefined) return 0;
  const names = await readdir(join(mount, own, 'vmo')).catch(() => []);
  return names.filter((name) => jobIds.has(name)).length;
}

/** Its own, and those of its threads. */
async function processorSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${String(pid)}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** What there is more of than before, when half a minute has passed: the database's connections are given back in time. */
async function leftOf(server: TestServer, before: Held): Promise<number> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const now = await held(server);
    const more = (Object.keys(before) as (keyof Held)[]).map((what) => Math.max(now[what] - before[what], 0));
    const left = more.reduce((sum, one) => sum + one, 0);
    if (left === 0) return 0;
    if (performance.now() > deadline) {
      console.error('    before', before, 'now', now);
      return left;
    }
    await delay(1_000);
  }
}

interface Flood {
  seconds: number;
  /** Each in a word: not done, or with another exit code or output than its command gives. */
  wrong: string[];
  left: number;
  /** Seconds of processor time of the server. */
  serverSeconds: number;
}

/** One batch, each request with words of its own, so that no output can be taken for that of another. */
async function runFlood(server: TestServer, count: number, warm: boolean): Promise<Flood> {
  const before = await held(server);
  const cpuBefore = await processorSeconds(server.pid);
  const begin = performance.now();
  const { batch, requests } = await server.client.call('submitBatch', {
    body: {
      ...{ vm_names: [vmName], warm, timeout: 1800 },
      commands: Array.from({ length: count }, (_, index) => `echo ${wordsOf(index)}; exit ${codeOf(index)}`),
    },
  });
  await untilFinal(server, batch, count);
  const seconds = (performance.now() - begin) / 1000;
  const serverSeconds = (await processorSeconds(server.pid)) - cpuBefore;
  const wrong: string[] = [];
  for (const { uuid, commands: index } of requests) {
    const found = await whatIsWrong(server, uuid, index);
    if (found !== null) wrong.push(`${uuid}: ${found}`);
  }
  for (const line of wrong.slice(0, 10)) console.error(`    ${line}`);
  return { seconds, wrong, left: await leftOf(server, before), serverSeconds };
}

const wordsOf = (index: number): string => `there ${String(index)}`;
/** Some fail on purpose: their code is to be theirs as well. */
const codeOf = (index: number): number => (index % 10 === 9 ? 7 : 0);

async function whatIsWrong(server: TestServer, uuid: RequestId, index: number): Promise<string | null> {
  const request = await requestOf(server, uuid);
  const code = codeOf(index);
  if (request.status !== (code === 0 ? 'done' : 'failed'))
    return `${request.status}, ${request.message ?? ''}`;
  if (request.exit_code !== code) return `exit code ${String(request.exit_code)} in place of ${String(code)}`;
  const { logs } = await server.client.call('listRequestLogs', {
    params: { requestId: uuid },
    query: { log_type: 'stdout' },
  });
  const said = logs.map(({ output }) => output).join('');
  return said === `${wordsOf(index)}\n` ? null : `it said ${JSON.stringify(said.slice(0, 100))}`;
}

/** Many requests on a few slots, from a warm template and booted each: how they end, and what stays. */
async function flood({ add, long }: Bench): Promise<void> {
  const slots = 8;
  await using server = await startServer(slots);
  const first = await submitRequest(server, { vm_name: vmName, commands: 'true' });
  const { argv } = await machineOf(server, first);
  await requestEnded(server, first);
  const plain = await plainToReady(argv, join(server.dataDirectory, 'storage', 'vms', 'plain'));
  // What the warm ones go on from.
  await requestEnded(server, await submitRequest(server, { vm_name: vmName, commands: 'true', warm: true }));
  for (const { name, warm, count } of [
    { name: 'warm', warm: true, count: long ? 1000 : 100 },
    { name: 'booted each', warm: false, count: long ? 100 : 24 },
  ]) {
    const { seconds, wrong, left, serverSeconds } = await runFlood(server, count, warm);
    const words = `${String(count)} requests on ${String(slots)} slots, ${name}`;
    add({
      name: `${words}: until the last has ended`,
      unit: 's',
      how: 'one batch of `echo` in the small guest, with words of its own each, every tenth with an exit code of 7',
      values: [seconds],
      limits: [
        {
          name: 'plain QEMU to its runner’s hello, as often, one after another',
          values: [(plain * count) / 1000],
        },
      ],
    });
    add({
      name: `${words}: processor time of the server for each`,
      unit: 'ms',
      how: 'from /proc, without Postgres, the wrappers and QEMU',
      values: [(serverSeconds * 1000) / count],
    });
    add({
      name: `${words}: not final, lost, or with another end or output than theirs`,
      unit: 'requests',
      how: 'status, exit code and stored stdout of each',
      values: [wrong.length],
      targets: [{ share: 1, atMost: 0 }],
    });
    add({
      name: `${words}: left behind`,
      unit: 'in all',
      how: 'processes of jobs, folders of machines and disks, control groups, and descriptors of the server, against before',
      values: [left],
      targets: [{ share: 1, atMost: 0 }],
    });
  }
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
/** The long form takes what a thousand guests need to go on and to turn themselves off: half an hour where there is no KVM. */
export const requestFloodPart: Part = { name: 'request-flood', limitSeconds: 3600, measure: flood };
