import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { DriverError } from '../driver.ts';

/** Typed and not taken by the guest yet, in characters: more is refused. */
const maxQueued = 64 * 1024;
/** A guest that reads its console takes what is typed within this; for one that does not nobody waits longer. */
const takenWithinMs = 1_000;

/** The serial console's input. What the guest says is in the boot file, and comes here, too: it is thrown away. */
export interface SerialInput {
  /** Resolves when QEMU has it, or when it waits for a guest that does not read. @throws DriverError silent · refused */
  write(data: string): Promise<void>;
  close(): void;
}

/**
 * Each piece has a connection of its own, which ends when QEMU has taken all of it. While somebody is connected and does
 * not read fast enough – a few hundred bytes fill the socket, which carries them one by one – QEMU 7.2 writes a byte that
 * it has to offer again into the boot file again.
 */
export function createSerialInput(path: () => Promise<string>): SerialInput {
  /** QEMU has taken everything before. */
  let taken: Promise<unknown> = Promise.resolve();
  let queued = 0;
  let open: Socket | null = null;

  /** @returns when QEMU has taken it */
  async function send(data: string): Promise<{ end: Promise<unknown> }> {
    const socket = connect(await path());
    open = socket;
    const end = new Promise((resolve) => socket.once('close', resolve));
    // Told by its end; before, to whoever waits for the connection.
    socket.on('error', () => undefined);
    // Read, always: a guest whose console nobody reads would be held up by QEMU.
    socket.resume();
    socket.unref();
    await once(socket, 'connect');
    // Half an end: QEMU reads what there is, and then closes the whole.
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.end(data, resolve);
    });
    return { end };
  }

  return {
    async write(data) {
      if (queued + data.length > maxQueued)
        throw new DriverError('refused', 'the guest does not read its console: what was typed waits for it');
      queued += data.length;
      const sent = taken.then(() => send(data));
      taken = sent
        .then(({ end }) => end)
        .catch(() => undefined)
        .finally(() => (queued -= data.length));
      try {
        await Promise.race([sent, delay(takenWithinMs, undefined, { ref: false })]);
      } catch (error) {
        throw new DriverError('silent', 'the serial console cannot be written to', { cause: error });
      }
    },
    close() {
      open?.destroy();
    },
  };
}
