import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { DriverError } from '../driver.ts';

/** As long as we are connected, nobody else can be. Longer than a person thinks between two keys. */
const idleMs = 60_000;

/** The serial console's input. What the guest says is in the boot file, and comes here, too: it is thrown away. */
export interface SerialInput {
  write(data: string): Promise<void>;
  close(): void;
}

export function createSerialInput(path: () => Promise<string>): SerialInput {
  let socket: Socket | null = null;
  async function open(): Promise<Socket> {
    const opened = connect(await path());
    // Read, always: a guest whose console nobody reads would be held up by QEMU.
    opened.resume();
    opened.unref();
    opened.setTimeout(idleMs, () => opened.end());
    const forget = () => {
      if (socket === opened) socket = null;
    };
    opened.on('error', forget);
    opened.on('close', forget);
    opened.on('end', () => opened.end());
    socket = opened;
    return opened;
  }
  return {
    async write(data) {
      try {
        const into = socket?.writable === true ? socket : await open();
        if (into.connecting) await once(into, 'connect');
        await new Promise<void>((resolve, reject) => {
          into.write(data, (error) => {
            if (error) reject(error);
            else resolve();
          });
        });
      } catch (error) {
        throw new DriverError('silent', 'the serial console cannot be written to', { cause: error });
      }
    },
    close() {
      socket?.destroy();
    },
  };
}
