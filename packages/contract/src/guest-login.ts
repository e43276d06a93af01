import { z } from 'zod';

/** How to log in to a guest, over SSH and at its serial console. */
export const GuestLogin = z
  .strictObject({
    user: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, 'must be the name of a user')
      .default('root')
      .describe('root, or somebody who may use sudo without being asked for a password'),
    password: z
      .string()
      .regex(/^[^\p{Cc}\p{Cs}]{1,200}$/u, 'must be 1 to 200 characters, none of them a control character')
      .optional()
      .describe(
        'Without it, a key is made for the run, which cloud-init in the guest takes from a seed (NoCloud)',
      ),
  })
  .describe('Whom commands are brought into the guest as, over SSH or at a login on the serial console');
export type GuestLogin = z.output<typeof GuestLogin>;
