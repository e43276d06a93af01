import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { temporaryDirectory } from './temporary-directory.ts';

export interface FakeQmpCommand {
  execute: string;
  arguments?: unknown;
  id?: unknown;
}

/** One client of a fake monitor. It says only what it is told to. */
export interface FakeQmpConnection {
  /** Sends bytes as they are. */
  raw: (bytes: string | Uint8Array) => void;
  /** Sends each byte alone, so that most are read alone. */
  trickle: (text: string) => Promise<void>;
  greet: () => void;
  /** Greets, and lets the client negotiate. */
  welcome: () => Promise<void>;
  /** The next command that came or will come. */
  command: () => Promise<FakeQmpCommand>;
  answer: (command: FakeQmpCommand, value?: unknown) => void;
  refuse: (command: FakeQmpCommand, errorClass: string, desc: string) => void;
  event: (event: string, data?: unknown) => void;
  /** Closes, after all that was sent. */
  end: () => void;
  /** When the client is gone. */
  readonly closed: Promise<void>;
}

/** A monitor of QEMU that is played by a test. */
export interface FakeQmp extends AsyncDisposable {
  readonly path: string;
  /** The next client that came or will come. */
  connection: () => Promise<FakeQmpConnection>;
}

/** As QEMU 7.2 says it. */
export const fakeQmpGreeting = {
  QMP: {
    version: { qemu: { micro: 22, minor: 2, major: 7 }, package: 'Debian 1:7.2' },
    capabilities: ['oob'],
  },
};

export const qmpLine = (message: unknown): string => `${JSON.stringify(message)}\r\n`;

export async function startFakeQmp(): Promise<FakeQmp> {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'qmp.sock');
  const connections = queue<FakeQmpConnection>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    connections.add(play(socket));
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    path,
    connection: connections.next,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
      await directory[Symbol.asyncDispose]();
    },
  };
}

function play(socket: Socket): FakeQmpConnection {
  const commands = queue<FakeQmpCommand>();
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (data: string) => {
    text += data;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) commands.add(JSON.parse(line) as FakeQmpCommand);
  });
  // A client that goes while we write to it is what many tests are about.
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const send = (message: unknown) => void socket.write(qmpLine(message));
  const connection: FakeQmpConnection = {
    raw: (bytes) => void socket.write(bytes),
    async trickle(whole) {
      for (const byte of Buffer.from(whole)) {
        socket.write(Uint8Array.of(byte));
        await setImmediate();
      }
    },
    greet: () => send(fakeQmpGreeting),
    async welcome() {
      connection.greet();
      connection.answer(await connection.command());
    },
    command: commands.next,
    answer: ({ id }, value = {}) => send({ return: value, id }),
    refuse: ({ id }, errorClass, desc) => send({ id, error: { class: errorClass, desc } }),
    event: (event, data) =>
      send({ timestamp: { seconds: 1_700_000_000, microseconds: 250_000 }, event, data }),
    end: () => void socket.end(),
    closed,
  };
  return connection;
}

/** First come, first served, on both sides. */
function queue<T>(): { add: (item: T) => void; next: () => Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    add(item) {
      const first = waiting.shift();
      if (first) first(item);
      else items.push(item);
    },
    next: () =>
      new Promise((resolve) => {
        const [item] = items.splice(0, 1);
        if (item === undefined) waiting.push(resolve);
        else resolve(item);
      }),
  };
}
