import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { selectOrder } from './queue-repository.ts';

/** Nothing changes the queue without {@link Places.changed}; should something do so all the same, this long at most. */
const maxAgeMs = 2_000;

interface Order {
  /** From 1, by job. */
  places: ReadonlyMap<string, number>;
  version: number;
  readAt: number;
}

export interface Places {
  /** A job has come into the queue or left it, or its submitter has more or less under way. After the commit. */
  changed(): void;
  /** Where these pending jobs stand, from 1, among those that the same agents could take; absent: it does not wait any more. */
  of(jobIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

/**
 * The order of the queue, read once for each change however many ask: whoever asks while it is read, and for something
 * newer, shares the next reading.
 */
export function createPlaces(db: Kysely<Database>): Places {
  let version = 0;
  let latest: Order | null = null;
  let reading: { version: number; order: Promise<Order> } | null = null;

  async function read(): Promise<Order> {
    const mine = version;
    const readAt = performance.now();
    const places = new Map<string, number>();
    for (const ids of await selectOrder(db))
      for (const [index, id] of ids.entries()) places.set(id, index + 1);
    latest = { places, version: mine, readAt };
    return latest;
  }

  const isCurrent = (order: Order) =>
    order.version === version && performance.now() - order.readAt < maxAgeMs;

  async function current(): Promise<Order> {
    const wanted = version;
    for (;;) {
      if (latest && isCurrent(latest)) return latest;
      if (!reading) {
        const mine = { version, order: read() };
        reading = mine;
        const over = () => {
          if (reading === mine) reading = null;
        };
        mine.order.then(over, over);
      }
      const order = await reading.order;
      // What has changed since we asked is no reason to ask again.
      if (order.version >= wanted) return order;
    }
  }

  return {
    changed() {
      version += 1;
    },
    async of(jobIds) {
      const { places } = await current();
      return new Map(
        jobIds.flatMap((id) => {
          const place = places.get(id);
          return place === undefined ? [] : [[id, place]];
        }),
      );
    },
  };
}
