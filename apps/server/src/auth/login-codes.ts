import { hashSecret, newSecret } from './secrets.ts';

const lifeMs = 10 * 60_000;

/** One-time codes for the start URL. In memory: a restart prints a new URL anyway. */
export function createLoginCodes(now: () => number = Date.now) {
  const expiries = new Map<string, number>();

  return {
    issue(): string {
      const code = newSecret();
      expiries.set(hashSecret(code).toString('hex'), now() + lifeMs);
      return code;
    },
    /** True once per code, and only in its ten minutes. Looking up a hash leaks nothing of the code by its time. */
    redeem(code: string): boolean {
      const key = hashSecret(code).toString('hex');
      const expiry = expiries.get(key) ?? 0;
      expiries.delete(key);
      return expiry > now();
    },
  };
}
