import { z } from 'zod';
import { Timestamp } from './text.ts';

/** Log in with the one-time code of the start URL, or with the token. */
export const Login = z.union([
  z.strictObject({ code: z.string().min(1).max(200) }),
  z.strictObject({ token: z.string().min(1).max(1000) }),
]);
export type Login = z.infer<typeof Login>;

export const Session = z.object({
  user: z.string(),
  expiresAt: Timestamp.nullable().describe('null: a bearer token, which does not expire'),
});
export type Session = z.infer<typeof Session>;

/** What the page needs to know about this server. */
export const ServerInfo = z.object({
  version: z.string(),
  agent: z.string(),
  maxConcurrentJobs: z.int(),
  externalTerminal: z
    .boolean()
    .describe('VMO_TERM_CMD is set: terminal jobs can be opened on the server’s desktop'),
  eventRetentionDays: z.int(),
  defaultDirectory: z.string(),
  home: z.string(),
});
export type ServerInfo = z.infer<typeof ServerInfo>;

export const Health = z.object({ status: z.literal('ok') });
export const Readiness = z.object({
  status: z.enum(['ready', 'not ready']),
  database: z.enum(['up', 'down']),
  agent: z.enum(['up', 'down']),
  unstoredJobs: z
    .int()
    .describe('Jobs with output that is waiting in the spool because the database does not take it'),
  problems: z.array(z.string()).default([]).describe('What else is wrong, in words: a disk that is full'),
});
export type Readiness = z.infer<typeof Readiness>;
