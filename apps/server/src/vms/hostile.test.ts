import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Vm, VmId, VmOperation } from '@vmo/contract';
import { findProgram, findSmallGuestParts, smallGuestKernelArguments } from '@vmo/hypervisor';
import { startTestServer, until as untilTrue, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/* F13: what people write into names and arguments is refused, or stays one literal argument. Real server, real QEMU. */

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
const bootMs = 60_000;
const until = <T>(what: string, ask: () => Promise<T>) =>
  untilTrue(what, ask, { timeoutMs: bootMs, everyMs: 100 });

let server: TestServer;
/** Nobody may ever make anything in here. */
let place: string;
const canary = () => join(place, 'canary');
const hostile = () => [
  `$(touch ${canary()})`,
  `\`touch ${canary()}\``,
  `x;touch ${canary()};`,
  `x|touch ${canary()}`,
  `x\ntouch ${canary()}`,
  `x,script=${canary()}`,
  `x,file=${canary()},if=none`,
  `-drive file=${canary()}`,
  `--daemonize`,
  `../../canary`,
  canary(),
];

const call = (path: string, body: object) =>
  fetch(`${server.url}/api/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
const vmOf = async (vmId: VmId): Promise<Vm> => (await server.client.call('getVm', { params: { vmId } })).vm;
const ended = ({ id: operationId }: VmOperation): Promise<VmOperation> =>
  until('the end of the operation', async () => {
    const { operation } = await server.client.call('getOperation', { params: { operationId } });
    return operation.finishedAt !== null && operation;
  });
const start = async (vmId: VmId): Promise<VmOperation> => {
  const asked = await server.client.call('actOnVm', { params: { vmId }, body: { action: 'start' } });
  return ended(asked.operation);
};

describe.skipIf(!isThere)('hostile words', () => {
  beforeAll(async () => {
    server = await startTestServer();
    place = join(server.startDirectory, 'place');
    await mkdir(place);
  }, 60_000);
  afterAll(async () => {
    const { vms } = await server.client.call('listVms', { query: {} });
    const vmIds = vms.filter(({ status }) => status !== 'stopped').map(({ id }) => id);
    if (vmIds.length > 0) {
      const { operations } = await server.client.call('actOnVms', { body: { vmIds, action: 'force-stop' } });
      await Promise.all(operations.map(ended));
    }
    await server[Symbol.asyncDispose]();
  });

  it('as names of machines, images, disks, snapshots and bridges are refused, and nothing is made', async () => {
    const size = { diskSizeBytes: 1024 * 1024 };
    for (const words of hostile()) {
      const asked: [string, object][] = [
        ['/vms', { name: words, ...size }],
        ['/vms', { name: 'a', image: words }],
        ['/vms', { name: 'a', ...size, boot: { from: 'kernel', kernel: words } }],
        ['/vms', { name: 'a', ...size, network: { mode: 'bridge', bridge: words } }],
        ['/images', { name: words, sizeBytes: 1 }],
        ['/disks', { name: words, sizeBytes: 1024 * 1024 }],
        ['/disks', { name: 'a', image: words }],
        ['/templates', { name: words }],
      ];
      for (const [path, body] of asked) {
        const answer = await call(path, body);
        expect({ words, path, status: answer.status }).toEqual({ words, path, status: 422 });
        expect(await answer.json()).toMatchObject({ code: 'INVALID_INPUT' });
      }
    }
    expect(readdirSync(place)).toEqual([]);
    expect((await server.client.call('listVms', { query: {} })).total).toBe(0);
    expect((await server.client.call('listDisks')).disks).toEqual([]);
  });

  it('as arguments of a kernel are one argument of QEMU, and reach the guest as they are', async () => {
    // Builds the small guest, whose files are images afterwards.
    const { vm: tiny, operation } = await server.client.call('tryVm');
    expect(await ended(operation)).toMatchObject({ status: 'done' });
    const { boot } = await vmOf(tiny.id);
    if (boot.from !== 'kernel') throw new Error('the small guest boots a kernel');
    const append = `${smallGuestKernelArguments.replace('quiet ', '')} ${hostile().join(' ')}`;
    const { vm } = await server.client.call('createVm', {
      body: { name: 'hostile', memoryMib: 256, boot: { ...boot, append }, network: { mode: 'none' } },
    });
    expect(await start(vm.id)).toMatchObject({ status: 'done' });
    const { pid, jobId } = await vmOf(vm.id);
    const argv = (await readFile(`/proc/${String(pid)}/cmdline`, 'utf8')).split('\0');
    expect(argv.filter((word) => word === append)).toHaveLength(1);
    expect(argv[argv.indexOf(append) - 1]).toBe('-append');
    expect(argv.filter((word) => word !== append && word.includes('canary'))).toEqual([]);
    if (jobId === null) throw new Error('it has no run');
    await until('the guest to be up', async () => {
      const log = await server.client.download('getLog', { params: { jobId }, query: { stream: 'boot' } });
      const text = await log.text();
      return text.includes('vmo-guest ready') && text.includes(`$(touch ${canary()})`);
    });
    expect(existsSync(canary())).toBe(false);
    expect(readdirSync(place)).toEqual([]);
  }, 120_000);

  it('a bridge that this host has not is named, and the machine stays stopped', async () => {
    const { vm, operation } = await server.client.call('createVm', {
      body: { name: 'bridged', diskSizeBytes: 1024 * 1024, network: { mode: 'bridge', bridge: 'vmo-none0' } },
    });
    expect(await ended(operation)).toMatchObject({ status: 'done' });
    const failed = await start(vm.id);
    expect(failed).toMatchObject({ status: 'failed' });
    expect(failed.result).toMatch(/bridge vmo-none0/);
    expect(await vmOf(vm.id)).toMatchObject({ status: 'stopped', pid: null, allowed: ['start'] });
    expect((await vmOf(vm.id)).reason).toMatch(/bridge vmo-none0/);
  });
});
