import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** 256 random bits, in letters that need no quoting anywhere. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** What is kept of a secret. Secrets of 256 random bits need no slow hash: there is nothing to guess. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Takes the same time for every input of one length, and tells nothing about the length of the other. */
export function matchesHash(given: string, hash: Buffer): boolean {
  return timingSafeEqual(hashSecret(given), hash);
}
