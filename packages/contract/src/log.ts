import { z } from 'zod';
import { JobId } from './ids.ts';
import { LogStream } from './states.ts';
import { Timestamp } from './text.ts';

export const JobEvent = z.object({
  jobId: JobId,
  seq: z.int().min(1).describe('Counts from 1 without gaps per job'),
  stream: LogStream,
  chunk: z.string().describe('Text; bytes that are not UTF-8 appear as U+FFFD'),
  ts: Timestamp.describe('When the agent read it'),
  linesBefore: z
    .int()
    .min(0)
    .describe('Lines of the whole log that began before this chunk: the next one has this number plus one'),
  continues: z
    .int()
    .min(1)
    .nullable()
    .describe('The number of the unfinished line that the chunk goes on with; null: it begins a line'),
  style: z
    .string()
    .describe(
      'The escape sequence for the style that its stream left on, and the beginning of one that the chunk ends; empty: none',
    ),
});
export type JobEvent = z.infer<typeof JobEvent>;

export const EventsQuery = z.strictObject({
  afterSeq: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(500),
});

export const EventPage = z.object({
  events: z.array(JobEvent),
  lastSeq: z.int().describe('The last stored event of the job at the time of reading'),
});
export type EventPage = z.infer<typeof EventPage>;

export const LogQuery = z.strictObject({
  stream: z
    .enum([...LogStream.options, 'all'])
    .optional()
    .describe(
      'Default: stdout, stderr and boot in order of `seq`, exactly what was written; `all` adds the cockpit’s own words',
    ),
  download: z.string().optional().describe('Present: as an attachment with a file name'),
});

/** `stdout,stderr`: the streams of a query, in any order; absent: all. */
const Streams = z
  .string()
  .max(100)
  .transform((words) => [...new Set(words.split(','))])
  .pipe(z.array(LogStream).min(1))
  .optional()
  .describe('Streams to look at, as `stdout,stderr`; absent: all');

/** Bytes of a line that are sent unless more is asked for. */
export const defaultLineBytes = 16 * 1024;
export const maxLineBytes = 16 * 1024 * 1024;
/** Lines of one answer, at most. */
export const maxLines = 2000;

export const LinesQuery = z.strictObject({
  from: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe(
      'Position of the first line among those of the streams; with all streams, its number. Default 1',
    ),
  number: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe('Instead of `from`: begin with the first line that has this number or a higher one'),
  last: z.coerce
    .number()
    .int()
    .min(1)
    .max(maxLines)
    .optional()
    .describe('Instead of `from`: the last lines, as many as this'),
  limit: z.coerce.number().int().min(1).max(maxLines).default(500),
  streams: Streams,
  lineBytes: z.coerce
    .number()
    .int()
    .min(1)
    .max(maxLineBytes)
    .default(defaultLineBytes)
    .describe('Bytes of each line, at most'),
});

export const LogLine = z.object({
  number: z.int().min(1).describe('Given by the order of first bytes; never changes'),
  stream: LogStream,
  ts: Timestamp.describe('When its first byte was read'),
  text: z.string().describe('With its escape sequences, without its line end'),
  style: z
    .string()
    .describe('The escape sequence for the style that its stream left on where the line begins; empty: none'),
  cut: z.boolean().describe('The line is longer than `lineBytes`'),
  open: z.boolean().describe('The line has not ended yet'),
});
export type LogLine = z.infer<typeof LogLine>;

export const LinePage = z.object({
  from: z.int().min(1).describe('Position of the first line among those of the streams'),
  lines: z.array(LogLine),
  count: z.int().describe('Lines of the streams now'),
  lineCount: z.int().describe('Lines of the whole log now'),
  lastSeq: z.int().describe('The last stored event that this answer knows of'),
});
export type LinePage = z.infer<typeof LinePage>;

export const FindQuery = z.strictObject({
  text: z.string().min(1).max(1000),
  regex: z.stringbool().default(false),
  caseSensitive: z.stringbool().default(false),
  streams: Streams,
  afterSeq: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe(
      'Only lines that had not ended with this event, each of them whole: to go on where an earlier search ended',
    ),
});
export type FindQuery = z.output<typeof FindQuery>;

/**
 * One line of the answer to a search (`application/x-ndjson`). A line is looked at once it has ended, and each of them
 * once: matches come about in order of line number, but a line that took long to end comes after later ones.
 */
export const FindRow = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('matches'),
    /** [line number, matches in it]. */
    lines: z.array(z.tuple([z.int(), z.int()])),
  }),
  z.object({ type: z.literal('progress'), seq: z.int(), lastSeq: z.int(), matches: z.int() }),
  z.object({
    type: z.literal('end'),
    seq: z.int().describe('Searched up to this event: lines that had ended with it'),
    matches: z.int(),
    truncated: z.boolean().describe('There are more matching lines than are listed'),
    longLines: z
      .int()
      .min(0)
      .describe('Lines that are longer than 1 MiB, of which only the beginning was searched'),
  }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string() }),
]);
export type FindRow = z.infer<typeof FindRow>;

/** Matching lines that a search lists, at most; it goes on counting. */
export const maxFoundLines = 100_000;

export const LogMarks = z.object({
  groups: z
    .array(
      z.object({
        start: z.int().describe('Number of the line that names the group'),
        end: z.int().nullable().describe('Number of its last line; null: not ended yet'),
        name: z.string(),
        kind: z.enum(['group', 'recipe', 'directory']),
        depth: z.int().describe('Groups around it'),
      }),
    )
    .describe('By start'),
  problems: z
    .array(z.object({ line: z.int(), severity: z.enum(['error', 'warning']), text: z.string() }))
    .describe('By line'),
  upToSeq: z.int().describe('Looked at up to this event'),
  truncated: z.boolean().describe('There are more than are listed'),
});
export type LogMarks = z.infer<typeof LogMarks>;

export const LogUsage = z.object({
  bytes: z.int().describe('On the disk, with indexes'),
  days: z.array(z.object({ day: z.string().describe('YYYY-MM-DD, UTC'), bytes: z.int() })),
  retentionDays: z.int().describe('Older logs are removed'),
});
export type LogUsage = z.infer<typeof LogUsage>;

export const ExpiredLogs = z.object({
  days: z.array(z.string()).describe('Days (UTC) whose output was removed'),
  jobs: z.int().describe('Jobs whose log is gone, whole or in part'),
  bytes: z.int(),
});
