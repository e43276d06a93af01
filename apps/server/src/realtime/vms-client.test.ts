import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { VmId, vmsNamespace, type VmSummary } from '@vmo/contract';
import { startFaultProxy } from '@vmo/testkit';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { VmsClient, type VmsSocket } from './vms-client.ts';

const mib = 1024 * 1024;
const idOf = (number: number) => VmId.parse(`01970000-0000-7000-8000-${String(number).padStart(12, '0')}`);

const row = (number: number, round: number): VmSummary => ({
  ...{ id: idOf(number), name: `vm-${String(number)}`, status: 'running', reason: 'x'.repeat(300) },
  ...{
    cpus: 1,
    memoryMib: 512,
    accelerator: 'tcg',
    jobId: null,
    createdBy: 'owner',
    startedAt: null,
    display: 'vnc',
  },
  ...{ createdAt: '2026-01-01T00:00:00.000Z', load: [round] },
});

/** A browser that looks at machines through a wire that can stop, and our end of it. */
async function startWire() {
  const stack = new AsyncDisposableStack();
  const http = createServer();
  const io = new Server(http, { transports: ['websocket'] });
  stack.defer(() => io.close());
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const proxy = stack.use(await startFaultProxy({ host: '127.0.0.1', port }));
  const connected = Promise.withResolvers<VmsSocket>();
  io.of(vmsNamespace).on('connection', (socket: VmsSocket) => {
    connected.resolve(socket);
  });
  const browser = connect(`http://127.0.0.1:${String(proxy.port)}${vmsNamespace}`, {
    ...{ transports: ['websocket'], forceNew: true, reconnection: false },
  });
  stack.defer(() => {
    browser.disconnect();
  });
  await new Promise<void>((resolve) => browser.once('connect', resolve));
  const socket = await connected.promise;
  /** Bytes handed to the transport. */
  let handed = 0;
  socket.conn.on('packetCreate', (packet: { data?: unknown }) => {
    handed += typeof packet.data === 'string' ? packet.data.length : 0;
  });
  const client = new VmsClient(socket);
  stack.defer(() => {
    client.close();
  });
  return {
    ...{ browser, client, proxy },
    handed: () => handed,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

let wire: Awaited<ReturnType<typeof startWire>>;
beforeEach(async () => {
  wire = await startWire();
});
afterEach(() => wire[Symbol.asyncDispose]());

it('a browser that takes nothing holds a bounded part of what changes, and then is told to read again', async () => {
  const { browser, client, proxy } = wire;
  const told: string[] = [];
  browser.on('vm:missed', () => told.push('missed'));
  browser.on('vm:status', ({ id, load }: VmSummary) => told.push(`${id} ${String(load[0])}`));
  proxy.set({ kind: 'black-hole' });
  const rounds = 40;
  let told40 = 0;
  for (let round = 1; round <= rounds; round += 1) {
    for (let number = 1; number <= 3_000; number += 1) {
      const vm = row(number, round);
      told40 += JSON.stringify(vm).length;
      client.changed(vm);
    }
    await nextTurn();
  }
  // What the kernel buffers is in it.
  expect(told40).toBeGreaterThan(60 * mib);
  expect(wire.handed()).toBeLessThan(24 * mib);

  const last = `${idOf(3_000)} ${String(rounds)}`;
  const arrived = new Promise<void>((resolve) => {
    browser.on('vm:status', ({ id, load }: VmSummary) => {
      if (`${id} ${String(load[0])}` === last) resolve();
    });
  });
  proxy.set({ kind: 'pass' });
  await arrived;
  // Whoever reads at this word gets all that was dropped before it; what changed later comes after it.
  const since = told.slice(told.lastIndexOf('missed') + 1);
  expect(told).toContain('missed');
  expect(since.length).toBeLessThanOrEqual(1_000);
  expect(since.at(-1)).toBe(last);
}, 30_000);

it('a browser that takes what comes is told every row, and to read nothing again', async () => {
  const { browser, client } = wire;
  const seen = new Set<string>();
  let missed = 0;
  browser.on('vm:missed', () => (missed += 1));
  const all = new Promise<void>((resolve) => {
    browser.on('vm:status', ({ id }: VmSummary) => {
      if (seen.add(id).size === 900) resolve();
    });
  });
  for (let number = 1; number <= 900; number += 1) client.changed(row(number, 1));
  await all;
  expect(missed).toBe(0);
});

it('a machine that was deleted while the browser took nothing is not brought back', async () => {
  const { browser, client, proxy } = wire;
  const told: string[] = [];
  browser.on('vm:status', ({ id }: VmSummary) => told.push(id));
  proxy.set({ kind: 'black-hole' });
  for (let number = 1; number <= 900; number += 1) client.changed(row(number, 1));
  client.happened({ type: 'deleted', vmId: idOf(900) });
  const deleted = new Promise<void>((resolve) => {
    browser.on('vm:event', () => {
      resolve();
    });
  });
  proxy.set({ kind: 'pass' });
  await deleted;
  expect(told).not.toContain(idOf(900));
});
