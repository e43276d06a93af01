import { z } from 'zod';
import { HostId } from './ids.ts';
import { Directory, Name, Timestamp } from './text.ts';

/** A host name, an IPv4 or IPv6 address or a name of the SSH configuration; never something ssh could take for an option. */
export const HostAddress = z
  .string()
  .min(1)
  .max(253)
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9._:-]*$|^::[A-Fa-f0-9:.]*$/,
    'must be a host name or address: letters, digits, dot, colon, - and _, not starting with -',
  );

export const HostUser = z
  .string()
  .min(1)
  .max(64)
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9._-]*$/,
    'must be a user name: letters, digits, dot, - and _, not starting with -',
  );

export const Host = z.object({
  id: HostId,
  name: z.string(),
  address: z.string(),
  user: z.string().nullable().describe('null: as the SSH configuration says'),
  port: z.int().nullable().describe('null: as the SSH configuration says, else 22'),
  identityFile: z.string().nullable(),
  createdAt: Timestamp,
});
export type Host = z.infer<typeof Host>;

const hostFields = {
  name: Name,
  address: HostAddress,
  user: HostUser.nullable(),
  port: z.int().min(1).max(65_535).nullable(),
  identityFile: Directory.nullable(),
};

export const NewHost = z.strictObject({
  name: hostFields.name,
  address: hostFields.address,
  user: hostFields.user.optional(),
  port: hostFields.port.optional(),
  identityFile: hostFields.identityFile.optional(),
});
export type NewHost = z.infer<typeof NewHost>;

export const HostChange = z
  .strictObject(hostFields)
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'must change something');
export type HostChange = z.infer<typeof HostChange>;

/** A public key that a host presents, with the fingerprint people compare (`SHA256:…`). */
export const HostKey = z.object({ type: z.string(), fingerprint: z.string(), trusted: z.boolean() });
export type HostKey = z.infer<typeof HostKey>;

export const HostTest = z.object({
  ok: z.boolean(),
  message: z.string().describe('What happened and, when not ok, what to do'),
  keys: z.array(HostKey),
  latencyMs: z.number().nullable(),
});
export type HostTest = z.infer<typeof HostTest>;

export const HostTrust = z.strictObject({
  fingerprint: z.string().regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/, 'must be a fingerprint as `SHA256:…`'),
});
