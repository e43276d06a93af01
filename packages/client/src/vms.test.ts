import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { vmsNamespace, type VmServerEvents } from '@vmo/contract';
import { Server } from 'socket.io';
import { expect, test } from 'vitest';
import { connectVms } from './vms.ts';

test('whoever shows machines reads them again when the server says that it left facts out', async () => {
  const http = createServer();
  const io = new Server(http);
  const machines = io.of(vmsNamespace);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const told: string[] = [];
  const twice = Promise.withResolvers<undefined>();
  const connection = connectVms({ baseUrl: `http://127.0.0.1:${String(port)}` });
  try {
    machines.on('connection', (socket) => {
      const send: { emit: (name: keyof VmServerEvents, payload: object) => unknown } = socket;
      send.emit('vm:missed', {});
    });
    connection.on('vm:missed', () => told.push('missed'));
    connection.onLive(() => {
      told.push('read');
      if (told.length === 3) twice.resolve(undefined);
    });
    await twice.promise;
    expect(told).toEqual(['read', 'missed', 'read']);
  } finally {
    connection.close();
    await io.close();
  }
});
