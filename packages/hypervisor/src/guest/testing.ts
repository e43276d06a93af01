import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { temporaryDirectory } from '../images/testing.ts';
import { smallGuestKernelArguments, type SmallGuest } from './small-guest.ts';

/** A guest that runs under plain QEMU, without any code of ours between: what the tests hold ours against. */
export interface BootedGuest extends AsyncDisposable {
  /** Everything that its console has shown. */
  readonly text: () => string;
  /** Waits until the console shows it, from where the last wait ended. @returns what came before it, and itself */
  see(words: string | RegExp): Promise<string>;
  type(line: string): void;
  qmp(execute: string, args?: object): Promise<unknown>;
  /** Milliseconds from the start of QEMU. */
  readonly age: () => number;
  readonly ended: Promise<number | null>;
}

export async function bootSmallGuest(
  guest: SmallGuest,
  how: { kernelArguments?: string; qemuArguments?: readonly string[] } = {},
): Promise<BootedGuest> {
  const folder = await temporaryDirectory();
  const socket = join(folder.path, 'qmp');
  const started = performance.now();
  const append = `${smallGuestKernelArguments} ${how.kernelArguments ?? ''}`;
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-machine',
        'q35,accel=tcg',
        '-cpu',
        'max',
        '-m',
        '256M,maxmem=1G,slots=1',
        '-nodefaults',
        '-no-user-config',
        '-no-reboot',
        '-display',
        'none',
      ],
      ...['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', append, '-serial', 'stdio'],
      ...['-qmp', `unix:${socket},server=on,wait=off`, ...(how.qemuArguments ?? [])],
    ],
    { stdio: 'pipe' },
  );
  const console = watch(child);
  const ended = once(child, 'close').then(([code]) => (typeof code === 'number' ? code : null));
  let qmp: ReturnType<typeof connect> | undefined;
  return {
    ...console,
    ended,
    age: () => performance.now() - started,
    type: (line) => child.stdin.write(`${line}\n`),
    async qmp(execute, args) {
      qmp ??= connect(socket).then(async (connection) => {
        await connection.ask('qmp_capabilities');
        return connection;
      });
      return (await qmp).ask(execute, args);
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
      (await qmp?.catch(() => undefined))?.socket.destroy();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function watch(child: ChildProcess): Pick<BootedGuest, 'text' | 'see'> {
  let text = '';
  let seen = 0;
  let check = () => {
    /* nobody waits */
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      check();
    });
  }
  return {
    text: () => text,
    see: (words) =>
      new Promise((resolve, reject) => {
        const fail = () => {
          reject(new Error(`the guest ended before it showed ${String(words)}:\n${text.slice(-2_000)}`));
        };
        child.once('close', fail);
        check = () => {
          const rest = text.slice(seen);
          const found = typeof words === 'string' ? words : words.exec(rest)?.[0];
          const at = found === undefined ? -1 : rest.indexOf(found);
          if (found === undefined || at < 0) return;
          seen += at + found.length;
          child.off('close', fail);
          check = () => undefined;
          resolve(rest.slice(0, at + found.length));
        };
        check();
      }),
  };
}

/** As much of QMP, and of the guest agent's protocol, as the tests need: one question at a time. */
export async function connect(path: string): Promise<{
  socket: Socket;
  ask: (execute: string, args?: object) => Promise<unknown>;
}> {
  const socket = createConnection(path);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const ask = async (execute: string, args: object = {}): Promise<unknown> => {
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error('QEMU closed its monitor');
      const message: unknown = JSON.parse(value);
      if (typeof message !== 'object' || message === null) continue;
      if ('error' in message) throw new Error(`${execute}: ${JSON.stringify(message.error)}`);
      if ('return' in message) return message.return;
    }
  };
  return { socket, ask };
}
