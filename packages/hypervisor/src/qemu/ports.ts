import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { DriverError } from '../driver.ts';

/** Below those that systems give to outgoing connections (from 32,768 in Linux), so that none of these takes it first. */
const lowest = 20_000;
const highest = 32_767;
const attempts = 200;
/** How long QEMU may take from being told a port to taking it. */
const keptMs = 60_000;

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host: '127.0.0.1', exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** Finds free ports on 127.0.0.1, and gives none of them twice while the one who got it has not taken it yet. */
export function createPortFinder(): { find(): Promise<number> } {
  const given = new Map<number, number>();
  return {
    async find() {
      const now = Date.now();
      for (const [port, until] of given) if (until < now) given.delete(port);
      for (let attempt = 0; attempt < attempts; attempt++) {
        const port = randomInt(lowest, highest + 1);
        if (given.has(port)) continue;
        given.set(port, now + keptMs);
        if (await isFree(port)) return port;
      }
      throw new DriverError(
        'impossible',
        `no free port was found on 127.0.0.1 between ${lowest} and ${highest}: too many are taken`,
      );
    },
  };
}
