import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { VmId } from '@vmo/contract';
import { temporaryDirectory, testDatabase } from '@vmo/testkit';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createAuth, createOriginPolicy, type Auth } from '../auth/index.ts';
import { createBus } from '../kernel/bus.ts';
import { createSessions } from './sessions.ts';
import { createVnc } from './vnc.ts';

const token = 'correct-horse-battery';
const vmId = VmId.parse('01970000-0000-7000-8000-000000000001');

/** A server with one screen: what comes in goes out again. */
async function startScreens() {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await temporaryDirectory());
  const { db } = stack.use(await testDatabase());
  const screens = new Set<Socket>();
  const screen = join(home.path, 'vnc.sock');
  const machine = createServer((socket) => {
    screens.add(socket);
    socket.on('close', () => screens.delete(socket));
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  machine.listen(screen);
  await once(machine, 'listening');
  stack.defer(() => {
    machine.close();
  });

  const bus = createBus((error) => {
    throw error;
  });
  const auth: Auth = createAuth({ db, bus, token, findAgent: () => Promise.resolve(null) });
  const httpServer = createHttpServer();
  httpServer.listen(0, '127.0.0.1');
  await once(httpServer, 'listening');
  const { port } = httpServer.address() as AddressInfo;
  const origin = `http://127.0.0.1:${String(port)}`;
  const sessions = createSessions(auth, (error) => {
    throw error;
  });
  bus.on('session:ended', ({ sessionId }) => {
    sessions.ended(sessionId);
  });
  const vnc = createVnc({
    ...{ httpServer, auth, sessions, isOthers: () => false, logger: pino({ level: 'silent' }) },
    policy: createOriginPolicy({ scheme: 'http', host: '127.0.0.1', port: () => port, allowedOrigins: [] }),
    vms: { vncSocket: () => Promise.resolve(screen) },
  });
  stack.defer(() => {
    vnc.close();
    sessions.close();
    httpServer.close();
  });

  /** A browser with a session of its own, which sees the screen. */
  async function look() {
    const { secret, principal } = await auth.logIn({ token }, '127.0.0.1');
    const browser = new WebSocket(`${origin.replace('http', 'ws')}/api/v1/vms/${vmId}/vnc`, ['binary'], {
      headers: { cookie: `vmo_session=${secret}`, origin },
    });
    await once(browser, 'open');
    browser.send('hello');
    const [echo] = (await once(browser, 'message')) as [Buffer];
    expect(echo.toString()).toBe('hello');
    return { browser, actor: principal.actor };
  }
  return { db, auth, look, screens, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

let world: Awaited<ReturnType<typeof startScreens>>;
beforeEach(async () => {
  world = await startScreens();
});
afterEach(() => world[Symbol.asyncDispose]());

it('a screen ends with the session that it was opened with, on both sides, and others go on', async () => {
  const [one, other] = [await world.look(), await world.look()];
  expect(world.screens.size).toBe(2);
  const closed = once(one.browser, 'close');
  const letGo = Promise.race([...world.screens].map((socket) => once(socket, 'close')));
  await world.auth.logOut(one.actor);
  await Promise.all([closed, letGo]);
  expect(world.screens.size).toBe(1);
  other.browser.send('still here');
  const [echo] = (await once(other.browser, 'message')) as [Buffer];
  expect(echo.toString()).toBe('still here');
  other.browser.terminate();
});

it('a screen ends when its session is revoked elsewhere, as by another server', async () => {
  const { browser, actor } = await world.look();
  const closed = once(browser, 'close');
  await world.db
    .updateTable('sessions')
    .set({ revoked_at: new Date() })
    .where('id', '=', actor.sessionId ?? '')
    .execute();
  await closed;
});

it('a screen ends when the machine lets go of it', async () => {
  const { browser } = await world.look();
  const closed = once(browser, 'close');
  for (const socket of world.screens) socket.destroy();
  await closed;
});
