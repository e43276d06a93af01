import { finished } from 'node:stream/promises';
import { get } from 'node:http';
import type { Ack, JobEvent, SocketAnswer } from '@vmo/contract';
import { startTestServer, type TestServer } from '@vmo/testkit';
import { io, type Socket } from 'socket.io-client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

let server: TestServer;
const sockets: Socket[] = [];
beforeAll(async () => {
  server = await startTestServer();
}, 60_000);
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect();
});
afterAll(() => server[Symbol.asyncDispose]());

function open(options: {
  token?: string;
  headers?: Record<string, string>;
  transport?: 'websocket' | 'polling';
}): Socket {
  const socket = io(`${server.url}/jobs`, {
    transports: [options.transport ?? 'websocket'],
    forceNew: true,
    reconnection: false,
    ...(options.token === undefined ? {} : { auth: { token: options.token } }),
    ...(options.headers === undefined ? {} : { extraHeaders: options.headers }),
  });
  sockets.push(socket);
  return socket;
}

/** `connected`, or why not. */
const outcome = (socket: Socket) =>
  new Promise<string>((resolve) => {
    socket.once('connect', () => {
      resolve('connected');
    });
    socket.once('connect_error', (error: Error & { data?: { code: string } }) => {
      resolve(error.data?.code ?? 'refused');
    });
  });

async function connect(): Promise<Socket> {
  const socket = open({ token: server.token });
  expect(await outcome(socket)).toBe('connected');
  return socket;
}

/** Collects the log of a job until its end. */
function collect(socket: Socket, onEvent?: (event: JobEvent) => void) {
  const events: JobEvent[] = [];
  socket.on('job:log', (event: JobEvent) => {
    events.push(event);
    onEvent?.(event);
  });
  return new Promise<JobEvent[]>((resolve) => {
    socket.once('job:done', () => {
      resolve(events);
    });
  });
}

const textOf = (events: readonly JobEvent[], stream = 'stdout') =>
  events
    .filter((event) => event.stream === stream)
    .map(({ chunk }) => chunk)
    .join('');

async function run(socket: Socket, command: string, more: object = {}) {
  const answer = (await socket.emitWithAck('execute-command', { command, ...more })) as Ack<
    SocketAnswer<'execute-command'>
  >;
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.job;
}

describe('a handshake', () => {
  it('of a plain client, which begins by polling, is taken and upgraded', async () => {
    const socket = io(`${server.url}/jobs`, { auth: { token: server.token } });
    try {
      const done = new Promise<{ exitCode: number | null }>((resolve) => socket.once('job:done', resolve));
      let output = '';
      socket.on('job:log', ({ stream, chunk }: { stream: string; chunk: string }) => {
        if (stream === 'stdout') output += chunk;
      });
      const answer: unknown = await socket.emitWithAck('execute-command', { command: 'seq 1 20000; exit 3' });
      expect(answer).toMatchObject({ ok: true });
      expect(await done).toMatchObject({ exitCode: 3 });
      expect(output).toBe(Array.from({ length: 20_000 }, (_, index) => `${String(index + 1)}\n`).join(''));
    } finally {
      socket.disconnect();
    }
  });

  it.each([
    ['without credential', {}, 'UNAUTHENTICATED'],
    ['with a wrong token', { token: 'wrong' }, 'UNAUTHENTICATED'],
    ['with a wrong cookie', { headers: { cookie: 'vmo_session=wrong', origin: 'OURS' } }, 'UNAUTHENTICATED'],
    ['with a cookie and no Origin', { headers: { cookie: 'vmo_session=x' } }, 'ORIGIN_REFUSED'],
    ['of a foreign page', { token: 'RIGHT', headers: { origin: 'http://evil.com' } }, 'refused'],
    ['of a page without origin', { token: 'RIGHT', headers: { origin: 'null' } }, 'refused'],
    ['of a look-alike', { token: 'RIGHT', headers: { origin: 'http://localhost.evil.com' } }, 'refused'],
    ['by polling, without credential', { transport: 'polling' as const }, 'UNAUTHENTICATED'],
    [
      'by polling, of a foreign page',
      { token: 'RIGHT', transport: 'polling' as const, headers: { origin: 'http://evil.com' } },
      'refused',
    ],
  ])('%s is refused', async (_what, options: Parameters<typeof open>[0], expected) => {
    const fill = (text: string) => text.replace('OURS', server.url).replace('RIGHT', server.token);
    const { token, headers, transport } = options;
    const socket = open({
      ...(token === undefined ? {} : { token: fill(token) }),
      ...(headers
        ? { headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, fill(value)])) }
        : {}),
      ...(transport ? { transport } : {}),
    });
    expect(await outcome(socket)).toBe(expected);
  });

  it('of a foreign page is refused before anything is accepted, on polling and on upgrade', async () => {
    for (const transport of ['polling', 'websocket']) {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const headers = {
          origin: 'http://evil.com',
          ...(transport === 'websocket'
            ? {
                connection: 'Upgrade',
                upgrade: 'websocket',
                'sec-websocket-version': '13',
                'sec-websocket-key': 'MDEyMzQ1Njc4OWFiY2RlZg==',
              }
            : {}),
        };
        get(`${server.url}/socket.io/?EIO=4&transport=${transport}`, { headers }, (response) => {
          response.resume();
          void finished(response).then(() => {
            resolve(response.statusCode);
          });
        }).on('error', reject);
      });
      expect([400, 403]).toContain(status);
    }
  });
});

describe('a command', () => {
  it('is acknowledged with an error when it is unknown, wrong or hostile', async () => {
    const socket = await connect();
    const send = (name: string, ...payload: unknown[]) =>
      socket.timeout(10_000).emitWithAck(name, ...payload) as Promise<unknown>;
    expect(await send('nothing')).toMatchObject({ ok: false, error: { code: 'NOT_FOUND' } });
    expect(await send('constructor', {})).toMatchObject({ ok: false, error: { code: 'NOT_FOUND' } });
    expect(await send('job:cancel')).toMatchObject({ ok: false, error: { code: 'INVALID_INPUT' } });
    expect(await send('execute-command', { command: '' })).toMatchObject({
      ok: false,
      error: { code: 'INVALID_INPUT', issues: [{ path: 'command' }] },
    });
    expect(await send('job:subscribe', { jobId: '01970c4e-7a01-7abc-8def-0123456789ab' })).toMatchObject({
      ok: false,
      error: { code: 'JOB_NOT_FOUND' },
    });
    socket.emit('job:cancel', null, 1, { deep: [[]] });
    expect(await send('jobs:watch')).toEqual({ ok: true });
  });
});

describe('a log', () => {
  it('comes from the first event, without gap or repeat, and the end comes last', async () => {
    const socket = await connect();
    const log = collect(socket);
    await run(socket, 'for i in 1 2 3 4 5; do echo $i; sleep 0.02; done; echo oops >&2');
    const events = await log;
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(textOf(events)).toBe('1\n2\n3\n4\n5\n');
    expect(textOf(events, 'stderr')).toBe('oops\n');
  });

  it('reaches a plain client that never acknowledges, every byte in order', async () => {
    const socket = await connect();
    const log = collect(socket);
    await run(socket, 'seq 1 1000000');
    const text = textOf(await log);
    expect(text.length).toBe(6_888_896);
    expect(text.startsWith('1\n2\n')).toBe(true);
    expect(text.endsWith('999999\n1000000\n')).toBe(true);
    expect((text.match(/\n/g) ?? []).length).toBe(1_000_000);
  });

  it('goes on after what a second reader has, with the job in progress', async () => {
    const first = await connect();
    const second = await connect();
    const log = collect(first);
    const job = await run(first, 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done');
    await new Promise<void>((resolve) => {
      first.on('job:log', ({ seq }: JobEvent) => {
        if (seq >= 3) resolve();
      });
    });
    const rest = collect(second);
    expect(await second.emitWithAck('job:subscribe', { jobId: job.id, afterSeq: 2 })).toMatchObject({
      ok: true,
    });
    const whole = await log;
    expect(await rest).toEqual(whole.slice(2));
  });

  it('begins with the newest output for who asks for no more, and says where', async () => {
    const first = await connect();
    const log = collect(first);
    const job = await run(first, 'for i in 1 2 3; do echo $i; sleep 0.2; done');
    const whole = await log;
    const subscribe = async (newestBytes: number) => {
      const socket = await connect();
      const rest = collect(socket);
      const answer = (await socket.emitWithAck('job:subscribe', { jobId: job.id, newestBytes })) as unknown;
      return { answer, events: await rest };
    };
    const last = whole.length - 1;
    expect(await subscribe(1)).toMatchObject({ answer: { afterSeq: last }, events: whole.slice(last) });
    expect(await subscribe(1024)).toMatchObject({ answer: { afterSeq: 0 }, events: whole });
  });
});

describe('a terminal', () => {
  it('shows its screen to a second browser; one types at a time, and another takes over', async () => {
    const [first, second] = [await connect(), await connect()];
    const job = await run(first, 'read line; echo "got $line"; read line; echo "then $line"', {
      type: 'terminal',
    });
    const seen = collect(second);
    const subscribe = (socket: Socket) =>
      socket.emitWithAck('job:subscribe', { jobId: job.id, screen: true }) as Promise<unknown>;
    const started = new Promise<void>((resolve) => {
      first.on('job:status', ({ status }: { status: string }) => {
        if (status === 'running') resolve();
      });
    });
    await started;
    expect(await subscribe(first)).toMatchObject({ ok: true, inControl: true });
    expect(await subscribe(second)).toMatchObject({ ok: true, inControl: false });
    const type = (socket: Socket, data: string) =>
      socket.emitWithAck('job:input', { jobId: job.id, data }) as Promise<unknown>;
    expect(await type(second, 'x')).toMatchObject({ ok: false, error: { code: 'NOT_IN_CONTROL' } });
    expect(await type(first, 'one\r')).toEqual({ ok: true });
    const lost = new Promise((resolve) => first.once('job:control', resolve));
    expect(await second.emitWithAck('job:take-control', { jobId: job.id })).toEqual({ ok: true });
    expect(await lost).toEqual({ jobId: job.id, inControl: false });
    expect(await type(second, 'two\r')).toEqual({ ok: true });
    expect(textOf(await seen)).toContain('then two');
  });
});
