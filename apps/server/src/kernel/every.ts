import type { Logger } from './logger.ts';

/** Does a chore again and again, one at a time; a failure is logged and the next turn comes. Returns the end of it. */
export function every(ms: number, name: string, chore: () => Promise<unknown>, logger: Logger): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    chore()
      .catch((error: unknown) => {
        logger.warn({ err: error }, `${name} failed`);
      })
      .finally(() => {
        busy = false;
      });
  }, ms);
  return () => {
    clearInterval(timer);
  };
}
