import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits for something that no event tells of.
 * @param what for the error message: what was waited for
 * @returns the first answer that is neither undefined, null nor false
 */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 10 } = {},
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) {
      return answer as Exclude<T, undefined | null | false>;
    }
    if (Date.now() > deadline) throw new Error(`waited ${String(timeoutMs)} ms in vain for ${what}`);
    await delay(everyMs);
  }
}
