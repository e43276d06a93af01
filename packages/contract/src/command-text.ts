import { z } from 'zod';

/** Longest command, in characters. */
export const maxCommandLength = 32_768;
/** The kernel's limit for one argument, with its final NUL (MAX_ARG_STRLEN in Linux). */
export const maxArgumentBytes = 131_072;

export const EnvName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_]*$/,
    'must be a shell variable name: letters, digits and _, not starting with a digit',
  );

export const Priority = z.int().min(-100).max(100);
