import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isFinal, type Disk, type DiskId, type Image, type VmOperation } from '@vmo/contract';
import { mountTmpfs, startTestServer, until, type TestServer, type Tmpfs } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf } from './support/figures.ts';

const mib = 1024 * 1024;

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

async function send(server: TestServer, name: string, bytes: Buffer, offset = 0): Promise<Image> {
  const request = {
    params: { imageName: name },
    query: { offset },
    bytes: new Blob([new Uint8Array(bytes)]),
  };
  return (await server.client.upload('putImageBytes', request)).image;
}

const settled = (server: TestServer, diskId: DiskId): Promise<Disk> =>
  until('the disk to be made, or not', async () => {
    const { disk } = await server.client.call('getDisk', { params: { diskId } });
    return disk.state !== 'creating' && disk.state !== 'growing' && disk;
  });

const ended = (server: TestServer, { id: operationId }: VmOperation): Promise<VmOperation> =>
  until('the end of the operation', async () => {
    const { operation } = await server.client.call('getOperation', { params: { operationId } });
    return operation.finishedAt !== null && operation;
  });

it('F8: a full disk of the storage is told by code, leaves nothing half made, and is over when there is space', async (context) => {
  const figures = figuresOf(context);
  const mount: { disk?: Tmpfs } = {};
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startTestServer({
      prepare: async (dataDirectory) => {
        mount.disk = await mountTmpfs(join(dataDirectory, 'storage'), 16);
      },
    }),
  );
  const { disk } = mount;
  if (!disk) throw new Error('the disk was not mounted');
  stack.use(disk);
  const storage = disk.path;
  const files = async () =>
    (await readdir(storage, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);
  // Bytes that no file system saves room on.
  const bytes = Buffer.alloc(6 * mib, 'full');
  await server.client.call('createImage', { body: { name: 'base.raw', sizeBytes: bytes.length } });
  expect(await send(server, 'base.raw', bytes)).toMatchObject({ state: 'ready' });
  const { vm: source, operation: made } = await server.client.call('createVm', {
    body: { name: 'source', image: 'base.raw' },
  });
  expect(await ended(server, made)).toMatchObject({ status: 'done' });

  // 10 MiB are free or less: the upload takes what there is, and says where it goes on.
  const large = Buffer.alloc(12 * mib, 'more');
  await server.client.call('createImage', { body: { name: 'large.raw', sizeBytes: large.length } });
  const upload = await refusal(send(server, 'large.raw', large));
  figures.upload = upload instanceof CodedError ? `${upload.code}: ${upload.message}` : String(upload);
  expect(upload).toMatchObject({ code: 'STORAGE_FULL' });
  const { image } = await server.client.call('getImage', { params: { imageName: 'large.raw' } });
  expect(image.state).toBe('uploading');
  expect(image.receivedBytes).toBeGreaterThan(0);
  expect(image.receivedBytes).toBeLessThan(large.length);
  const before = await files();

  const asked = { copy: { copy: true }, overlay: {} };
  for (const [what, how] of Object.entries(asked)) {
    const { disk: begun } = await server.client.call('createDisk', {
      body: { name: what, image: 'base.raw', ...how },
    });
    expect(begun.state).toBe('creating');
    const failed = await settled(server, begun.id);
    figures[what] = `${String(failed.code)}: ${String(failed.reason)}`;
    expect(failed).toMatchObject({ state: 'failed', code: 'STORAGE_FULL', usedBytes: null });
    expect(failed.reason).toMatch(/no space/i);
    await server.client.call('deleteDisk', { params: { diskId: begun.id } });
  }
  const made2 = await server.client.call('createVm', { body: { name: 'another', image: 'base.raw' } });
  const cloned = await server.client.call('cloneVm', {
    params: { vmId: source.id },
    body: { name: 'clone' },
  });
  for (const { vm, operation } of [made2, cloned]) {
    const end = await ended(server, operation);
    figures[`${operation.kind} of a machine`] = `${String(end.code)}: ${String(end.result)}`;
    expect(end).toMatchObject({ status: 'failed', code: 'STORAGE_FULL' });
    const { vm: left } = await server.client.call('getVm', { params: { vmId: vm.id } });
    expect(left).toMatchObject({ status: 'stopped', disks: [{ state: 'failed' }] });
    expect(left.reason).toMatch(/no space/i);
    const start = await server.client.call('actOnVm', {
      params: { vmId: vm.id },
      body: { action: 'start' },
    });
    expect(await ended(server, start.operation)).toMatchObject({ status: 'failed', code: 'VM_IMPOSSIBLE' });
    const gone = await server.client.call('deleteVm', { params: { vmId: vm.id } });
    expect(await ended(server, gone.operation)).toMatchObject({ status: 'done' });
  }
  expect(await files()).toEqual(before);

  await disk.resize(64);
  expect(
    await send(server, 'large.raw', large.subarray(image.receivedBytes), image.receivedBytes),
  ).toMatchObject({
    state: 'ready',
  });
  const again = await server.client.call('createDisk', {
    body: { name: 'copy', image: 'base.raw', copy: true },
  });
  const ready = await settled(server, again.disk.id);
  expect(ready).toMatchObject({ state: 'ready', code: null, reason: null, image: null });
  expect((await stat(join(storage, 'disks', `${ready.id}.qcow2`))).size).toBeGreaterThan(6 * mib - 1);
});

it('F8: a request whose disk finds no space on the host ends with that as its reason, and leaves nothing', async () => {
  const mount: { disk?: Tmpfs } = {};
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startTestServer({
      prepare: async (dataDirectory) => {
        mount.disk = await mountTmpfs(join(dataDirectory, 'storage'), 64);
      },
    }),
  );
  const { disk } = mount;
  if (!disk) throw new Error('the disk was not mounted');
  stack.use(disk);
  // Builds the small guest.
  const held = { vm_name: 'small-guest', commands: 'true', hold: true };
  const { uuid: unused } = await server.client.call('submitRequest', { body: held });
  await server.client.call('deleteRequest', { params: { requestId: unused } });
  const boot = { from: 'kernel', kernel: 'small-guest.kernel', initrd: 'small-guest.initrd' } as const;
  const { operation } = await server.client.call('createVm', {
    body: {
      ...{ name: 'large', memoryMib: 256, diskSizeBytes: 512 * mib, start: false },
      boot: { ...boot, append: 'console=ttyS0 quiet cryptomgr.notests' },
    },
  });
  expect(await ended(server, operation)).toMatchObject({ status: 'done' });
  const commands = ['echo before', 'cat /dev/urandom >/dev/vda'];
  const { uuid } = await server.client.call('submitRequest', {
    body: { vm_name: 'large', commands, keep_on_failure: true },
  });
  const request = await until(
    'the request to end',
    async () => {
      const now = await server.client.call('getRequest', { params: { requestId: uuid } });
      return isFinal(now.status) && now;
    },
    { timeoutMs: 90_000, everyMs: 200 },
  );
  expect(request).toMatchObject({
    status: 'failed',
    message: 'no space is left on this host for its disk, while command 2 of 2 ran',
    results: [{ status: 'done' }, { status: 'failed', exit_code: null }],
  });
  await server.client.call('deleteRequest', { params: { requestId: uuid } });
  const root = join(disk.path, 'vms');
  await until('its folder to go', async () => !(await readdir(root)).includes(uuid));
});
