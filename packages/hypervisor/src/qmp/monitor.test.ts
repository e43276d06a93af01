import { qmpLine, startFakeQmp, type FakeQmp, type FakeQmpConnection } from '@vmo/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QmpClosedError } from './errors.ts';
import { startQmpMonitor } from './monitor.ts';
import { watch } from './testing.ts';

let fake: FakeQmp;
beforeEach(async () => {
  fake = await startFakeQmp();
});
afterEach(() => fake[Symbol.asyncDispose]());

const running = { running: true, singlestep: false, status: 'running' };

async function welcomed(): Promise<FakeQmpConnection> {
  const qemu = await fake.connection();
  await qemu.welcome();
  return qemu;
}

describe('a monitor', () => {
  it('asks again after every connection, and tells what ended each', async () => {
    const names: unknown[] = [];
    await using watched = watch({
      path: fake.path,
      onConnected: async (client) => void names.push(await client.execute('query-name')),
    });
    for (const [name, act] of [
      ['first', (qemu: FakeQmpConnection) => qemu.end()],
      ['second', (qemu: FakeQmpConnection) => qemu.raw('garbage\n')],
      ['third', (qemu: FakeQmpConnection) => qemu.event('STOP')],
    ] as const) {
      const qemu = await welcomed();
      qemu.answer(await qemu.command(), { name });
      act(qemu);
    }
    await watched.next('STOP');
    expect(watched.calls).toEqual([
      ...['connected', 'disconnected: gone', 'connected', 'disconnected: protocol', 'connected', 'STOP'],
    ]);
    expect(names).toEqual([{ name: 'first' }, { name: 'second' }, { name: 'third' }]);
    expect(watched.monitor.state).toBe('connected');
  });

  it('tries again until the socket exists', async () => {
    let attempts = 0;
    const { path } = fake;
    await fake[Symbol.asyncDispose]();
    const { promise: tried, resolve } = Promise.withResolvers<undefined>();
    await using watched = watch({
      path,
      isAlive: () => {
        if (++attempts === 3) resolve(undefined);
        return true;
      },
    });
    await tried;
    expect(watched.calls).toEqual([]);
    expect(watched.monitor.state).toBe('connecting');
    fake = await startFakeQmp();
  });

  it('is over when the VM is', async () => {
    let alive = true;
    await using watched = watch({ path: fake.path, isAlive: async () => alive });
    const qemu = await welcomed();
    await watched.next('connected');
    alive = false;
    qemu.end();
    await expect(watched.monitor.ended).resolves.toBe('dead');
    expect(watched.monitor.state).toBe('ended');
    expect(watched.calls).toEqual(['connected', 'disconnected: gone']);
  });

  it('does not bury a VM of which nobody can say whether it lives', async () => {
    const errors: unknown[] = [];
    await using watched = watch({
      path: fake.path,
      onError: (error) => errors.push(error),
      isAlive: async () => Promise.reject(new Error('/proc is full')),
    });
    (await welcomed()).end();
    await welcomed();
    await watched.next('connected');
    await watched.next('connected');
    expect(errors).toEqual([new Error('/proc is full')]);
  });

  it('connects anew when what must be asked after connecting is refused', async () => {
    await using watched = watch({
      path: fake.path,
      onConnected: async (client) => {
        await client.execute('query-block');
      },
    });
    const first = await welcomed();
    first.refuse(await first.command(), 'GenericError', 'not now');
    await watched.next('disconnected: requery');
    const second = await welcomed();
    second.answer(await second.command(), []);
    second.event('RESUME');
    await watched.next('RESUME');
    expect(watched.calls).toEqual(['connected', 'disconnected: requery', 'connected', 'RESUME']);
  });

  it('tells of a lost connection at once, and connects again only when the asking is over', async () => {
    const asking = Promise.withResolvers<undefined>();
    await using watched = watch({ path: fake.path, onConnected: () => asking.promise });
    (await welcomed()).end();
    await watched.next('disconnected: gone');
    expect(watched.monitor.state).toBe('connecting');
    asking.resolve(undefined);
    await welcomed();
    await watched.next('connected');
  });

  it('goes on when what it calls fails', async () => {
    const errors: unknown[] = [];
    const fail = () => {
      throw new Error('no');
    };
    let connections = 0;
    const { promise: again, resolve } = Promise.withResolvers<undefined>();
    await using monitor = startQmpMonitor({
      path: fake.path,
      isAlive: () => true,
      onConnected() {
        if (++connections === 2) resolve(undefined);
      },
      onDisconnected: fail,
      onEvent: fail,
      onError: (error) => errors.push(error),
    });
    const first = await welcomed();
    first.event('STOP');
    first.end();
    const second = await welcomed();
    await again;
    const status = monitor.execute('query-name');
    second.answer(await second.command(), {});
    await status;
    expect(errors).toEqual([new Error('no'), new Error('no')]);
  });
});

describe('execute of a monitor', () => {
  it('is that of the connection', async () => {
    await using watched = watch({ path: fake.path });
    const qemu = await welcomed();
    await watched.next('connected');
    const name = watched.monitor.execute('query-name');
    qemu.answer(await qemu.command(), { name: 'n' });
    await expect(name).resolves.toEqual({ name: 'n' });
  });

  it('says at once why there is no connection: not yet, not any more, closed', async () => {
    const asking = Promise.withResolvers<undefined>();
    const watched = watch({ path: fake.path, onConnected: () => asking.promise });
    await expect(watched.monitor.execute('stop')).rejects.toThrow('stop: not connected to QEMU yet');
    (await welcomed()).end();
    await watched.next('disconnected: gone');
    await expect(watched.monitor.execute('stop')).rejects.toThrow(
      new QmpClosedError('stop', { kind: 'gone', message: 'QEMU closed the connection' }),
    );
    asking.resolve(undefined);
    await watched.monitor.close();
    await expect(watched.monitor.execute('stop')).rejects.toThrow('stop: the monitor was closed');
  });
});

describe('the heartbeat', () => {
  const quick = { heartbeatMs: 1, silentAfterMs: 30 };

  it('asks one question at a time, and tells silence once and its end once', async () => {
    await using watched = watch({ path: fake.path, ...quick });
    const qemu = await welcomed();
    const question = await qemu.command();
    expect(question.execute).toBe('query-status');
    await watched.next('silent');
    expect(watched.monitor).toMatchObject({ answering: false, state: 'connected' });
    // Were there a second question, it would come before this command.
    void watched.monitor.execute('query-name');
    expect((await qemu.command()).execute).toBe('query-name');
    qemu.answer(question, running);
    await watched.next('answering');
    expect(watched.monitor.answering).toBe(true);
    expect(watched.calls).toEqual(['connected', 'silent', 'answering']);
  });

  it('takes a refusal for a sign of life', async () => {
    await using watched = watch({ path: fake.path, ...quick });
    const qemu = await welcomed();
    qemu.refuse(await qemu.command(), 'GenericError', 'no');
    qemu.answer(await qemu.command(), running);
    qemu.event('STOP');
    await watched.next('STOP');
    expect(watched.calls).not.toContain('disconnected: protocol');
  });

  it('finds silence where a greeting is missing, and takes the greeting when it comes', async () => {
    await using watched = watch({ path: fake.path, ...quick });
    const qemu = await fake.connection();
    await watched.next('silent');
    await qemu.welcome();
    await watched.next('connected');
    expect(watched.calls.slice(0, 3)).toEqual(['silent', 'answering', 'connected']);
  });

  it('tries another connection when a greeting is missing for too long', async () => {
    await using watched = watch({ path: fake.path, greetingTimeoutMs: 40, silentAfterMs: 20 });
    await (
      await fake.connection()
    ).closed;
    await welcomed();
    await watched.next('connected');
    expect(watched.calls).toEqual(['silent', 'answering', 'connected']);
  });

  it('ends silence by the end of the connection, too', async () => {
    await using watched = watch({ path: fake.path, ...quick });
    const qemu = await welcomed();
    await watched.next('silent');
    qemu.end();
    await watched.next('disconnected: gone');
    expect(watched.monitor.answering).toBe(true);
  });
});

describe('close', () => {
  it('ends the connection, and nothing is called any more', async () => {
    const watched = watch({ path: fake.path });
    const qemu = await welcomed();
    await watched.next('connected');
    await watched.monitor.close();
    await expect(watched.monitor.ended).resolves.toBe('closed');
    await qemu.closed;
    expect(watched.calls).toEqual(['connected']);
  });

  it('ends an attempt to connect', async () => {
    const watched = watch({ path: fake.path });
    const qemu = await fake.connection();
    await watched.monitor.close();
    await qemu.closed;
    expect(watched.calls).toEqual([]);
  });

  it('may come the very moment the connection is ready', async () => {
    // An event in one packet with the end of the negotiation; from there on, step by step.
    const event = qmpLine({ event: 'RESUME', timestamp: { seconds: 1, microseconds: 0 } });
    for (let steps = 0; steps < 12; steps++) {
      const { promise: closed, resolve } = Promise.withResolvers<undefined>();
      const monitor = startQmpMonitor({
        path: fake.path,
        isAlive: () => true,
        onConnected: () => undefined,
        async onEvent() {
          for (let step = 0; step < steps; step++) await Promise.resolve();
          await monitor.close();
          resolve(undefined);
        },
      });
      const qemu = await fake.connection();
      qemu.greet();
      const { id } = await qemu.command();
      qemu.raw(qmpLine({ return: {}, id }) + event);
      await closed;
      await expect(monitor.ended).resolves.toBe('closed');
      await qemu.closed;
    }
  });

  it('may come from within what the monitor calls', async () => {
    const watched = watch({ path: fake.path, onConnected: () => watched.monitor.close() });
    const qemu = await welcomed();
    await expect(watched.monitor.ended).resolves.toBe('closed');
    await qemu.closed;
  });
});
