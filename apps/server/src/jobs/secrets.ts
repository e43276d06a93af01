import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { z } from 'zod';

const cipher = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;

/** Secret variables wait in the database for their job, and must not be read there. */
export interface Secrets {
  /** nonce, tag, text. */
  seal(secrets: Readonly<Record<string, string>>): Buffer;
  /** null: another key sealed it, or it was changed. */
  open(sealed: Buffer): Record<string, string> | null;
}

const Opened = z.record(z.string(), z.string());

/** @param key 32 bytes */
export function createSecrets(key: Buffer): Secrets {
  return {
    seal(secrets) {
      const nonce = randomBytes(nonceBytes);
      const sealing = createCipheriv(cipher, key, nonce);
      const text = Buffer.concat([sealing.update(JSON.stringify(secrets)), sealing.final()]);
      return Buffer.concat([nonce, sealing.getAuthTag(), text]);
    },
    open(sealed) {
      if (sealed.length < nonceBytes + tagBytes) return null;
      const opening = createDecipheriv(cipher, key, sealed.subarray(0, nonceBytes));
      opening.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
      const text = opening.update(sealed.subarray(nonceBytes + tagBytes));
      try {
        opening.final();
      } catch {
        return null;
      }
      return Opened.parse(JSON.parse(text.toString()));
    },
  };
}
