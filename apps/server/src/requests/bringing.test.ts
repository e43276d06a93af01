import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createHttpAgentApi } from '@vmo/agent';
import { agentContractVersion, perStream, type RequestId } from '@vmo/contract';
import { findProgram } from '@vmo/hypervisor';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';

/* The agent's part is played here, so that it can be cut anywhere; a real one does it in remote.test.ts. */

const execute = promisify(execFile);
const isThere = findProgram('qemu-img') !== null && findProgram('qemu-system-x86_64') !== null;
const mib = 1024 * 1024;
const words = 'written by the guest';

describe.skipIf(!isThere)('the kept disk of a request on another machine', () => {
  let server: TestServer;
  let api: ReturnType<typeof createHttpAgentApi>;
  /** The overlay as it lies with its agent, on an image that is called otherwise there. */
  let disk: Buffer;
  let image: { sha256: string; sizeBytes: number };
  const signal = new AbortController().signal;
  const none = { exitCode: null, startedAt: null, finishedAt: null, stdoutBytes: null, stderrBytes: null };
  const capacity = () => ({
    slots: { jobs: 0, vms: 0, requests: 2 },
    ...{ cpus: 2, memoryMib: 4096, accelerators: ['tcg'] },
    ...{ images: [{ name: 'base.qcow2', sha256: image.sha256 }], fetchesImages: false, imageCacheBytes: 0 },
  });
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  const fileOf = (bytes: Buffer) => ({ files: [{ sizeBytes: bytes.length, sha256: sha256(bytes) }] });
  const half = () => Math.floor(disk.length / 2);
  const get = (requestId: RequestId) =>
    server.client.call('getRequest', { params: { requestId }, query: {} });
  const bring = (requestId: RequestId) => server.client.call('bringRequest', { params: { requestId } });
  const wanted = async () => (await api.renew({ capacity: capacity(), leaving: false, left: [] })).wanted;
  const when = (id: RequestId, state: string) =>
    until(`it to be ${state}`, async () => {
      const { bringing } = await get(id);
      return bringing?.state === state && bringing;
    });

  beforeAll(async () => {
    server = await startTestServer({ env: { VMO_AGENT_COUNT: '0', VMO_MAX_KEPT_GIB: '1' } });
    const folder = server.startDirectory;
    const base = join(folder, 'base.qcow2');
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', base, '8M']);
    const bytes = await readFile(base);
    image = { sha256: sha256(bytes), sizeBytes: bytes.length };
    await server.client.call('createImage', { body: { name: 'base.qcow2', sizeBytes: bytes.length } });
    await server.client.upload('putImageBytes', {
      ...{ params: { imageName: 'base.qcow2' }, query: { offset: 0 } },
      bytes: new Blob([new Uint8Array(bytes)]),
    });
    const raw = join(folder, 'content.raw');
    await writeFile(raw, Buffer.concat([Buffer.from(words), Buffer.alloc(8 * mib - words.length)]));
    const overlay = join(folder, 'overlay.qcow2');
    await execute('qemu-img', ['convert', '-O', 'qcow2', '-B', base, '-F', 'qcow2', raw, overlay]);
    await execute('qemu-img', ['rebase', '-u', '-b', '/far/away.qcow2', '-F', 'qcow2', overlay]);
    disk = await readFile(overlay);
    const { token } = await server.client.call('addAgent', { body: { name: 'far' } });
    api = createHttpAgentApi({ baseUrl: server.url, token, timeouts: { renewMs: 20_000, callMs: 20_000 } });
    await api.hello({
      ...{ contract: agentContractVersion, version: 'test', installation: newId(), capacity: capacity() },
    });
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  /** One that has failed, and of which the agent has kept the disk. */
  async function failed(): Promise<RequestId> {
    const body = { vm_name: 'base', commands: 'false', keep_on_failure: true };
    const { uuid } = await server.client.call('submitRequest', { body });
    const [job] = await api.claim({
      ...{ jobs: 0, vms: 0, requests: 1, cpus: 2, memoryMib: 4096, machines: null },
    });
    expect(job?.id).toBe(uuid);
    const ref = { jobId: uuid, fence: job?.fence ?? 0 };
    await api.started(ref, new Date(), []);
    await api.progress(ref, {
      ...{ channel: 'runner', readyAt: null, artifacts: [], kept: true, keptIn: '/far/vms' },
      commands: [{ ...none, status: 'failed' }],
    });
    const at = new Date();
    await api.finish(
      ref,
      {
        ...{ status: 'failed', exitCode: 1, signal: null, reason: null, verified: true, dead: true },
        ...{ startedAt: at, finishedAt: at, lines: [] },
      },
      perStream(() => 0),
    );
    return uuid;
  }

  it('comes piece by piece, goes on where it was cut, and is opened as one of this machine', async () => {
    const id = await failed();
    expect(await get(id)).toMatchObject({
      cannot_open: 'its disk lies with the agent far, on another machine',
      bringing: null,
    });
    expect(await wanted()).toEqual([]);
    expect(await api.kept(id, fileOf(disk))).toBeNull();
    const asked = { state: 'waiting', received_bytes: 0, size_bytes: null, reason: null };
    expect(await bring(id)).toMatchObject({ bringing: asked });
    expect(await bring(id)).toMatchObject({ bringing: asked });
    expect(await wanted()).toEqual([id]);

    expect(await api.kept(id, fileOf(disk))).toEqual([0]);
    expect(await api.keptPiece(id, 0, 0, disk.subarray(0, half()), signal)).toBe(half());
    expect(await get(id)).toMatchObject({
      bringing: { state: 'sending', received_bytes: half(), size_bytes: disk.length },
    });
    // Neither a repeat nor a gap changes anything.
    expect(await api.keptPiece(id, 0, 0, disk.subarray(0, 10), signal)).toBe(half());
    expect(await api.keptPiece(id, 0, half() + 1, disk.subarray(half() + 1), signal)).toBe(half());
    await server.kill();
    await server.restart();
    expect(await wanted()).toEqual([id]);
    expect(await api.keptPiece(id, 0, half(), disk.subarray(half()), signal)).toBeNull();
    expect(await api.kept(id, fileOf(disk))).toEqual([half()]);
    expect(await api.keptPiece(id, 0, half(), disk.subarray(half()), signal)).toBe(disk.length);
    await when(id, 'here');
    expect(await wanted()).toEqual([]);

    expect(await get(id)).toMatchObject({ cannot_open: null });
    const { vm } = await server.client.call('openRequest', {
      params: { requestId: id },
      query: { start: 'false' },
    });
    const opened = await until('the machine to be made', async () => {
      const { vm: now } = await server.client.call('getVm', { params: { vmId: vm.id } });
      return now.disks[0]?.state === 'attached' && now;
    });
    expect(opened.disks).toMatchObject([{ sizeBytes: 8 * mib }]);
    const copy = join(server.startDirectory, 'copy.raw');
    const storage = join(server.dataDirectory, 'storage');
    await execute('qemu-img', [
      ...['convert', '-f', 'qcow2', '-O', 'raw', join(storage, 'vms', vm.id, 'root.qcow2'), copy],
    ]);
    expect((await readFile(copy)).subarray(0, words.length).toString()).toBe(words);
  });

  it('is not taken when it is damaged, too large, gone, or rests on what is not here; then it can be asked for again', async () => {
    const id = await failed();
    const failsWith = async (reason: RegExp) => {
      expect(await when(id, 'failed')).toMatchObject({ received_bytes: 0 });
      expect((await get(id)).bringing?.reason).toMatch(reason);
      expect(await wanted()).toEqual([]);
      await bring(id);
    };
    await bring(id);
    expect(await api.kept(id, { files: [{ sizeBytes: disk.length, sha256: 'f'.repeat(64) }] })).toEqual([0]);
    await api.keptPiece(id, 0, 0, disk, signal);
    await failsWith(/^the disk came damaged: ask for it again$/);
    expect(await api.kept(id, { files: [{ sizeBytes: 2 * 1024 ** 3, sha256: sha256(disk) }] })).toBeNull();
    await failsWith(/^it has 2 GiB, and this server takes 1 GiB at most \(VMO_MAX_KEPT_GIB\)$/);
    expect(await api.kept(id, { files: [] })).toBeNull();
    await failsWith(/^its agent has not got it any more$/);
    const raw = Buffer.alloc(mib, 1);
    expect(await api.kept(id, fileOf(raw))).toEqual([0]);
    await api.keptPiece(id, 0, 0, raw, signal);
    await failsWith(/qcow2/);

    expect(await api.kept(id, fileOf(disk))).toEqual([0]);
    const { images } = await server.client.call('listImages');
    expect(images.map(({ name }) => name)).toContain('base.qcow2');
    await api.keptPiece(id, 0, 0, disk, signal);
    await when(id, 'here');
    const other = await failed();
    const { vms } = await server.client.call('listVms', { query: {} });
    for (const { id: vmId } of vms)
      await server.client.call('deleteVm', { params: { vmId }, query: { disks: 'true' } });
    await until('the image to be free', () =>
      server.client.call('deleteImage', { params: { imageName: 'base.qcow2' } }).then(
        () => true,
        () => false,
      ),
    );
    await expect(bring(other)).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: 'the disk rests on the image base.qcow2, which is not on the server any more',
    });
  });
});
