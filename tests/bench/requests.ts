import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { JobsConnection } from '@vmo/client';
import { JobId, type RequestId } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { buildLog } from './build-log.ts';
import { median } from './figures.ts';
import { startServer } from './jobs.ts';
import { cancelRequest, machineOf, plainToReady, requestEnded, submitRequest } from './request-support.ts';

/** How a machine may come to its first command. */
interface Way {
  name: string;
  warm: boolean;
  /** Milliseconds from the submit on, where plain QEMU is not what it is compared with. */
  atMost?: number;
}

const ways: readonly Way[] = [
  { name: 'cold boot', warm: false },
  { name: 'warm start', warm: true, atMost: 500 },
];

/** From the request to the server until QEMU is executed; what comes after that is not waited for. */
async function submitToExec(server: TestServer): Promise<number> {
  const begin = performance.now();
  const uuid = await submitRequest(server, { vm_name: 'small-guest', commands: 'true' });
  await machineOf(server, uuid);
  const time = performance.now() - begin;
  await cancelRequest(server, uuid);
  await requestEnded(server, uuid);
  return time;
}

/** Until the first byte of what a command writes has come through the stored log to a socket client. */
async function submitToOutput(
  server: TestServer,
  connection: JobsConnection,
  warm: boolean,
): Promise<{ time: number; uuid: RequestId }> {
  const begin = performance.now();
  const uuid = await submitRequest(server, { vm_name: 'small-guest', commands: 'echo there', warm });
  const seen = Promise.withResolvers<number>();
  const subscription = connection.followJob({
    jobId: JobId.parse(uuid),
    onEvents: (events) => {
      if (events.some(({ stream }) => stream === 'stdout')) seen.resolve(performance.now() - begin);
    },
    onDone: ({ status }) => {
      seen.reject(new Error(`the request is ${status} before its command wrote anything`));
    },
  });
  try {
    return { time: await seen.promise, uuid };
  } finally {
    subscription.close();
    await requestEnded(server, uuid);
  }
}

async function firstOutput({ add }: Bench, server: TestServer, argv: readonly string[]): Promise<void> {
  const connection = server.connect();
  try {
    for (const { name, warm, atMost } of ways) {
      // The first of the warm ones boots, and is what the others go on from.
      if (warm) await submitToOutput(server, connection, warm);
      const ours: number[] = [];
      const plain: number[] = [];
      // By turns: what slows the machine down hits both.
      for (let round = 0; round < 5; round++) {
        const directory = join(server.dataDirectory, 'storage', 'vms', `plain-${String(round)}`);
        plain.push(await plainToReady(argv, directory));
        ours.push((await submitToOutput(server, connection, warm)).time);
      }
      const boot = median(plain);
      const limit = {
        name: 'plain QEMU with the same arguments, until its runner says hello',
        values: plain,
      };
      const how =
        '`echo` in the small guest, until its output has come through the stored log to a socket client';
      add({
        ...{
          name: `submit → first output of a command, ${name}`,
          unit: 'ms',
          how,
          values: ours,
          limits: [limit],
        },
        ...(atMost !== undefined && { targets: [{ share: 0.5, atMost }] }),
      });
      if (atMost === undefined)
        add({
          ...{
            name: 'the same, less plain QEMU',
            unit: 'ms',
            how: 'each of the above less the median of plain QEMU',
          },
          ...{ values: ours.map((value) => value - boot), targets: [{ share: 0.5, atMost: 250 }] },
        });
    }
  } finally {
    connection.close();
  }
}

const megabyte = 1_000_000;

async function output({ add }: Bench, server: TestServer): Promise<void> {
  const times = 200;
  const piece = buildLog(megabyte);
  const written = createHash('sha256');
  for (let count = 0; count < times; count++) written.update(piece);
  const expected = written.digest('hex');
  const stored: number[] = [];
  const inGuest: number[] = [];
  let differ = 0;
  for (let round = 0; round < 3; round++) {
    const uuid = await submitRequest(server, {
      vm_name: 'small-guest',
      commands: `i=0; while [ $i -lt ${String(times)} ]; do cat /piece; i=$((i + 1)); done`,
      files: [{ path: '/piece', content_base64: piece.toString('base64') }],
      timeout: 900,
    });
    const { status, message, timeline, results } = await requestEnded(server, uuid);
    if (status !== 'done') throw new Error(`the request is ${status}: ${message ?? ''}`);
    const ran = Date.parse(timeline.finished_at ?? '') - Date.parse(timeline.running_at ?? '');
    stored.push((times * 1000) / ran);
    inGuest.push((times * 1000) / (results[0]?.duration_ms ?? NaN));
    const response = await server.client.download('getLog', {
      params: { jobId: JobId.parse(uuid) },
      query: { stream: 'stdout' },
    });
    const hash = createHash('sha256');
    for await (const chunk of response.body ?? []) hash.update(chunk);
    if (hash.digest('hex') !== expected) differ += 1;
  }
  add({
    name: `${String(times)} MB of guest output until all is stored`,
    unit: 'MB/s',
    how: '`cat` of 1 MB of build log again and again; from the begin of the command to the final state, the end of the guest included',
    values: stored,
    targets: [{ share: 0.5, atLeast: 20 }],
    limits: [{ name: 'what the guest wrote into QEMU’s file, by its own clock', values: inGuest }],
  });
  add({
    name: 'the same: logs that differ from what was written',
    unit: 'logs',
    how: 'SHA-256 of the stored stdout',
    values: [differ],
    targets: [{ share: 1, atMost: 0 }],
  });
}

async function requests(bench: Bench): Promise<void> {
  await using server = await startServer();
  // The first one builds the guest and tries this machine's QEMU.
  const first = await submitRequest(server, { vm_name: 'small-guest', commands: 'true' });
  const { argv } = await machineOf(server, first);
  await requestEnded(server, first);
  const values: number[] = [];
  for (let round = 0; round < 100; round++) values.push(await submitToExec(server));
  bench.add({
    name: 'submit → QEMU, idle agent',
    unit: 'ms',
    how: 'POST /requests until a process bears the name of QEMU, which is looked for every few ms',
    values,
    targets: [{ share: 0.99, atMost: 100 }],
  });
  await firstOutput(bench, server, argv);
  await output(bench, server);
}

export const requestsPart: Part = { name: 'requests', limitSeconds: 900, measure: requests };
