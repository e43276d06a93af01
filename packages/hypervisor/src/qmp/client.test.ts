import { setImmediate } from 'node:timers/promises';
import { fakeQmpGreeting, qmpLine, startFakeQmp, type FakeQmp, type FakeQmpConnection } from '@vmo/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectQmp, type QmpClient, type QmpConnectOptions } from './client.ts';
import { QmpClosedError, QmpError, QmpTimeoutError } from './errors.ts';
import type { QmpEvent } from './messages.ts';

let fake: FakeQmp;
beforeAll(async () => {
  fake = await startFakeQmp();
});
afterAll(() => fake[Symbol.asyncDispose]());

/** A client and the monitor it speaks to. */
interface Talk extends AsyncDisposable {
  client: QmpClient;
  qemu: FakeQmpConnection;
}

async function talk(options: Partial<QmpConnectOptions> = {}): Promise<Talk> {
  const connecting = connectQmp({ path: fake.path, ...options });
  const qemu = await fake.connection();
  await qemu.welcome();
  const client = await connecting;
  return { client, qemu, [Symbol.asyncDispose]: client.close };
}

/** A client that is still connecting. */
async function knock(options: Partial<QmpConnectOptions> = {}) {
  const connecting = connectQmp({ path: fake.path, ...options });
  connecting.catch(() => undefined);
  return { connecting, qemu: await fake.connection() };
}

describe('connectQmp', () => {
  it('is ready after greeting and negotiation, in which it switches nothing on', async () => {
    const { connecting, qemu } = await knock();
    qemu.greet();
    const command = await qemu.command();
    expect(command).toEqual({ execute: 'qmp_capabilities', id: expect.any(String) as string });
    qemu.answer(command);
    await using client = await connecting;
    expect(client.greeting).toEqual({
      version: { major: 7, minor: 2, micro: 22, package: 'Debian 1:7.2' },
      capabilities: ['oob'],
    });
  });

  it('says that a socket does not exist', async () => {
    await expect(connectQmp({ path: `${fake.path}.none` })).rejects.toThrow(
      /qmp\.sock\.none cannot be reached: .*ENOENT/,
    );
  });

  it('refuses a path that is too long for a socket instead of connecting to another', async () => {
    await expect(connectQmp({ path: `/tmp/${'x'.repeat(200)}` })).rejects.toThrow(QmpClosedError);
  });

  it('gives up when no greeting comes', async () => {
    const { connecting, qemu } = await knock({ timeoutMs: 30 });
    await expect(connecting).rejects.toThrow(QmpTimeoutError);
    await expect(connecting).rejects.toThrow(/no greeting within 30 ms; QEMU hangs or serves another client/);
    await qemu.closed;
  });

  it('gives up when the negotiation is not answered', async () => {
    const { connecting, qemu } = await knock({ timeoutMs: 30 });
    qemu.greet();
    await expect(connecting).rejects.toThrow(QmpTimeoutError);
    await qemu.closed;
  });

  it('gives up when QEMU refuses to negotiate', async () => {
    const { connecting, qemu } = await knock();
    qemu.greet();
    qemu.refuse(await qemu.command(), 'CommandNotFound', 'not today');
    await expect(connecting).rejects.toThrow(
      new QmpError('qmp_capabilities', 'CommandNotFound', 'not today'),
    );
    await qemu.closed;
  });

  it.each([
    ['an event', qmpLine({ event: 'STOP', timestamp: { seconds: 1, microseconds: 1 } })],
    ['an answer', qmpLine({ return: {} })],
    ['a human monitor', "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) "],
  ])('refuses %s instead of a greeting', async (_, text) => {
    const { connecting, qemu } = await knock();
    qemu.raw(text);
    await expect(connecting).rejects.toMatchObject({ reason: { kind: 'protocol' } });
    await qemu.closed;
  });

  it('says that QEMU went before its greeting', async () => {
    const { connecting, qemu } = await knock();
    qemu.raw('{"QMP": {"ver');
    qemu.end();
    await expect(connecting).rejects.toThrow(
      'QEMU closed the connection before its greeting in the middle of a message: {"QMP": {"ver',
    );
  });

  it('is given up by its signal, before and during', async () => {
    const abort = new AbortController();
    const { connecting, qemu } = await knock({ signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(connecting).rejects.toThrow('enough');
    await qemu.closed;
    await expect(connectQmp({ path: fake.path, signal: abort.signal })).rejects.toThrow('enough');
  });

  it('is not ended by its signal once it is connected', async () => {
    const abort = new AbortController();
    await using session = await talk({ signal: abort.signal });
    const { client, qemu } = session;
    abort.abort();
    const stop = client.execute('stop');
    qemu.answer(await qemu.command());
    await expect(stop).resolves.toEqual({});
  });
});

describe('execute', () => {
  it('matches answers by id, in whatever order they come', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const name = client.execute('query-name');
    const uuid = client.execute('query-uuid');
    const [first, second] = [await qemu.command(), await qemu.command()];
    qemu.answer(second, { UUID: 'u' });
    qemu.answer(first, { name: 'n' });
    await expect(Promise.all([name, uuid])).resolves.toEqual([{ name: 'n' }, { UUID: 'u' }]);
  });

  it('sends the arguments, and no member for none', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    void client.execute('device_add', { driver: 'virtio-net-pci', id: 'net0', mac: '52:54:00:00:00:01' });
    void client.execute('stop');
    expect(await qemu.command()).toMatchObject({
      arguments: { driver: 'virtio-net-pci', mac: '52:54:00:00:00:01' },
    });
    expect(await qemu.command()).not.toHaveProperty('arguments');
  });

  it('rejects with class, words and command when QEMU refuses', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const deleting = client.execute('device_del', { id: 'x' });
    qemu.refuse(await qemu.command(), 'DeviceNotFound', "Device 'x' not found");
    const error: unknown = await deleting.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(QmpError);
    expect(error).toMatchObject({
      class: 'DeviceNotFound',
      desc: "Device 'x' not found",
      command: 'device_del',
      message: "device_del: Device 'x' not found",
    });
  });

  it('times out alone: the late answer is ignored, and the connection stays usable', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const stop = client.execute('stop', {}, { timeoutMs: 20 });
    await expect(stop).rejects.toThrow(new QmpTimeoutError('stop', 20));
    const status = client.execute('query-status');
    qemu.answer(await qemu.command());
    qemu.answer(await qemu.command(), { running: true, singlestep: false, status: 'running' });
    await expect(status).resolves.toMatchObject({ status: 'running' });
  });

  it('ignores answers to what it never asked, as the client before it may have', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const stop = client.execute('stop');
    const command = await qemu.command();
    qemu.answer({ execute: 'cont', id: 'another' }, { not: 'ours' });
    qemu.answer({ execute: 'cont', id: 1 }, { not: 'ours' });
    qemu.refuse({ execute: 'cont', id: 'another' }, 'GenericError', 'not ours');
    qemu.refuse({ execute: 'cont', id: { of: 'another' } }, 'GenericError', 'not ours');
    qemu.raw(qmpLine({ return: {} }));
    qemu.answer(command, {});
    qemu.answer(command, { twice: true });
    await expect(stop).resolves.toEqual({});
  });

  it('uses other ids on every connection', async () => {
    const ids = [];
    for (let turn = 0; turn < 2; turn++) {
      const { client, qemu } = await talk();
      void client.execute('stop');
      ids.push((await qemu.command()).id);
      await client.close();
    }
    expect(new Set(ids).size).toBe(2);
  });

  it.each([['half a pair \ud83d'], ['\udc00'], ['\\\udc00'], ['a noncharacter \uffff']])(
    'refuses text that QEMU cannot read instead of sending it: %j',
    async (id) => {
      await using session = await talk();
      const { client, qemu } = session;
      await expect(client.execute('device_del', { id })).rejects.toThrow(TypeError);
      const stop = client.execute('stop');
      qemu.answer(await qemu.command());
      await stop;
    },
  );

  it('sends what only looks like it', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    void client.execute('device_del', { id: '\\ud800 \0 😀' });
    expect(await qemu.command()).toMatchObject({ arguments: { id: '\\ud800 \0 😀' } });
  });

  it('rejects what is no JSON', async () => {
    await using session = await talk();
    const { client } = session;
    await expect(client.execute('qom-set', { path: '/', property: 'x', value: 1n })).rejects.toThrow(
      TypeError,
    );
  });

  it('reads an answer of 30 MB', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const asking = client.execute('human-monitor-command', { 'command-line': 'info mtree' });
    const text = 'é€😀x'.repeat(3_000_000);
    qemu.answer(await qemu.command(), text);
    // Compared by ===, since a difference of 30 MB would be printed.
    expect((await asking) === text).toBe(true);
  });
});

describe('the end of a connection', () => {
  it.each<[string, (qemu: FakeQmpConnection) => void, string, RegExp]>([
    ['QEMU goes', (qemu) => qemu.end(), 'gone', /^QEMU closed the connection$/],
    [
      'QEMU goes in the middle of a message',
      (qemu) => {
        qemu.raw('{"return": {"sta');
        qemu.end();
      },
      'gone',
      /^QEMU closed the connection in the middle of a message: \{"return": \{"sta$/,
    ],
    ['garbage comes', (qemu) => qemu.raw('\x00\xff\x1b[garbage\n'), 'protocol', /not JSON: /],
    ['JSON of another kind comes', (qemu) => qemu.raw('{"return": 1}{}\n'), 'protocol', /not JSON/],
    [
      'a wrong type comes',
      (qemu) => qemu.raw('{"error": [], "id": "x"}\n'),
      'protocol',
      /not a message of QMP/,
    ],
    ['a second greeting comes', (qemu) => qemu.greet(), 'protocol', /a second greeting came/],
    [
      'QEMU could not read us',
      (qemu) => qemu.raw(qmpLine({ error: { class: 'GenericError', desc: 'JSON parse error' } })),
      'protocol',
      /QEMU could not read a command: JSON parse error/,
    ],
    ['a message is too long', (qemu) => qemu.raw('x'.repeat(2000)), 'protocol', /more than 1000 bytes/],
  ])('rejects everything that waits, and what comes after, when %s', async (_, act, kind, message) => {
    const { client, qemu } = await talk({ messageLimit: 1000 });
    const waiting = [client.execute('stop'), client.execute('cont', {}, { timeoutMs: Infinity })];
    await qemu.command();
    act(qemu);
    const reason = await client.closed;
    expect(reason).toMatchObject({ kind, message: expect.stringMatching(message) as string });
    const settled = await Promise.allSettled([...waiting, client.execute('query-status')]);
    expect(settled.map((one) => (one.status === 'rejected' ? (one.reason as unknown) : null))).toEqual([
      new QmpClosedError('stop', reason),
      new QmpClosedError('cont', reason),
      new QmpClosedError('query-status', reason),
    ]);
    await qemu.closed;
  });

  it('comes from this side by close, as often as it is called', async () => {
    const { client, qemu } = await talk();
    const stop = client.execute('stop');
    await Promise.all([client.close(), client.close()]);
    await expect(stop).rejects.toThrow('stop: the connection was closed by this side');
    await expect(client.closed).resolves.toMatchObject({ kind: 'asked' });
    await qemu.closed;
  });

  it('leaves no unhandled rejection when nobody waits for the answers', async () => {
    const onUnhandled = vi.fn();
    process.on('unhandledRejection', onUnhandled);
    const { client, qemu } = await talk();
    void client.execute('stop');
    void client.execute('cont', {}, { timeoutMs: 1 });
    qemu.end();
    await client.closed;
    void client.execute('stop');
    await setImmediate();
    process.off('unhandledRejection', onUnhandled);
    expect(onUnhandled).not.toHaveBeenCalled();
  });
});

describe('events', () => {
  it('go to those who listen for them, until they stop', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const all: string[] = [];
    const causes: string[] = [];
    const stopListening = client.on('SHUTDOWN', ({ data }) => causes.push(data.reason));
    client.onEvent(({ event }) => all.push(event));
    qemu.event('SHUTDOWN', { guest: true, reason: 'guest-shutdown' });
    qemu.event('SOMETHING_NEW', { a: 1 });
    await vi.waitUntil(() => all.length === 2);
    stopListening();
    qemu.event('SHUTDOWN', { guest: true, reason: 'guest-reset' });
    await vi.waitUntil(() => all.length === 3);
    expect(all).toEqual(['SHUTDOWN', 'SOMETHING_NEW', 'SHUTDOWN']);
    expect(causes).toEqual(['guest-shutdown']);
  });

  it('that come in one packet with the end of the negotiation are not missed', async () => {
    const events: QmpEvent[] = [];
    const { connecting, qemu } = await knock({ onEvent: (event) => events.push(event) });
    qemu.greet();
    const { id } = await qemu.command();
    const timestamp = { seconds: 1, microseconds: 0 };
    qemu.raw(qmpLine({ return: {}, id }) + qmpLine({ timestamp, event: 'RESUME' }));
    await using client = await connecting;
    expect(client.greeting.version.major).toBe(7);
    expect(events).toEqual([{ event: 'RESUME', data: {}, at: 1000 }]);
  });

  it('reach the others and leave the connection alone when a listener fails, at once or later', async () => {
    const errors: unknown[] = [];
    await using session = await talk({ onError: (error) => errors.push(error) });
    const { client, qemu } = session;
    const heard: string[] = [];
    client.on('STOP', () => {
      throw new Error('at once');
    });
    // A mistake that the linter finds and JavaScript allows.
    const later: () => unknown = async () => Promise.reject(new Error('later'));
    client.on('STOP', later);
    client.on('STOP', ({ event }) => heard.push(event));
    const stop = client.execute('stop');
    qemu.event('STOP');
    qemu.answer(await qemu.command());
    await stop;
    expect(heard).toEqual(['STOP']);
    expect(errors).toEqual([new Error('at once'), new Error('later')]);
  });

  it('reach nobody who has stopped listening, not even when the one before stopped it', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const heard: string[] = [];
    const stops: (() => void)[] = [];
    client.on('STOP', () => stops[0]?.());
    stops.push(client.on('STOP', () => heard.push('stopped')));
    const stop = client.execute('stop');
    qemu.event('STOP');
    qemu.answer(await qemu.command());
    await stop;
    expect(heard).toEqual([]);
  });

  it('may end the connection: what came behind them is not told any more', async () => {
    const { client, qemu } = await talk();
    const heard: string[] = [];
    client.onEvent(({ event }) => {
      heard.push(event);
      void client.close();
    });
    const timestamp = { seconds: 1, microseconds: 0 };
    qemu.raw(qmpLine({ timestamp, event: 'STOP' }) + qmpLine({ timestamp, event: 'RESUME' }));
    await client.closed;
    expect(heard).toEqual(['STOP']);
  });

  it('may flood: each is told once, in order, and answers between them arrive', async () => {
    await using session = await talk();
    const { client, qemu } = session;
    const heard: unknown[] = [];
    client.on('RTC_CHANGE', ({ data }) => heard.push(data.offset));
    const stop = client.execute('stop');
    const command = await qemu.command();
    for (let offset = 0; offset < 50_000; offset++) {
      qemu.event('RTC_CHANGE', { offset, 'qom-path': '/rtc' });
      if (offset === 25_000) qemu.answer(command);
    }
    await stop;
    await vi.waitUntil(() => heard.length === 50_000, { timeout: 20_000 });
    expect(heard).toEqual([...heard.keys()]);
  });
});

describe('however the bytes are cut', () => {
  const timestamp = { seconds: 1, microseconds: 500 };

  it('understands a talk byte by byte', async () => {
    const events: string[] = [];
    const { connecting, qemu } = await knock({ onEvent: ({ data }) => events.push(String(data.x)) });
    await qemu.trickle(qmpLine(fakeQmpGreeting));
    const { id } = await qemu.command();
    await qemu.trickle(qmpLine({ return: {}, id }) + qmpLine({ timestamp, event: 'E', data: { x: 'ü€😀' } }));
    await using client = await connecting;
    const name = client.execute('query-name');
    await qemu.trickle(qmpLine({ return: { name: 'ü€😀' }, id: (await qemu.command()).id }));
    await expect(name).resolves.toEqual({ name: 'ü€😀' });
    expect(events).toEqual(['ü€😀']);
  });

  it('gives the same events and answers for a valid talk, whatever is in it', async () => {
    const message = fc.oneof(
      fc.record({ event: fc.string({ unit: 'binary' }), data: fc.dictionary(fc.string(), fc.jsonValue()) }),
      fc.record({ value: fc.jsonValue() }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 8 }), fc.array(fc.nat()), async (messages, places) => {
        const heard: unknown[] = [];
        const { client, qemu } = await talk({ onEvent: ({ event, data }) => heard.push({ event, data }) });
        const answers: Promise<unknown>[] = [];
        let text = '';
        for (const one of messages) {
          if ('event' in one) text += qmpLine({ ...one, timestamp });
          else {
            answers.push(client.execute('qom-get', { path: '/', property: 'x' }));
            text += qmpLine({ return: one.value, id: (await qemu.command()).id });
          }
        }
        const bytes = Buffer.from(text);
        const cuts = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
          (a, b) => a - b,
        );
        for (const [index, start] of cuts.entries()) {
          qemu.raw(bytes.subarray(start, cuts[index + 1]));
          await setImmediate();
        }
        qemu.end();
        await client.closed;
        // Through JSON, since -0 and members without a value do not survive the way.
        const sent = JSON.parse(JSON.stringify(messages)) as { event?: string; value?: unknown }[];
        expect(heard).toEqual(sent.filter((one) => one.event !== undefined));
        expect(await Promise.all(answers)).toEqual(
          sent.filter((one) => one.event === undefined).map(({ value }) => value),
        );
      }),
      { numRuns: 50 },
    );
  });

  it('ends with a reason and never hangs on random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 })),
        fc.boolean(),
        async (pieces, greeted) => {
          const { connecting, qemu } = await knock();
          if (greeted) await qemu.welcome();
          const client = greeted ? await connecting : null;
          const stop = client?.execute('stop', {}, { timeoutMs: Infinity });
          for (const piece of pieces) qemu.raw(piece);
          qemu.end();
          await expect(stop ?? connecting).rejects.toThrow(QmpClosedError);
          await client?.closed;
        },
      ),
      { numRuns: 50 },
    );
  });
});
