import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isFinal, type NewRequest, type RequestId, type SimulationRequest } from '@vmo/contract';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { startTestAgent, startTestServer, until, type TestAgent, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/* A server that runs no machine, and an agent with the real QEMU that has nothing of the server's but its address. */

const execute = promisify(execFile);
const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
const patience = { timeout: 180_000 };
const machine = 'guest-with-a-disk';

describe.skipIf(!isThere)('simulation requests on another machine', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({
      env: { VMO_AGENT_COUNT: '0', VMO_AGENT_LEASE_SECONDS: '15', VMO_AGENT_POLL_INTERVAL: '1' },
    });
    await makeTemplate();
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  /** The small guest with a disk that lies on an image: three files that an agent has to bring. */
  async function makeTemplate(): Promise<void> {
    const { client } = server;
    const { uuid } = await client.call('submitRequest', {
      body: { vm_name: 'small-guest', commands: 'true', hold: true },
    });
    await client.call('deleteRequest', { params: { requestId: uuid } });
    const path = join(server.startDirectory, 'base.qcow2');
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', path, '16M']);
    const bytes = await readFile(path);
    await client.call('createImage', { body: { name: 'base.qcow2', sizeBytes: bytes.length } });
    await client.upload('putImageBytes', {
      ...{ params: { imageName: 'base.qcow2' }, query: { offset: 0 } },
      bytes: new Blob([new Uint8Array(bytes)]),
    });
    await client.call('createTemplate', {
      body: {
        ...{ name: machine, memoryMib: 256, image: 'base.qcow2' },
        ...{
          kernel: 'small-guest.kernel',
          initrd: 'small-guest.initrd',
          append: 'console=ttyS0 quiet panic=-1',
        },
      },
    });
  }

  const submit = async (request: Omit<NewRequest, 'vm_name'>): Promise<RequestId> =>
    (await server.client.call('submitRequest', { body: { vm_name: machine, ...request } })).uuid;
  const get = (uuid: RequestId, wait = 0) =>
    server.client.call('getRequest', { params: { requestId: uuid }, query: { wait } });

  async function ended(uuid: RequestId): Promise<SimulationRequest> {
    for (;;) {
      const request = await get(uuid, 20);
      if (isFinal(request.status)) return request;
    }
  }

  async function textOf(
    uuid: RequestId,
    stream: 'stdout' | 'stderr' | 'command' | 'system',
  ): Promise<string> {
    const { logs } = await server.client.call('listRequestLogs', {
      params: { requestId: uuid },
      query: { log_type: stream, limit: 1000 },
    });
    return logs.map(({ output }) => output).join('');
  }
  const says = (uuid: RequestId, words: string) =>
    until(words, async () => (await textOf(uuid, 'stdout')).includes(words), {
      ...{ timeoutMs: 90_000, everyMs: 200 },
    });
  const capacityOf = async ({ name }: TestAgent) =>
    (await server.client.call('listAgents')).agents.find((agent) => agent.name === name)?.capacity;
  const listed = (folder: string) => readdir(folder).then((names) => names.sort());

  it(
    'run there as they do inside the server, also when its agent is killed and told to end meanwhile',
    patience,
    async () => {
      const first = await submit({
        commands: [
          'echo one; echo wrong >&2; sleep 3; echo two',
          { name: 'last', run: 'cat /etc/words; exit 7' },
        ],
        files: [{ path: '/etc/words', content: 'put there\n' }],
        ...{ artifacts: ['/etc/words'], keep_on_failure: true },
      });
      expect(await get(first)).toMatchObject({ message: 'waiting for an agent that takes requests' });
      const cancelled = await submit({ commands: 'echo begun; sleep 600' });
      await using agent = await startTestAgent(server, { name: 'far', env: { VMO_AGENT_COUNT: '2' } });
      const storage = join(agent.dataDirectory, 'storage');
      await says(first, 'one');
      await says(cancelled, 'begun');
      await agent.kill();
      await agent.restart();
      // It takes no more, and goes when what it has is over.
      agent.signal('SIGTERM');
      await server.client.call('deleteRequest', { params: { requestId: cancelled } });

      const failed = await ended(first);
      expect(failed).toMatchObject({
        ...{
          status: 'failed',
          exit_code: 7,
          agent: 'far',
          attempt: 1,
          channel: 'runner',
          log_state: 'verified',
        },
        results: [
          { status: 'done', exit_code: 0, stdout_bytes: 8, stderr_bytes: 6 },
          { status: 'failed', exit_code: 7, name: 'last', stdout_bytes: 10 },
        ],
        artifacts: [{ path: '/etc/words', file_name: 'words', size_bytes: 10 }],
        kept_in: join(storage, 'vms', first),
      });
      expect(await textOf(first, 'stdout')).toBe('one\ntwo\nput there\n');
      expect(await textOf(first, 'stderr')).toBe('wrong\n');
      // Said to whichever of the two asked for it first.
      const said = await Promise.all([first, cancelled].map((id) => textOf(id, 'system')));
      expect(said.join('\n')).toMatch(/^bringing the image base\.qcow2 \(.*\) from the server$/m);
      const artifact = await server.client.download('getArtifact', {
        params: { requestId: first, index: 0 },
      });
      expect(await artifact.text()).toBe('put there\n');

      expect(await ended(cancelled)).toMatchObject({ status: 'cancelled', exit_code: null, agent: 'far' });
      expect(await listed(join(storage, 'vms'))).toEqual([first]);
      expect(await listed(failed.kept_in ?? '')).toEqual(['root.qcow2']);
      // The command that the page shows: what lies there can be copied as a whole.
      const copy = join(agent.dataDirectory, 'kept.qcow2');
      await execute('qemu-img', ['convert', '-O', 'qcow2', join(failed.kept_in ?? '', 'root.qcow2'), copy]);
      const { stdout } = await execute('qemu-img', ['info', '--output=json', copy]);
      expect(JSON.parse(stdout)).toMatchObject({ 'virtual-size': 16 * 1024 * 1024 });
      expect(stdout).not.toContain('backing-filename');
      expect(failed.cannot_open).toBe('its disk lies with the agent far, on another machine');
      // It waits for its agent, which is about to go.
      const params = { requestId: first };
      await server.client.call('bringRequest', { params });
      expect(await agent.exited()).toBe(0);
      const processes = await execute('ps', ['-eo', 'args']);
      expect(processes.stdout).not.toContain(storage);

      // What it has brought is there for the next, under its digest.
      await agent.restart();
      const capacity = await until(
        'the images to be announced',
        async () => {
          const now = await capacityOf(agent);
          return now?.images.length === 3 && now;
        },
        { timeoutMs: 20_000 },
      );
      expect(capacity).toMatchObject({
        slots: { vms: 50, requests: 2 },
        fetchesImages: true,
        ...{ imageCacheBytes: 20 * 1024 ** 3, accelerators: expect.arrayContaining(['tcg']) as string[] },
      });
      expect(await listed(join(storage, 'images'))).toEqual(
        capacity.images.map(({ name, sha256 }) => `${sha256}-${name}`).sort(),
      );

      // An agent that is there again sends what it was asked for, and the machine is made of it here.
      const brought = await until('the disk to be brought', async () => {
        const now = await get(first);
        return now.bringing?.state === 'here' && now;
      });
      expect(brought.cannot_open).toBeNull();
      const query = { start: 'false' } as const;
      const { vm } = await server.client.call('openRequest', { params, query });
      const { disks } = await until('the machine to be made', async () => {
        const { vm: now } = await server.client.call('getVm', { params: { vmId: vm.id } });
        return now.disks[0]?.state === 'attached' && now;
      });
      expect(disks).toMatchObject([{ sizeBytes: 16 * 1024 * 1024 }]);

      // The kept disk goes with its request, when its agent hears of it.
      await server.client.call('deleteRequest', { params: { requestId: first } });
      const left = async () =>
        Promise.all([join(storage, 'vms'), join(agent.dataDirectory, 'machines')].map(listed));
      await until('the kept disk to go, and what it lay on', async () => (await left()).flat().length === 0, {
        timeoutMs: 20_000,
      });
    },
  );
});
