import { z } from 'zod';
import { RequestId } from './ids.ts';
import { JobStatus, LogStream } from './states.ts';
import { Timestamp } from './text.ts';

/** Longest that one call waits, in seconds. */
export const maxRequestWait = 60;

export const RequestLogsQuery = z.strictObject({
  log_type: LogStream.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  offset: z.coerce.number().int().min(0).default(0).describe('Entries that are passed over'),
  after: z.coerce.number().int().min(0).default(0).describe('Entries behind the one with this id'),
  since: Timestamp.optional().describe('Entries not older than this'),
  wait: z.coerce
    .number()
    .min(0)
    .max(maxRequestWait)
    .default(0)
    .describe('Seconds to wait for an entry when there is none yet and the request goes on'),
});
export type RequestLogsQuery = z.infer<typeof RequestLogsQuery>;

export const RequestLogEntry = z.object({
  id: z.int().describe('Grows; not every number is there'),
  timestamp: Timestamp,
  log_type: LogStream,
  output: z
    .string()
    .describe('Text as it came, with its line ends; bytes that are not UTF-8 appear as U+FFFD'),
});
export type RequestLogEntry = z.infer<typeof RequestLogEntry>;

export const RequestLogPage = z.object({
  uuid: RequestId,
  status: JobStatus,
  logs: z.array(RequestLogEntry),
  next_after: z.int().describe('`after` of the next call'),
  complete: z.boolean().describe('The request has ended and nothing comes behind these entries'),
});
export type RequestLogPage = z.infer<typeof RequestLogPage>;
