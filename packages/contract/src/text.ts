import { z } from 'zod';

/**
 * Text that can become an argument, a file name or an environment value, where NUL would cut it short, and that can be
 * stored: half a surrogate pair is no character in UTF-8.
 */
export const noNul = (schema: z.ZodString) =>
  schema.regex(/^[^\0\p{Cs}]*$/u, 'must not contain NUL (U+0000) or half a surrogate pair');

export const Name = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must be at most 100 characters')
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters');

export const Directory = noNul(z.string())
  .min(1, 'must not be empty')
  .max(4096, 'must be at most 4096 characters')
  .regex(/^(\/|~(\/|$))/, 'must be an absolute path, or start with ~/');

export const Timestamp = z.iso.datetime();
