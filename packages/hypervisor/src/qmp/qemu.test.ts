import { describe, expect, it } from 'vitest';
import { until } from '@vmo/testkit';
import { connectQmp, type QmpClient } from './client.ts';
import { QmpError } from './errors.ts';
import { startQemu, watch, type TestQemu } from './testing.ts';

/** QEMU makes its socket a moment after its start. */
const connected = ({ path }: TestQemu): Promise<QmpClient> =>
  until('a monitor', () => connectQmp({ path }).catch(() => null), { timeoutMs: 20_000 });

describe('a client of a real QEMU', () => {
  it('is greeted, asks, and is refused what QEMU refuses', async () => {
    await using qemu = await startQemu('none');
    await using client = await connected(qemu);
    expect(client.greeting.version.major).toBeGreaterThanOrEqual(7);
    expect(client.greeting.capabilities).toContain('oob');
    await expect(client.execute('query-status')).resolves.toMatchObject({ status: 'running', running: true });
    const { version } = client.greeting;
    await expect(client.execute('query-version')).resolves.toMatchObject({ package: version.package });
    await expect(client.execute('device_del', { id: 'none' })).rejects.toMatchObject({
      class: 'DeviceNotFound',
      desc: "Device 'none' not found",
    });
  });

  it('may send all Unicode there is, and gets it back', async () => {
    await using qemu = await startQemu('none');
    await using client = await connected(qemu);
    for (const id of ['ü€😀', '\\ud800', '"\\', '\u2028', '\ufffd', '\u{10fffd}', '\x7f\x01']) {
      await expect(client.execute('device_del', { id })).rejects.toThrow(
        new QmpError('device_del', 'DeviceNotFound', `Device '${id}' not found`),
      );
    }
  });

  it('reads an answer that is there, though this process was held up beyond the time limit', async () => {
    await using qemu = await startQemu('none');
    await using client = await connected(qemu);
    const status = client.execute('query-status', {}, { timeoutMs: 100 });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    await expect(status).resolves.toMatchObject({ running: true });
  });

  it('hears of stop and cont, and how QEMU ends', async () => {
    await using qemu = await startQemu('q35');
    await using client = await connected(qemu);
    const events: string[] = [];
    const causes: string[] = [];
    client.onEvent(({ event }) => events.push(event));
    client.on('SHUTDOWN', ({ data }) => causes.push(data.reason));
    await expect(client.execute('query-status')).resolves.toMatchObject({ status: 'prelaunch' });
    await client.execute('cont');
    await client.execute('stop');
    await expect(client.execute('query-status')).resolves.toMatchObject({ status: 'paused' });
    await client.execute('quit');
    await expect(client.closed).resolves.toMatchObject({
      kind: 'gone',
      message: 'QEMU closed the connection',
    });
    expect(events).toEqual(['RESUME', 'STOP', 'SHUTDOWN']);
    expect(causes).toEqual(['host-qmp-quit']);
    await qemu.exited;
  });

  it('is told the end when QEMU is killed, with what was under way', async () => {
    await using qemu = await startQemu('none');
    await using client = await connected(qemu);
    qemu.process.kill('SIGSTOP');
    const asking = client.execute('query-block');
    qemu.process.kill('SIGKILL');
    await expect(asking).rejects.toThrow('query-block: QEMU closed the connection');
    await expect(client.closed).resolves.toMatchObject({ kind: 'gone' });
  });

  it('says that the monitor may be busy, and is served when the other has gone', async () => {
    await using qemu = await startQemu('none');
    const first = await connected(qemu);
    await expect(connectQmp({ path: qemu.path, timeoutMs: 100 })).rejects.toThrow(/serves another client/);
    const second = connectQmp({ path: qemu.path });
    await first.close();
    await (await second).close();
  });
});

describe('a monitor of a real QEMU', () => {
  it('finds a stopped process silent within 5 s, and answering again when it goes on', async () => {
    await using qemu = await startQemu('q35');
    await using watched = watch({ path: qemu.path, isAlive: qemu.isAlive });
    await watched.next('connected');
    const begin = performance.now();
    qemu.process.kill('SIGSTOP');
    await watched.next('silent');
    expect(performance.now() - begin).toBeLessThan(5000);
    qemu.process.kill('SIGCONT');
    await watched.next('answering');
    expect(watched.calls).toEqual(['connected', 'silent', 'answering']);
  });

  it('asks anew after a connection was lost, and ends when QEMU is killed', async () => {
    await using qemu = await startQemu('q35');
    const states: string[] = [];
    const clients: QmpClient[] = [];
    await using watched = watch({
      path: qemu.path,
      isAlive: qemu.isAlive,
      async onConnected(client) {
        const { status } = await client.execute('query-status');
        states.push(status);
        clients.push(client);
        // The end of the asking, as an event that is told in order.
        await client.execute(status === 'running' ? 'stop' : 'cont');
      },
    });
    await watched.next('RESUME');
    await clients[0]?.close();
    await watched.next('STOP');
    expect(states).toEqual(['prelaunch', 'running']);
    qemu.process.kill('SIGKILL');
    const begin = performance.now();
    await expect(watched.monitor.ended).resolves.toBe('dead');
    expect(performance.now() - begin).toBeLessThan(5000);
  });
});
