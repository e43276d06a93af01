import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { clientOptions, type DatabaseAddress } from './connect.ts';

/** A server that was killed a moment ago has its connection closed by the kernel; Postgres sees it within this. */
const patienceMs = 5_000;
const againMs = 50;
/** While the database is away. */
const awayMs = 1_000;

/** Another server works on this database: two would take each other's jobs for lost. */
export class DatabaseTakenError extends Error {
  constructor() {
    super('another server uses this database: stop that one, or give this one a database of its own');
    this.name = 'DatabaseTakenError';
  }
}

/** A connection that has the lock; null: somebody else has it. */
async function tryToHold(address: DatabaseAddress): Promise<pg.Client | null> {
  const client = new pg.Client(clientOptions(address));
  client.on('error', () => undefined); // 'end' follows
  await client.connect();
  try {
    // Where the machine of a server dies without a word, its lock must not outlive it by the two hours of the default.
    await client.query('set tcp_keepalives_idle = 10');
    await client.query('set tcp_keepalives_interval = 5');
    await client.query('set tcp_keepalives_count = 3');
    const { rows } = await client.query<{ held: boolean }>(
      `select pg_try_advisory_lock(hashtext('vmo:server')) as held`,
    );
    if (rows[0]?.held) return client;
  } catch (error) {
    await client.end();
    throw error;
  }
  await client.end();
  return null;
}

async function hold(address: DatabaseAddress, signal: AbortSignal): Promise<pg.Client> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const client = await tryToHold(address);
    if (client) return client;
    if (performance.now() > deadline) throw new DatabaseTakenError();
    await delay(againMs, undefined, { signal });
  }
}

/**
 * Makes this process the only server of a database until it is disposed of, by an advisory lock of a connection of its own.
 * When Postgres was away the lock is taken again; `onTaken` is called once if somebody else has it by then.
 * @throws DatabaseTakenError; as a query when the database is away
 */
export async function holdDatabase(
  address: DatabaseAddress,
  onTaken: (error: DatabaseTakenError) => void,
): Promise<AsyncDisposable> {
  const over = new AbortController();
  let client = await hold(address, over.signal);

  async function holdAgain(): Promise<void> {
    while (!over.signal.aborted) {
      try {
        client = await hold(address, over.signal);
        watch();
        return;
      } catch (error) {
        if (error instanceof DatabaseTakenError) {
          onTaken(error);
          return;
        }
        await delay(awayMs, undefined, { signal: over.signal }).catch(() => undefined); // stopped meanwhile
      }
    }
  }

  function watch(): void {
    client.once('end', () => {
      if (!over.signal.aborted) holding = holdAgain();
    });
  }

  let holding = Promise.resolve();
  watch();
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await holding;
      await client.end();
    },
  };
}
