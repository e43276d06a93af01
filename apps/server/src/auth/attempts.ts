const windowMs = 60_000;
const maxFailures = 10;
/** More addresses than this are not remembered: the oldest goes first. */
const maxAddresses = 10_000;

/** Counts failed logins per address in windows of a minute. */
export function createAttempts(now: () => number = Date.now) {
  const failures = new Map<string, { count: number; until: number }>();

  return {
    /** Seconds until this address may try again; 0: now. */
    retryAfter(address: string): number {
      const entry = failures.get(address);
      if (!entry || entry.count < maxFailures || entry.until <= now()) return 0;
      return Math.ceil((entry.until - now()) / 1000);
    },
    fail(address: string): void {
      const known = failures.get(address);
      const entry = known && known.until > now() ? known : { count: 0, until: now() + windowMs };
      failures.delete(address);
      failures.set(address, { ...entry, count: entry.count + 1 });
      const [oldest] = failures.keys();
      if (failures.size > maxAddresses && oldest !== undefined) failures.delete(oldest);
    },
  };
}
