import { z } from 'zod';
import type { ErrorCode, FieldIssue } from './errors.ts';
import { JobId } from './ids.ts';
import { Job, JobSubmission } from './jobs.ts';
import { JobEvent } from './log.ts';
import type { Permission } from './permissions.ts';
import { JobStatus } from './states.ts';

/** The Socket.IO namespace of jobs; path `/socket.io`. */
export const jobsNamespace = '/jobs';

/**
 * Largest message that the server takes, in bytes; a larger one ends the connection. Well above what any schema allows,
 * so that what is merely too long is answered and not cut off.
 */
export const maxSocketMessage = 1024 * 1024;

/** Largest payload of one terminal input message, in characters; longer pastes are sent in pieces. */
export const maxInputLength = 16 * 1024;

/**
 * The screen of a terminal job as it is now: written into a fresh terminal of this size, it looks the same.
 * The `job:log` events that follow continue exactly where it ends.
 */
export const TerminalScreen = z.object({ data: z.string(), cols: z.int(), rows: z.int() });
export type TerminalScreen = z.infer<typeof TerminalScreen>;

interface SocketCommand {
  readonly permission: Permission;
  readonly summary: string;
  readonly payload: z.ZodType;
  readonly answer: z.ZodType;
}

const empty = z.object({});
const jobRef = z.strictObject({ jobId: JobId });
const seq = z.int().min(0);

/** Every event that a browser may send. Each is answered with `Ack`. */
export const socketCommands = {
  'execute-command': {
    permission: 'jobs:run',
    summary: 'Run a command and subscribe to its output from the first event',
    payload: JobSubmission,
    answer: z.object({ job: Job }),
  },
  'job:subscribe': {
    permission: 'jobs:read',
    summary: 'Get `job:log` from afterSeq + 1 on: history first, live after, no gap, no repeat',
    payload: z.strictObject({
      jobId: JobId,
      afterSeq: seq.optional().describe('Default 0: from the beginning'),
      newestBytes: z
        .int()
        .min(1)
        .max(16 * 1024 * 1024)
        .optional()
        .describe('Instead of afterSeq: begin with the newest output, about as much as this'),
      screen: z
        .boolean()
        .optional()
        .describe('Terminal jobs: begin with the screen as it is now instead of the history'),
    }),
    answer: z.object({
      job: Job,
      lastSeq: z.int(),
      afterSeq: z
        .int()
        .optional()
        .describe('With newestBytes: what follows begins after this event; 0: nothing was left out'),
      screen: TerminalScreen.nullable().optional(),
      inControl: z.boolean().optional().describe('Terminal jobs: this socket may type'),
    }),
  },
  'job:unsubscribe': {
    permission: 'jobs:read',
    summary: 'Stop `job:log` of a job',
    payload: jobRef,
    answer: empty,
  },
  'job:ack': {
    permission: 'jobs:read',
    summary:
      'Everything up to seq has been processed. Whoever acknowledges is never sent far ahead of it, and hears `job:skipped` when it falls behind; whoever never does gets everything, as fast as its connection takes it',
    payload: z.strictObject({ jobId: JobId, seq }),
    answer: empty,
  },
  'job:cancel': {
    permission: 'jobs:cancel',
    summary: 'As POST /jobs/cancel',
    payload: jobRef,
    answer: z.object({ job: Job }),
  },
  'job:input': {
    permission: 'jobs:run',
    summary:
      'Type into a terminal job, or the console of a machine (which also needs `vms:console`); only the socket in control may',
    payload: z.strictObject({ jobId: JobId, data: z.string().min(1).max(maxInputLength) }),
    answer: empty,
  },
  'job:resize': {
    permission: 'jobs:run',
    summary: 'Resize a terminal job; only the socket in control may',
    payload: z.strictObject({ jobId: JobId, cols: z.int().min(2).max(1000), rows: z.int().min(2).max(1000) }),
    answer: empty,
  },
  'job:take-control': {
    permission: 'jobs:run',
    summary:
      'Become the one socket that types into a terminal job, or the console of a machine (which also needs `vms:console`)',
    payload: jobRef,
    answer: empty,
  },
  'jobs:watch': {
    permission: 'jobs:read',
    summary: 'Get `job:status` of every job; without it, only of the subscribed ones',
    payload: z.strictObject({ watch: z.boolean().default(true) }).optional(),
    answer: empty,
  },
} as const satisfies Record<string, SocketCommand>;

export type SocketCommandName = keyof typeof socketCommands;
export type SocketPayload<N extends SocketCommandName> = z.output<(typeof socketCommands)[N]['payload']>;
export type SocketRequest<N extends SocketCommandName> = z.input<(typeof socketCommands)[N]['payload']>;
export type SocketAnswer<N extends SocketCommandName> = z.output<(typeof socketCommands)[N]['answer']>;

export interface SocketError {
  code: ErrorCode;
  message: string;
  issues?: readonly FieldIssue[];
}
export type Ack<T> = ({ ok: true } & T) | { ok: false; error: SocketError };

export const JobDone = z.object({
  jobId: JobId,
  status: JobStatus,
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
});
export type JobDone = z.infer<typeof JobDone>;

export const JobSkipped = z.object({
  jobId: JobId,
  fromSeq: z.int(),
  toSeq: z.int(),
  expired: z
    .boolean()
    .optional()
    .describe(
      'They were removed, by retention or by the limit of a log without an end: they cannot be fetched',
    ),
});
export type JobSkipped = z.infer<typeof JobSkipped>;

export const JobControl = z.object({ jobId: JobId, inControl: z.boolean() });
export type JobControl = z.infer<typeof JobControl>;

export const JobResized = z.object({ jobId: JobId, cols: z.int(), rows: z.int() });
export type JobResized = z.infer<typeof JobResized>;

/** Every event that the server sends. Facts only: a command is answered by its acknowledgement. */
export const socketFacts = {
  'job:log': { summary: 'Output, in order of seq', payload: JobEvent },
  'job:done': { summary: 'The end of a job, after its last `job:log`', payload: JobDone },
  'job:status': { summary: 'The row of a job, whenever it changes', payload: Job },
  'job:skipped': {
    summary:
      'This socket, which acknowledges, fell behind: these events were not sent and can be fetched. History is never skipped',
    payload: JobSkipped,
  },
  'job:control': {
    summary: 'Terminal jobs: whether this socket may type, whenever that changes',
    payload: JobControl,
  },
  'job:resized': {
    summary: 'Terminal jobs: the socket in control gave the terminal this size',
    payload: JobResized,
  },
} as const satisfies Record<string, { readonly summary: string; readonly payload: z.ZodType }>;

export type ServerEvents = {
  [N in keyof typeof socketFacts]: (fact: z.output<(typeof socketFacts)[N]['payload']>) => void;
};

export type ClientEvents = {
  [N in SocketCommandName]: (payload: SocketRequest<N>, ack: (answer: Ack<SocketAnswer<N>>) => void) => void;
};
