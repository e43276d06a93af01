import { setTimeout as delay } from 'node:timers/promises';
import { Problem, routes, type Route } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { VMO_ALLOWED_ORIGINS: 'https://cockpit.example.org' } });
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

const api = (path: string, init?: RequestInit) => fetch(`${server.url}/api/v1${path}`, init);
const bearer = () => ({ authorization: `Bearer ${server.token}` });
const asJson = { 'content-type': 'application/json' };

async function problem(answer: Response) {
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  return Problem.parse(await answer.json());
}

/** Logs in as a page of ours does. @returns the cookie */
async function logIn(): Promise<string> {
  const answer = await api('/session', {
    method: 'POST',
    headers: { ...asJson, origin: server.url },
    body: JSON.stringify({ token: server.token }),
  });
  expect(answer.status).toBe(201);
  return answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
}

describe('the API', () => {
  const guarded = Object.entries<Route>(routes).filter(([, { permission }]) => permission !== 'public');

  it.each(guarded)(
    'answers %s with 401 when there is no credential, or a wrong one',
    async (_name, { method, path }) => {
      const url = path.replace(/:\w+/g, '01970c4e-7a01-7abc-8def-0123456789ab');
      for (const headers of [
        {},
        { authorization: 'Bearer wrong' },
        { cookie: 'vmo_session=wrong', origin: server.url },
      ]) {
        // The wrong tokens of this test come from one address: after some, the answer is 429.
        const answer = await api(url, {
          method,
          headers: { ...asJson, ...headers },
          ...(method === 'GET' ? {} : { body: '{}' }),
        });
        expect([401, 429]).toContain(answer.status);
        expect(answer.headers.get(answer.status === 401 ? 'www-authenticate' : 'retry-after')).not.toBeNull();
      }
    },
  );

  it('is the same below /api', async () => {
    const answer = await fetch(`${server.url}/api/jobs`, { headers: bearer() });
    expect(await answer.json()).toMatchObject({ jobs: [] });
  });

  it('runs a command and gives its bytes back', async () => {
    const { job } = await server.client.call('submitJob', {
      body: { command: String.raw`printf 'a\0\377b\n'; echo no >&2` },
    });
    await until(
      'the end',
      async () => (await server.client.call('getJob', { params: { jobId: job.id } })).job.status === 'done',
    );
    const log = await api(`/jobs/${job.id}/log?stream=stdout&download`, { headers: bearer() });
    expect(Buffer.from(await log.arrayBuffer())).toEqual(Buffer.from([0x61, 0, 0xff, 0x62, 0x0a]));
    expect(log.headers.get('content-disposition')).toBe(`attachment; filename="${job.id}-stdout.log"`);
  });

  it('answers bad requests with what is wrong', async () => {
    const post = (body: string, headers: Record<string, string> = asJson) =>
      api('/jobs', { method: 'POST', headers: { ...bearer(), ...headers }, body });
    expect(await problem(await post('{'))).toMatchObject({ status: 400, code: 'BAD_JSON' });
    expect(await problem(await post('{}', { 'content-type': 'text/plain' }))).toMatchObject({
      status: 415,
      code: 'NOT_JSON',
    });
    expect(await problem(await post(JSON.stringify('x'.repeat(300_000))))).toMatchObject({
      status: 413,
      code: 'BODY_TOO_LARGE',
    });
    expect(await problem(await post('{"command":"a\\u0000b","typo":1,"env":{"1":"x"}}'))).toMatchObject({
      status: 422,
      code: 'INVALID_INPUT',
      issues: [{ path: 'command' }, { path: 'env.1' }, { path: 'typo', message: 'unknown field' }],
    });
    expect(await problem(await api('/jobs/nonsense', { headers: bearer() }))).toMatchObject({
      status: 404,
      code: 'JOB_NOT_FOUND',
    });
    expect(await problem(await api('/jobs?limit=501', { headers: bearer() }))).toMatchObject({
      status: 422,
      issues: [{ path: 'limit' }],
    });
    expect(await problem(await api('/nothing', { headers: bearer() }))).toMatchObject({
      status: 404,
      code: 'NOT_FOUND',
    });
    expect(await problem(await api('/jobs/%', { headers: bearer() }))).toMatchObject({ status: 404 });
  });

  it('needs no login for health', async () => {
    expect(await (await fetch(`${server.url}/healthz`)).json()).toEqual({ status: 'ok' });
    expect(await (await fetch(`${server.url}/readyz`)).json()).toMatchObject({
      status: 'ready',
      database: 'up',
      agent: 'up',
    });
  });

  it('describes itself, for programs and for people', async () => {
    const headers = { authorization: `Bearer ${server.token}` };
    const document = (await (await api('/openapi.json', { headers })).json()) as {
      openapi: string;
      paths: Record<string, object>;
    };
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toContain('/api/v1/jobs/{jobId}/log');
    for (const path of ['/docs', '/api/v1/openapi.json'])
      expect((await fetch(server.url + path)).status).toBe(401);
    const page = await fetch(`${server.url}/docs`, { headers });
    expect(page.headers.get('content-security-policy')).not.toContain('unsafe-inline');
    const html = await page.text();
    for (const name of Object.keys(routes)) expect(html).toContain(`id="${name}"`);
    expect(html).not.toMatch(/<script|style="/);
  });
});

describe('a session', () => {
  it('begins with the one-time code of the start line, as a cookie that scripts and other sites cannot use', async () => {
    const code = new URL(server.loginUrl).hash.slice('#login='.length);
    const send = () =>
      api('/session', {
        method: 'POST',
        headers: { ...asJson, origin: server.url },
        body: JSON.stringify({ code }),
      });
    const answer = await send();
    expect(answer.status).toBe(201);
    expect(answer.headers.get('set-cookie')).toMatch(
      /^vmo_session=[\w-]{43}; Max-Age=2592000; Path=\/; Expires=.*; HttpOnly; SameSite=Strict$/,
    );
    expect(await problem(await send())).toMatchObject({ status: 401, code: 'LOGIN_FAILED' });
  });

  it('may read without an Origin, and change things with one only', async () => {
    const cookie = await logIn();
    expect((await api('/jobs', { headers: { cookie } })).status).toBe(200);
    const cancel = (headers: Record<string, string>) =>
      api('/jobs/cancel', {
        method: 'POST',
        headers: { ...asJson, cookie, ...headers },
        body: '{"jobId":"01970c4e-7a01-7abc-8def-0123456789ab"}',
      });
    expect(await problem(await cancel({}))).toMatchObject({ status: 403, code: 'ORIGIN_REFUSED' });
    expect(await problem(await cancel({ origin: server.url }))).toMatchObject({ status: 404 });
  });

  it('ends by logout, together with its live socket', async () => {
    const cookie = await logIn();
    const { io } = await import('socket.io-client');
    const socket = io(`${server.url}/jobs`, {
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
      extraHeaders: { cookie, origin: server.url },
    });
    const ended = new Promise((resolve) => socket.once('disconnect', resolve));
    await new Promise((resolve, reject) =>
      socket.once('connect', () => resolve(null)).once('connect_error', reject),
    );
    expect(
      (await api('/session', { method: 'DELETE', headers: { cookie, origin: server.url } })).status,
    ).toBe(204);
    await Promise.race([ended, delay(2_000).then(() => Promise.reject(new Error('the socket lives on')))]);
    expect((await api('/jobs', { headers: { cookie } })).status).toBe(401);
  });
});

describe('a page of another origin', () => {
  const foreign = ['null', 'http://evil.com', 'http://127.0.0.1.evil.com', 'http://localhost:1'];

  it.each(foreign)('is refused, also with the right token: %s', async (origin) => {
    expect(await problem(await api('/jobs', { headers: { ...bearer(), origin } }))).toMatchObject({
      status: 403,
      code: 'ORIGIN_REFUSED',
    });
    expect((await fetch(server.url, { headers: { origin } })).status).toBe(403);
  });

  it('may talk to us when it is allowed', async () => {
    const origin = 'https://cockpit.example.org';
    const preflight = await api('/jobs', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
    expect(
      (await api('/jobs', { headers: { ...bearer(), origin } })).headers.get(
        'access-control-allow-credentials',
      ),
    ).toBe('true');
  });
});
