import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

const retryMs = 50;

/** The line to the runner: connected as soon as it can be, so that the runner need not look for us. */
export interface Control {
  /** Sends the plan; a call that comes before the line is there is made up for. */
  send(plan: Buffer): void;
  close(): void;
}

/** @param path rejects while there is no such socket */
export function openControl(path: () => Promise<string>): Control {
  let socket: Socket | null = null;
  let timer: NodeJS.Timeout | null = null;
  let waiting: Buffer | null = null;
  let closed = false;

  const again = () => {
    if (!closed) timer = setTimeout(dial, retryMs);
  };

  function dial(): void {
    timer = null;
    path().then(call, again);
  }

  function call(found: string): void {
    if (closed) return;
    const mine = connect(found);
    mine.on('connect', () => {
      socket = mine;
      flush();
    });
    // It is not there yet, or not any more; or somebody before us still holds it.
    mine.on('error', () => undefined);
    mine.on('close', () => {
      socket = null;
      again();
    });
    // The guest says nothing here; what it says is no reason to keep it.
    mine.resume();
  }

  function flush(): void {
    if (!socket || !waiting) return;
    socket.write(waiting);
    waiting = null;
  }

  dial();
  return {
    send(plan) {
      const nonce = randomBytes(8).toString('hex');
      const sum = createHash('sha256').update(plan).digest('hex');
      const head = `vmo-plan ${plan.length} ${sum} ${nonce}\n`;
      waiting = Buffer.concat([Buffer.from(head), plan]);
      flush();
    },
    close() {
      closed = true;
      if (timer) clearTimeout(timer);
      socket?.destroy();
    },
  };
}
