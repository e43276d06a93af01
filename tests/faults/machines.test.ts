import { readdirSync, readFileSync } from 'node:fs';
import { isVmLive, type Vm, type VmAction, type VmId, type VmStatus } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong, spread, stopwatch } from './support/figures.ts';
import { meddle } from './support/monitor.ts';

const count = 20;

async function vmOf(server: TestServer, vmId: VmId): Promise<Vm> {
  return (await server.client.call('getVm', { params: { vmId } })).vm;
}

function reached(server: TestServer, vmId: VmId, ...statuses: VmStatus[]): Promise<Vm> {
  return until(
    `the machine to be ${statuses.join(' or ')}`,
    async () => {
      const vm = await vmOf(server, vmId);
      return statuses.includes(vm.status) && vm;
    },
    { timeoutMs: 60_000, everyMs: 50 },
  );
}

/** Machines without an operating system: they run for ever and cost next to nothing. */
async function startMachines(server: TestServer, howMany: number): Promise<Vm[]> {
  const made = await Promise.all(
    Array.from({ length: howMany }, (_, index) =>
      server.client.call('createVm', {
        body: {
          name: `machine-${String(index)}`,
          diskSizeBytes: 1024 * 1024,
          memoryMib: 32,
          network: { mode: 'none' },
          display: 'none',
          start: true,
        },
      }),
    ),
  );
  return Promise.all(made.map(({ vm }) => reached(server, vm.id, 'running')));
}

/** Every QEMU on this machine that says it is one of these, by machine. */
function processesOf(vms: readonly Vm[]): Map<string, number[]> {
  const found = new Map<string, number[]>(vms.map(({ id }) => [id, []]));
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      const isQemu = readFileSync(`/proc/${name}/comm`, 'utf8').includes('qemu-system');
      if (isQemu) found.get(words[words.indexOf('-uuid') + 1] ?? '')?.push(Number(name));
    } catch {
      // It has just ended.
    }
  }
  return found;
}

async function stopAll(server: TestServer, vms: readonly Vm[]): Promise<void> {
  await server.client.call('actOnVms', { body: { vmIds: vms.map(({ id }) => id), action: 'force-stop' } });
  for (const { id } of vms) await reached(server, id, 'stopped', 'crashed');
  expect([...processesOf(vms).values()].flat()).toEqual([]);
}

it('F18: a server that is killed again and again finds its twenty machines, and starts none twice', async (context) => {
  const figures = figuresOf(context);
  const kills = isLong ? 20 : 6;
  await using server = await startTestServer();
  const began = stopwatch();
  const vms = await startMachines(server, count);
  figures.machines = `${String(count)} running after ${(began() / 1000).toFixed(1)} s`;
  const pids = new Map(vms.map(({ id, pid }) => [id, pid]));
  const found: number[] = [];
  for (let kill = 0; kill < kills; kill++) {
    await server.kill();
    const elapsed = stopwatch();
    await server.restart();
    // Rows survive by themselves: that each machine obeys shows that it is in hand again.
    const vmIds = vms.map(({ id }) => id);
    await server.client.call('actOnVms', { body: { vmIds, action: 'pause' } });
    for (const { id } of vms) await reached(server, id, 'paused');
    found.push(elapsed());
    await server.client.call('actOnVms', { body: { vmIds, action: 'resume' } });
    for (const { id } of vms) await reached(server, id, 'running');
    for (const { id, jobId } of vms) {
      const vm = await vmOf(server, id);
      expect({ status: vm.status, pid: vm.pid, jobId: vm.jobId }).toEqual({
        status: 'running',
        pid: pids.get(id),
        jobId,
      });
    }
    expect([...processesOf(vms).values()].map(({ length }) => length)).toEqual(vms.map(() => 1));
  }
  figures.kills = kills;
  figures['all in hand again and paused, from the kill'] = spread(found);
  await stopAll(server, vms);
});

it('F17: a QEMU that is killed or hangs is seen within five seconds, and is nobody else’s trouble', async (context) => {
  const figures = figuresOf(context);
  await using server = await startTestServer();
  const [killed, hung, other] = await startMachines(server, 3);
  if (!killed || !hung || !other) throw new Error('three machines were asked for');

  process.kill(killed.pid ?? 0, 'SIGKILL');
  let elapsed = stopwatch();
  const crashed = await reached(server, killed.id, 'crashed');
  figures['death seen after'] = `${(elapsed() / 1000).toFixed(2)} s`;
  expect(elapsed()).toBeLessThan(5_000);
  expect(crashed.reason).not.toBeNull();

  process.kill(hung.pid ?? 0, 'SIGSTOP');
  elapsed = stopwatch();
  await reached(server, hung.id, 'unknown');
  figures['silence seen after'] = `${(elapsed() / 1000).toFixed(2)} s`;
  expect(elapsed()).toBeLessThan(5_000);
  const { operation } = await server.client.call('actOnVm', {
    params: { vmId: hung.id },
    body: { action: 'force-stop' },
  });
  await server.client.call('actOnVm', { params: { vmId: other.id }, body: { action: 'pause' } });
  await reached(server, other.id, 'paused');
  await reached(server, hung.id, 'stopped', 'crashed');
  const done = await until('the end of the operation', async () => {
    const { operation: now } = await server.client.call('getOperation', {
      params: { operationId: operation.id },
    });
    return now.finishedAt !== null && now;
  });
  expect(done.status).toBe('done');
  expect(isVmLive((await vmOf(server, other.id)).status)).toBe(true);
  await stopAll(server, [other]);
});

it.each(['silent', 'garbage'] as const)(
  'F17: a monitor that is %s makes its own machine unknown within five seconds, until it speaks again',
  async (mode) => {
    await using server = await startTestServer();
    const [ill, other] = await startMachines(server, 2);
    if (!ill || !other) throw new Error('two machines were asked for');
    const act = async (vm: Vm, action: VmAction) => {
      const asked = await server.client.call('actOnVm', { params: { vmId: vm.id }, body: { action } });
      return () =>
        until(
          `the end of ${action}`,
          async () => {
            const params = { operationId: asked.operation.id };
            const { operation } = await server.client.call('getOperation', { params });
            return operation.finishedAt !== null && operation;
          },
          { timeoutMs: 20_000, everyMs: 100 },
        );
    };
    await server.kill();
    await using monitor = await meddle(server, ill.id);
    await server.restart();
    expect(await (await act(ill, 'pause'))()).toMatchObject({ status: 'done' });
    expect(await (await act(ill, 'resume'))()).toMatchObject({ status: 'done' });

    monitor.become(mode);
    const elapsed = stopwatch();
    // Asked for before anybody can know of it.
    const reset = await act(ill, 'reset');
    const unknown = await reached(server, ill.id, 'unknown');
    expect(elapsed()).toBeLessThan(5_000);
    expect(unknown).toMatchObject({ pid: ill.pid, allowed: ['force-stop'] });
    expect(unknown.reason).toContain('does not answer');
    expect(await (await act(other, 'pause'))()).toMatchObject({ status: 'done' });
    expect(await reset()).toMatchObject({
      status: 'failed',
      result: expect.stringMatching(/does not answer|does not run/) as string,
    });
    await expect(act(ill, 'pause')).rejects.toMatchObject({ code: 'VM_WRONG_STATE' });

    monitor.become('pass');
    await reached(server, ill.id, 'running', 'paused');
    expect((await vmOf(server, ill.id)).pid).toBe(ill.pid);
    expect(await (await act(ill, 'pause'))()).toMatchObject({ status: 'done' });
    await stopAll(server, [ill, other]);
  },
  120_000,
);
