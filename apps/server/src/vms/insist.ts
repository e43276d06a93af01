import { setTimeout as delay } from 'node:timers/promises';
import { isDatabaseUnavailable } from '@vmo/db';

const repeatMs = 1_000;

/** Writes the end of something that was done: a database that is away must not lose it. */
export async function insist<T>(write: () => Promise<T>, isStopped: () => boolean): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (isStopped() || !isDatabaseUnavailable(error)) throw error;
      await delay(repeatMs, undefined, { ref: false });
    }
  }
}
