import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** pass · delay: every piece waits · black-hole: nothing arrives, nothing is closed (a cable pulled out) · refuse. */
export type Fault =
  { kind: 'pass' } | { kind: 'delay'; ms: number } | { kind: 'black-hole' } | { kind: 'refuse' };

export interface FaultProxy extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** From now on, for open and new connections. What a black hole swallowed arrives when it passes again, as by TCP. */
  set(fault: Fault): void;
  /** Resets every open connection. */
  cut(): void;
  /** Resets each connection after it has carried this many bytes from the target; null: no limit. */
  limit(bytes: number | null): void;
}

interface Pipe {
  client: Socket;
  target: Socket;
  carried: number;
}

/** A TCP proxy on loopback that can be told to misbehave. */
export async function startFaultProxy(to: { host: string; port: number }): Promise<FaultProxy> {
  const pipes = new Set<Pipe>();
  /** In a black hole one end of a pipe can be gone while the other waits. */
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  let fault: Fault = { kind: 'pass' };
  let limit: number | null = null;

  function reset(pipe: Pipe): void {
    pipes.delete(pipe);
    pipe.client.resetAndDestroy();
    pipe.target.resetAndDestroy();
  }

  function write(pipe: Pipe, from: Socket, onto: Socket, data: Buffer): void {
    if (!onto.writable) return;
    if (from === pipe.target) pipe.carried += data.length;
    if (limit !== null && pipe.carried > limit) {
      reset(pipe);
      return;
    }
    if (!onto.write(data)) {
      from.pause();
      onto.once('drain', () => {
        if (fault.kind !== 'black-hole') from.resume();
      });
    }
  }

  function carry(pipe: Pipe, from: Socket, onto: Socket): void {
    from.on('data', (data: Buffer) => {
      if (fault.kind !== 'delay') {
        write(pipe, from, onto, data);
        return;
      }
      const timer = setTimeout(() => {
        timers.delete(timer);
        write(pipe, from, onto, data);
      }, fault.ms);
      timers.add(timer);
    });
    from.on('end', () => {
      if (fault.kind !== 'black-hole') onto.end();
    });
    from.on('error', () => {
      reset(pipe);
    });
    from.on('close', () => {
      if (fault.kind !== 'black-hole') onto.destroy();
      pipes.delete(pipe);
    });
    if (fault.kind === 'black-hole') from.pause();
  }

  const server = createServer((client) => {
    if (fault.kind === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const pipe: Pipe = { client, target: connect(to.port, to.host), carried: 0 };
    pipes.add(pipe);
    for (const socket of [client, pipe.target]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    carry(pipe, client, pipe.target);
    carry(pipe, pipe.target, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');

  return {
    host: '127.0.0.1',
    port: address.port,
    get connections() {
      return pipes.size;
    },
    set(next) {
      fault = next;
      for (const { client, target } of pipes) {
        for (const socket of [client, target]) {
          if (next.kind === 'black-hole') socket.pause();
          else socket.resume();
        }
      }
    },
    cut() {
      for (const pipe of [...pipes]) reset(pipe);
    },
    limit(bytes) {
      limit = bytes;
    },
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of sockets) socket.resetAndDestroy();
      server.close();
      await once(server, 'close');
    },
  };
}
