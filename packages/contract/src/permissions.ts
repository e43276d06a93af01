import { z } from 'zod';

/**
 * What a route or socket event requires. One role exists today and holds all of them; routes and events
 * declare theirs so that roles can come without touching them. `public` needs no credential; `agents:greet` and
 * `agents:work` are all that an agent's token may do, and only the first as long as it speaks another version of the contract.
 */
export const Permission = z.enum([
  'public',
  'session:use',
  'jobs:read',
  'jobs:run',
  'jobs:cancel',
  'workspaces:read',
  'workspaces:write',
  'hosts:read',
  'hosts:write',
  'vms:read',
  'vms:write',
  'vms:power',
  'vms:console',
  'vms:delete',
  'agents:read',
  'agents:write',
  'agents:greet',
  'agents:work',
  'system:read',
  'system:write',
]);
export type Permission = z.infer<typeof Permission>;
