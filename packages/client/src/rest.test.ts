import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CodedError, RequestId } from '@vmo/contract';
import { afterEach, expect, test } from 'vitest';
import { createClient } from './rest.ts';
import { UnreachableError } from './unreachable.ts';

const jobId = '019f0000-0000-7000-8000-000000000001';
let server: Server | undefined;

async function listen(listener: RequestListener): Promise<string> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  const { port } = started.address() as AddressInfo;
  return `http://127.0.0.1:${String(port)}`;
}

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

const json = (status: number, body: unknown, type = 'application/json'): RequestListener => {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
  };
};

test('parameters, query, token and body go where the route table says', async () => {
  const seen: string[] = [];
  const baseUrl = await listen((request, response) => {
    seen.push(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.authorization ?? ''}`);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"events":[],"lastSeq":7}');
  });
  const client = createClient({ baseUrl: `${baseUrl}/`, token: 'secret' });
  const page = await client.call('listEvents', { params: { jobId }, query: { afterSeq: 3, limit: 5 } });
  expect(page).toEqual({ events: [], lastSeq: 7 });
  expect(seen).toEqual([`GET /api/v1/jobs/${jobId}/events?afterSeq=3&limit=5 Bearer secret`]);
});

test('a problem is thrown as the coded error that it is, with its fields', async () => {
  const problem = {
    type: '/docs#INVALID_INPUT',
    title: 'Invalid input',
    status: 422,
    code: 'INVALID_INPUT',
    detail: 'timeout: must be positive',
    issues: [{ path: 'timeout', message: 'must be positive' }],
  };
  const baseUrl = await listen(json(422, problem, 'application/problem+json; charset=utf-8'));
  const failed = createClient({ baseUrl }).call('submitJob', { body: { command: 'true' } });
  await expect(failed).rejects.toBeInstanceOf(CodedError);
  await expect(failed).rejects.toMatchObject({ code: 'INVALID_INPUT', status: 422, issues: problem.issues });
});

test('what a proxy answers in its own words becomes a coded error, too', async () => {
  const baseUrl = await listen((_request, response) => response.writeHead(401).end('<h1>no</h1>'));
  await expect(createClient({ baseUrl }).call('listHosts')).rejects.toMatchObject({
    code: 'UNAUTHENTICATED',
  });
});

test('readiness tells what is down instead of failing', async () => {
  const body = { status: 'not ready', database: 'down', agent: 'up', unstoredJobs: 2, problems: [] };
  const baseUrl = await listen(json(503, body));
  expect(await createClient({ baseUrl }).call('readiness')).toEqual(body);
});

test('a server that is not one of ours is told apart', async () => {
  const baseUrl = await listen(json(200, { hello: 'world' }));
  await expect(createClient({ baseUrl }).call('health')).rejects.toBeInstanceOf(UnreachableError);
});

test('nothing listening and no answer in time are both “unreachable”', async () => {
  const closed = await listen(() => undefined);
  await expect(createClient({ baseUrl: closed, timeoutMs: 20 }).call('health')).rejects.toThrow(
    'did not answer within',
  );
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  await expect(createClient({ baseUrl: closed }).call('health')).rejects.toBeInstanceOf(UnreachableError);
});

test('what the server is asked to wait is not held against it', async () => {
  const page = { uuid: jobId, status: 'running', logs: [], next_after: 0, complete: false };
  const baseUrl = await listen((request, response) => {
    setTimeout(() => {
      json(200, page)(request, response);
    }, 300);
  });
  const client = createClient({ baseUrl, timeoutMs: 100 });
  const logs = (wait: number) =>
    client.call('listRequestLogs', { params: { requestId: RequestId.parse(jobId) }, query: { wait } });
  expect(await logs(20)).toEqual(page);
  await expect(logs(0)).rejects.toThrow('did not answer within 0.1 s');
});

test('a call that the caller gave up is an abort, not an error of the server', async () => {
  const baseUrl = await listen(() => undefined);
  const giveUp = new AbortController();
  const call = createClient({ baseUrl }).call('health', { signal: giveUp.signal });
  giveUp.abort();
  await expect(call).rejects.toMatchObject({ name: 'AbortError' });
});

test('a download is the bytes as they are', async () => {
  const bytes = Uint8Array.from([0, 255, 10, 27, 128]);
  const baseUrl = await listen((_request, response) => response.writeHead(200).end(bytes));
  const client = createClient({ baseUrl });
  const response = await client.download('getLog', { params: { jobId }, query: { stream: 'stdout' } });
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
  expect(client.url('getLog', { params: { jobId }, query: { download: '' } })).toBe(
    `${baseUrl}/api/v1/jobs/${jobId}/log?download=`,
  );
});
