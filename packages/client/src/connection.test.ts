import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jobsNamespace } from '@vmo/contract';
import { Server } from 'socket.io';
import { expect, test, vi } from 'vitest';
import { connectJobs } from './connection.ts';

interface ClientEvents {
  'jobs:watch': (payload: unknown, answer: (ack: { ok: true }) => void) => void;
}

interface Ask {
  acknowledge(): void;
  cut(): void;
}

async function listen() {
  const http = createServer();
  const io = new Server<ClientEvents>(http);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const asks: Ask[] = [];
  io.of(jobsNamespace).on('connection', (socket) => {
    socket.on('jobs:watch', (_payload, answer) => {
      asks.push({ acknowledge: () => answer({ ok: true }), cut: () => socket.conn.close() });
    });
  });
  const asked = (count: number) => vi.waitFor(() => asks[count - 1] ?? expect.fail('not asked yet'));
  return { io, asks, asked, baseUrl: `http://127.0.0.1:${String(port)}` };
}

test('whoever watches jobs reads them when the server has begun to tell, once per connection', async () => {
  const { io, asks, asked, baseUrl } = await listen();
  const connection = connectJobs({ baseUrl });
  try {
    const ignore = (): void => undefined;
    const [first, second, stopped] = [vi.fn(), vi.fn(), vi.fn()];
    connection.watchJobs(ignore, first);
    const ask = await asked(1);
    expect(first).not.toHaveBeenCalled();
    ask.acknowledge();
    await vi.waitFor(() => expect(first).toHaveBeenCalledTimes(1));

    // The server tells already: whoever comes now reads by itself.
    connection.watchJobs(ignore, second);
    connection.watchJobs(ignore, stopped)();
    ask.cut();
    const again = await asked(2);
    expect(first).toHaveBeenCalledTimes(1);
    again.acknowledge();
    await vi.waitFor(() => expect(first).toHaveBeenCalledTimes(2));
    expect(second).toHaveBeenCalledTimes(1);
    expect(stopped).not.toHaveBeenCalled();
    expect(asks).toHaveLength(2);
  } finally {
    connection.close();
    await io.close();
  }
});

test('a server that does not acknowledge on a connection that stands is asked again', async () => {
  const { io, asks, asked, baseUrl } = await listen();
  const connection = connectJobs({ baseUrl, timeoutMs: 200 });
  try {
    const begun = vi.fn();
    const stop = connection.watchJobs(() => undefined, begun);
    await asked(1);
    const second = await asked(2);
    expect(begun).not.toHaveBeenCalled();
    second.acknowledge();
    await vi.waitFor(() => expect(begun).toHaveBeenCalledTimes(1));
    stop();
    await asked(3); // that nobody watches any more
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(asks).toHaveLength(3);
  } finally {
    connection.close();
    await io.close();
  }
});
