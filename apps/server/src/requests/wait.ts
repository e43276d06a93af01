import type { Bus, Facts } from '../kernel/bus.ts';

/**
 * What `look` says as soon as it is not null; it is asked again at every one of these facts that `concerns` us.
 * @returns null when the time is over, or nobody waits any more
 */
export async function waitFor<T, N extends keyof Facts>(
  bus: Bus,
  names: readonly N[],
  concerns: (fact: Facts[N]) => boolean,
  look: () => Promise<T | null>,
  signal: AbortSignal,
): Promise<T | null> {
  const { promise, resolve, reject } = Promise.withResolvers<T | null>();
  const check = () => {
    look().then((found) => {
      if (found !== null) resolve(found);
    }, reject);
  };
  const stops = names.map((name) =>
    bus.on(name, (fact) => {
      if (concerns(fact)) check();
    }),
  );
  const giveUp = () => {
    resolve(null);
  };
  signal.addEventListener('abort', giveUp);
  if (signal.aborted) giveUp();
  // Listening first: what happens between the look and the listening would be missed.
  check();
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', giveUp);
    for (const stop of stops) stop();
  }
}
