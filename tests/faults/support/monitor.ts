import { once } from 'node:events';
import { chown, rename, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { VmId } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';

/** pass: as if it were not there · silent: what QEMU says is kept back · garbage: bytes come that are no JSON */
type Mode = 'pass' | 'silent' | 'garbage';

export interface Meddler extends AsyncDisposable {
  become(mode: Mode): void;
}

/** Stands between the server and the monitor of a machine. While nobody of us is connected: the server must be down. */
export async function meddle(server: TestServer, vmId: VmId): Promise<Meddler> {
  const folder = join(server.dataDirectory, 'storage', 'vms', vmId, 'run');
  const [path, real] = [join(folder, 'qmp.sock'), join(folder, 'real.sock')];
  await rename(path, real);
  const clients = new Set<Socket>();
  let mode: Mode = 'pass';
  const spoil = (client: Socket) => client.write('\u0000{"QMP": }}}]] \uFFFD no JSON\r\n');
  const proxy = createServer((client) => {
    clients.add(client);
    const qemu = connect(real);
    const kept: Buffer[] = [];
    client.on('data', (bytes) => qemu.write(bytes));
    qemu.on('data', (bytes) => {
      kept.push(bytes);
      if (mode === 'pass') for (const one of kept.splice(0)) client.write(one);
    });
    const end = () => {
      clients.delete(client);
      client.destroy();
      qemu.destroy();
    };
    for (const socket of [client, qemu]) socket.on('error', end).on('close', end);
    if (mode === 'garbage') spoil(client);
  }).listen(path);
  await once(proxy, 'listening');
  const { uid, gid } = await stat(real);
  await chown(path, uid, gid);
  return {
    become(next) {
      mode = next;
      if (next === 'garbage') for (const client of clients) spoil(client);
      // A new connection is greeted by QEMU itself.
      else if (next === 'pass') for (const client of clients) client.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
