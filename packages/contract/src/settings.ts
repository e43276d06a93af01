import { z } from 'zod';

/** One setting of the server, as it stands. */
export const Setting = z.object({
  name: z.string().describe('As in the environment'),
  value: z.string().nullable().describe('What it comes to; secrets as ***; null: unset'),
  source: z.enum(['environment', 'file', 'default']).describe('file: `.env` where the server was started'),
  takes: z.string().describe('What it takes, in words'),
  problem: z.string().nullable().describe('Why the server cannot start with it'),
});
export type Setting = z.infer<typeof Setting>;

export const SettingList = z.object({ settings: z.array(Setting) });
