import { request as send, type ClientRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { allowLongBody, createListener } from './listener.ts';

const listener = createListener({
  ...{ host: '127.0.0.1', port: 0, tls: null },
  patience: { requestMs: 300, lookEveryMs: 50 },
});
beforeAll(async () => {
  listener.server.on('request', (request, response) => {
    if (request.url === '/long') allowLongBody(request);
    text(request).then(
      (body) => response.end(body),
      // Cut off, which is what is waited for.
      () => response.destroy(),
    );
  });
  await listener.listen();
});
afterAll(() => listener.close());

/** A request of which the first half of the body has been sent. */
function begin(path: string): { request: ClientRequest; answer: Promise<IncomingMessage> } {
  const request = send({ host: '127.0.0.1', port: listener.port(), path, method: 'PUT' });
  const answer = once(request, 'response').then(([response]: IncomingMessage[]) => {
    if (!response) throw new Error('there was no answer');
    return response;
  });
  request.write('first ');
  return { request, answer };
}

it('a body that takes too long is cut off with 408, and only on routes for large ones it is waited for', async () => {
  const long = begin('/long');
  const late = begin('/');
  late.request.on('error', () => undefined);
  expect((await late.answer).statusCode).toBe(408);
  // By now the other one is as late.
  const later = begin('/');
  later.request.on('error', () => undefined);
  expect((await later.answer).statusCode).toBe(408);
  long.request.end('second');
  const answer = await long.answer;
  expect(answer.statusCode).toBe(200);
  expect(await text(answer)).toBe('first second');
});

it('what is no HTTP is answered with 400', async () => {
  const socket = connect(listener.port(), '127.0.0.1');
  socket.end('this is no HTTP\r\n\r\n');
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
});
