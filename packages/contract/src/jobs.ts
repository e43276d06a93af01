import { z } from 'zod';
import { AgentName } from './agents.ts';
import { EnvName, maxArgumentBytes, maxCommandLength, Priority } from './command-text.ts';
import { HostId, JobId, VmId, WorkspaceId } from './ids.ts';
import { LogKept } from './log-kept.ts';
import { JobStatus, JobType } from './states.ts';
import { Directory, noNul, Timestamp } from './text.ts';

/** A shorter value would turn half of every log into stars. */
const minSecretLength = 4;

/** What to run: the payload of `execute-command` and the body of `POST /jobs`. */
export const JobSubmission = z.strictObject({
  command: noNul(z.string())
    .min(1, 'must not be empty')
    .max(maxCommandLength, `must be at most ${String(maxCommandLength)} characters`)
    .refine(
      (command) => new TextEncoder().encode(command).length < maxArgumentBytes,
      `must be less than ${String(maxArgumentBytes)} bytes in UTF-8, the kernel's limit for one argument`,
    )
    .describe('Given to `sh -c`'),
  type: z
    .enum(['stream', 'terminal', 'ssh'])
    .optional()
    .describe('Default: `ssh` when `host` is given or the workspace is on a host, else `stream`'),
  workspaceId: WorkspaceId.optional().describe('Run in the directory (and on the host) of this workspace'),
  cwd: Directory.optional().describe(
    'Run in this directory; default: the workspace’s, else where the server was started, on a host the home directory',
  ),
  host: noNul(z.string())
    .min(1)
    .max(100)
    .optional()
    .describe('Name or id of a host of the inventory (type `ssh`)'),
  env: z
    .record(EnvName, noNul(z.string()).max(32_768))
    .refine((env) => Object.keys(env).length <= 500, 'must have at most 500 variables')
    .optional()
    .describe('Added to the job environment'),
  secrets: z
    .record(EnvName, noNul(z.string()).min(minSecretLength).max(32_768))
    .refine((secrets) => Object.keys(secrets).length <= 100, 'must have at most 100 variables')
    .optional()
    .describe(
      'As `env`, for passwords and the like: masked with * in the log, forgotten when the job has ended; not for terminals',
    ),
  timeout: z
    .number()
    .min(0)
    .max(30 * 86_400)
    .optional()
    .describe('Seconds until the job is ended as `timed_out`; 0 or absent: none'),
  color: z
    .boolean()
    .optional()
    .describe('Ask tools for colour (`FORCE_COLOR`, `CLICOLOR_FORCE`); default true'),
  cols: z.int().min(2).max(1000).optional().describe('Terminal width; default 80'),
  rows: z.int().min(2).max(1000).optional().describe('Terminal height; default 24'),
  agent: z
    .union([z.literal('any'), AgentName])
    .optional()
    .describe(
      'Which agent runs it: its name, or `any`; not with a workspace or a host. Default: the one inside the server',
    ),
  priority: Priority.optional().describe('Higher goes first; default 0'),
  retry: z
    .int()
    .min(0)
    .max(10)
    .optional()
    .describe(
      'How many times it begins again when its agent or its run was lost, never when it failed; default 0',
    ),
  idempotencyKey: noNul(z.string())
    .min(1)
    .max(200)
    .optional()
    .describe('The same key again returns the first job'),
});
export type JobSubmission = z.infer<typeof JobSubmission>;

export const Job = z.object({
  id: JobId,
  command: z.string(),
  type: JobType,
  status: JobStatus,
  reason: z.string().nullable().describe('Why it waits, failed, was cancelled or is lost'),
  exitCode: z.int().nullable().describe('As a shell reports it: 128 + n after signal n'),
  signal: z.string().nullable().describe('The signal that ended it, for example SIGTERM'),
  workspaceId: WorkspaceId.nullable(),
  hostId: HostId.nullable(),
  vmId: VmId.nullable().describe('Jobs of type `vm`: the machine that it is a run of'),
  cwd: z.string().nullable(),
  timeout: z.number().nullable().describe('Seconds'),
  secretNames: z.array(z.string()).describe('Of the secret variables it was given'),
  cancelRequested: z.boolean().describe('Somebody asked for its end; true for ever after'),
  createdAt: Timestamp,
  startedAt: Timestamp.nullable(),
  finishedAt: Timestamp.nullable(),
  durationMs: z.number().nullable().describe('From start to end; null until the end'),
  createdBy: z.string(),
  agent: z.string().nullable(),
  attempt: z.int().describe('Counts from 1; more when attempts were lost and it was to be tried again'),
  place: z
    .int()
    .nullable()
    .describe(
      'While it waits: its place in the queue, from 1, among the jobs that the same agents could take',
    ),
  lastSeq: z.int().describe('The last stored event; 0: no output yet'),
  logBytes: z.int().describe('Bytes that the run wrote, as far as they are stored'),
  lineCount: z.int().describe('Lines of the log'),
  errors: z.int().describe('Errors of compilers and of make found in the log so far'),
  warnings: z.int().describe('Warnings, likewise'),
  logState: LogKept,
});
export type Job = z.infer<typeof Job>;

export const JobFilter = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(50),
  before: JobId.optional().describe('`nextBefore` of the page before this one'),
  status: JobStatus.optional(),
  type: JobType.optional(),
  workspaceId: WorkspaceId.optional(),
  vmId: VmId.optional().describe('Runs of this machine'),
  q: noNul(z.string()).max(200).optional().describe('Part of the command'),
});
export type JobFilter = z.infer<typeof JobFilter>;

export const JobPage = z.object({ jobs: z.array(Job), nextBefore: JobId.nullable() });
export type JobPage = z.infer<typeof JobPage>;
