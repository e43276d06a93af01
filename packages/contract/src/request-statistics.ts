import { z } from 'zod';
import { JobStatus } from './states.ts';

export const RequestStatisticsQuery = z.strictObject({
  days: z.coerce
    .number()
    .int()
    .min(1)
    .max(366)
    .default(30)
    .describe('Of the last so many days, today included'),
});

const Percentiles = z
  .object({ p50: z.number(), p95: z.number() })
  .nullable()
  .describe('Milliseconds; null: there are none');

const RequestFigures = z.object({
  counts: z.record(JobStatus, z.int()).describe('As they are now'),
  queue_ms: Percentiles.describe('From being submitted to the start of QEMU'),
  boot_ms: Percentiles.describe('From the start of QEMU until commands could be given'),
  log_bytes: z.int(),
});
export type RequestFigures = z.infer<typeof RequestFigures>;

/** Of those that ended by themselves, the share that went well, from 0 to 1; null: none has ended. */
export function successRate({ counts }: Pick<RequestFigures, 'counts'>): number | null {
  const ended = counts.done + counts.failed + counts.timed_out + counts.lost;
  return ended === 0 ? null : counts.done / ended;
}

export const RequestStatistics = z.object({
  days: z
    .array(RequestFigures.extend({ day: z.string().describe('YYYY-MM-DD, UTC') }))
    .describe('By the day on which they were submitted; days without any are left out'),
  all: RequestFigures.describe('Of all these days'),
});
export type RequestStatistics = z.infer<typeof RequestStatistics>;
