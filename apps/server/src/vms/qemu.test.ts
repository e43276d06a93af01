import { once } from 'node:events';
import type { Vm, VmAction, VmId, VmOperation, VmSummary } from '@vmo/contract';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { startTestServer, until as untilTrue, type TestServer } from '@vmo/testkit';
import { io, type Socket } from 'socket.io-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

/* The real server with the real QEMU and a small guest, from outside. */

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
const bootMs = 60_000;
/** Each question is a request to a server that shares its two processors with a guest. */
const everyMs = 100;

const until = (what: string, ask: () => Promise<boolean>, timeoutMs = bootMs) =>
  untilTrue(what, ask, { timeoutMs, everyMs });

let server: TestServer;
const sockets: Socket[] = [];

function open(namespace: string): Socket {
  const socket = io(server.url + namespace, {
    ...{ transports: ['websocket'], forceNew: true, reconnection: false },
    auth: { token: server.token },
  });
  sockets.push(socket);
  return socket;
}

async function finished(operation: VmOperation): Promise<VmOperation> {
  let found = operation;
  await until(`the end of ${operation.kind}`, async () => {
    found = (await server.client.call('getOperation', { params: { operationId: operation.id } })).operation;
    return found.status === 'done' || found.status === 'failed';
  });
  expect(found).toMatchObject({ status: 'done' });
  return found;
}

const vmOf = async (vmId: VmId): Promise<Vm> => (await server.client.call('getVm', { params: { vmId } })).vm;

async function act(vmId: VmId, action: VmAction): Promise<VmOperation> {
  const { operation } = await server.client.call('actOnVm', { params: { vmId }, body: { action } });
  return finished(operation);
}

async function console(vm: Vm): Promise<string> {
  if (!vm.jobId) return '';
  const answer = await server.client.download('getLog', {
    params: { jobId: vm.jobId },
    query: { stream: 'boot' },
  });
  return answer.text();
}

async function untilSaid(vm: Vm, words: string): Promise<void> {
  await until(words, async () => (await console(vm)).includes(words));
}

describe.skipIf(!isThere)('a machine of QEMU', () => {
  let vm: Vm;
  const told: VmSummary[] = [];

  beforeAll(async () => {
    server = await startTestServer();
    const looker = open('/vms');
    looker.on('vm:status', (summary: VmSummary) => told.push(summary));
    await new Promise<void>((resolve) => {
      looker.once('connect', resolve);
    });
    const made = await server.client.call('tryVm');
    await finished(made.operation);
    await until('running', async () => (await vmOf(made.vm.id)).status === 'running');
    vm = await vmOf(made.vm.id);
    await untilSaid(vm, 'vmo-guest ready');
  }, 120_000);
  afterAll(async () => {
    for (const socket of sockets) socket.disconnect();
    const { vms } = await server.client.call('listVms', { query: {} });
    for (const { id, allowed } of await Promise.all(vms.map((one) => vmOf(one.id)))) {
      if (allowed.includes('force-stop')) await act(id, 'force-stop');
    }
    await server[Symbol.asyncDispose]();
  });

  it('runs after one click, and whoever looks is told', () => {
    expect(vm).toMatchObject({ name: 'tiny-1', status: 'running', memoryMib: 256, endedBy: null });
    expect(vm.ports).toMatchObject([{ guest: 22 }]);
    expect(new Set(told.map(({ status }) => status))).toEqual(new Set(['stopped', 'starting', 'running']));
  });

  it('is typed to by whoever took control, and by nobody else', async () => {
    const [writer, viewer] = [open('/jobs'), open('/jobs')];
    const data = 'echo "sum $((20 + 22))"\n';
    expect(await writer.emitWithAck('job:input', { jobId: vm.jobId, data })).toMatchObject({
      error: { code: 'NOT_IN_CONTROL' },
    });
    expect(await writer.emitWithAck('job:take-control', { jobId: vm.jobId })).toEqual({ ok: true });
    expect(await viewer.emitWithAck('job:input', { jobId: vm.jobId, data })).toMatchObject({
      error: { code: 'NOT_IN_CONTROL' },
    });
    expect(await writer.emitWithAck('job:input', { jobId: vm.jobId, data })).toEqual({ ok: true });
    await untilSaid(vm, 'sum 42');
  });

  it('shows its screen to whoever may see it', async () => {
    const picture = await server.client.download('getVmScreenshot', { params: { vmId: vm.id } });
    expect(picture.headers.get('content-type')).toBe('image/png');
    expect(
      Buffer.from(await picture.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');

    const address = `${server.url.replace('http', 'ws')}/api/v1/vms/${vm.id}/vnc`;
    const screen = new WebSocket(address, ['binary'], {
      headers: { authorization: `Bearer ${server.token}` },
    });
    const [greeting] = (await once(screen, 'message')) as [Buffer];
    expect(greeting.toString()).toMatch(/^RFB 003\.\d+\n$/);
    expect(screen.protocol).toBe('binary');
    screen.send('RFB 003.008\n');
    const [security] = (await once(screen, 'message')) as [Buffer];
    expect(security[0]).toBeGreaterThan(0);
    screen.close();
    await once(screen, 'close');
  });

  it.each([
    ['without a credential', {}, 401],
    ['with a wrong token', { authorization: 'Bearer wrong' }, 401],
    ['with a cookie and no Origin', { cookie: 'vmo_session=x' }, 403],
    ['from a foreign page', { authorization: 'Bearer RIGHT', origin: 'http://evil.com' }, 403],
  ])('shows its screen to nobody %s', async (_how, headers, status) => {
    const filled = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replace('RIGHT', server.token)]),
    );
    const screen = new WebSocket(`${server.url.replace('http', 'ws')}/api/v1/vms/${vm.id}/vnc`, ['binary'], {
      headers: filled,
    });
    const [error] = (await once(screen, 'error')) as [Error];
    expect(error.message).toContain(String(status));
  });

  it('survives the death of the server, and is the same afterwards', async () => {
    await server.kill();
    await server.restart();
    await until('running', async () => (await vmOf(vm.id)).status === 'running');
    expect(await vmOf(vm.id)).toMatchObject({ pid: vm.pid, jobId: vm.jobId, ports: vm.ports });
    await act(vm.id, 'pause');
    expect((await vmOf(vm.id)).status).toBe('paused');
    await act(vm.id, 'resume');
  });

  it('is a crashed one when its process is killed, and says so', async () => {
    process.kill(vm.pid ?? 0, 'SIGKILL');
    await until('crashed', async () => (await vmOf(vm.id)).status === 'crashed', 10_000);
    expect(await vmOf(vm.id)).toMatchObject({ endedBy: 'crash', allowed: ['start'] });
  });

  it('starts again, with a new log, and is stopped by its power button', async () => {
    await act(vm.id, 'start');
    const again = await vmOf(vm.id);
    expect(again.jobId).not.toBe(vm.jobId);
    await untilSaid(again, 'vmo-guest ready');
    await act(vm.id, 'stop');
    expect(await vmOf(vm.id)).toMatchObject({ status: 'stopped', endedBy: 'acpi' });
    expect(await console(again)).toContain('Power down');
  });

  it('takes images as bytes only, from our own pages', async () => {
    const url = `${server.url}/api/v1/images`;
    const authorization = `Bearer ${server.token}`;
    const body = Buffer.alloc(1024 * 1024, 'x');
    await server.client.call('createImage', { body: { name: 'up.raw', sizeBytes: body.length } });
    const put = (headers: Record<string, string>, offset = 0) =>
      fetch(`${url}/up.raw/bytes?offset=${offset}`, {
        method: 'PUT',
        headers: { authorization, ...headers },
        body,
      });
    expect((await put({ 'content-type': 'application/json' })).status).toBe(415);
    expect(
      (await put({ 'content-type': 'application/octet-stream', origin: 'http://evil.com' })).status,
    ).toBe(403);
    const wrong = await put({ 'content-type': 'application/octet-stream' }, 5);
    expect(await wrong.json()).toMatchObject({ code: 'WRONG_OFFSET', issues: [{ message: '0' }] });
    const taken = await put({ 'content-type': 'application/octet-stream' });
    expect(await taken.json()).toMatchObject({ image: { state: 'ready', format: 'raw' } });
  });
});
