import { z } from 'zod';
import { BatchId, RequestId, VmId } from './ids.ts';
import { LogKept } from './log-kept.ts';
import { RequestChannel } from './new-request.ts';
import { JobStatus } from './states.ts';
import { noNul, Timestamp } from './text.ts';

export const CommandStatus = z.enum(['waiting', 'running', 'done', 'failed', 'skipped']);

export const CommandResult = z.object({
  index: z.int().describe('From 0'),
  name: z.string().nullable(),
  command: z.string(),
  status: CommandStatus.describe('skipped: an earlier one failed, or the machine ended before'),
  exit_code: z.int().nullable().describe('As a shell reports it: 128 + n after signal n'),
  signal: z.string().nullable(),
  started_at: Timestamp.nullable(),
  finished_at: Timestamp.nullable(),
  duration_ms: z.number().nullable(),
  stdout_bytes: z.int().nullable().describe('What it wrote; null: not known, or not ended'),
  stderr_bytes: z.int().nullable(),
});
export type CommandResult = z.infer<typeof CommandResult>;

export const Artifact = z.object({
  index: z.int().describe('From 0: `GET /requests/{uuid}/artifacts/{index}`'),
  path: z.string().describe('In the guest'),
  file_name: z.string().describe('Of the download; a folder is a tar archive'),
  size_bytes: z.int().nullable().describe('null: it is not there, see `reason`'),
  reason: z.string().nullable(),
});
export type Artifact = z.infer<typeof Artifact>;

/** When each stage was reached; null: not yet, or never. */
export const RequestTimeline = z.object({
  queued_at: Timestamp,
  booting_at: Timestamp.nullable().describe('QEMU started'),
  ready_at: Timestamp.nullable().describe('The channel answered'),
  running_at: Timestamp.nullable().describe('The first command began'),
  finished_at: Timestamp.nullable(),
});
export type RequestTimeline = z.infer<typeof RequestTimeline>;

/**
 * How far the kept disk of a request is on its way from the machine of its agent. waiting: its agent has not begun ·
 * checking: all of it came · here: it can be opened.
 */
export const Bringing = z.object({
  state: z.enum(['waiting', 'sending', 'checking', 'failed', 'here']),
  received_bytes: z.int(),
  size_bytes: z.int().nullable().describe('null: its agent has not said'),
  reason: z.string().nullable().describe('Why it failed'),
});
export type Bringing = z.infer<typeof Bringing>;

export const SimulationRequest = z.object({
  uuid: RequestId,
  vm_name: z.string(),
  vm_kind: z.enum(['template', 'image', 'vm']).describe('What `vm_name` named'),
  commands: z.union([z.string(), z.array(z.string())]).describe('As they were given'),
  timeout: z.number().describe('Seconds'),
  status: JobStatus,
  message: z.string().nullable().describe('Why it waits, failed, was cancelled or is lost'),
  exit_code: z.int().nullable().describe('Of the first command that failed; 0: all went well'),
  signal: z.string().nullable(),
  created_at: Timestamp,
  updated_at: Timestamp,
  created_by: z.string(),
  agent: z.string().nullable(),
  attempt: z.int().describe('Counts from 1'),
  place: z.int().nullable().describe('In the queue, from 1; null: it does not wait'),
  priority: z.int(),
  labels: z.record(z.string(), z.string()),
  batch: BatchId.nullable(),
  stop_on_failure: z.boolean(),
  keep_on_failure: z.boolean(),
  kept_until: Timestamp.nullable().describe('The disk of the failed machine is kept until then'),
  kept_in: z.string().nullable().describe('The directory of that disk, on the machine of its agent'),
  bringing: Bringing.nullable().describe(
    'That disk on its way to the server, see `POST /requests/{uuid}/bring`; null: nobody asked for it',
  ),
  opened_vm: VmId.nullable().describe('The machine that was made of the kept disk'),
  cannot_open: z
    .string()
    .nullable()
    .describe('Why no machine can be made of what it left; null: `POST /requests/{uuid}/open` makes one'),
  retry: z.int().describe('Times that it is tried again after a fault of ours'),
  env_names: z.array(z.string()),
  files: z.array(z.object({ path: z.string(), size_bytes: z.int(), mode: z.string() })),
  channel: RequestChannel.nullable().describe('That the runner was started by; null: none answered yet'),
  streams_mixed: z.boolean().describe('stdout holds stderr as well: the channel cannot tell them apart'),
  timeline: RequestTimeline,
  results: z.array(CommandResult),
  artifacts: z.array(Artifact),
  log_bytes: z.int(),
  line_count: z.int(),
  log_state: LogKept,
  cancel_requested: z.boolean(),
});
export type SimulationRequest = z.infer<typeof SimulationRequest>;

export const RequestFilter = z.strictObject({
  status: JobStatus.optional(),
  vm_name: noNul(z.string()).max(128).optional(),
  batch: BatchId.optional(),
  label: noNul(z.string())
    .regex(/^[^=]+(=.*)?$/s, 'must be a label, or label=value')
    .max(300)
    .optional(),
  uuid: z
    .string()
    .regex(/^[0-9a-f-]{4,36}$/i, 'must be 4 or more characters of a uuid')
    .optional()
    .describe('Its beginning or its end'),
  text: noNul(z.string()).max(200).optional().describe('Part of its commands, or of the name of its machine'),
  limit: z.coerce.number().int().min(1).max(1000).default(50),
  offset: z.coerce.number().int().min(0).default(0),
});
export type RequestFilter = z.infer<typeof RequestFilter>;

export const RequestPage = z.object({
  requests: z.array(SimulationRequest).describe('Newest first'),
  total: z.int().describe('That the filter lets through'),
  limit: z.int(),
  offset: z.int(),
});
export type RequestPage = z.infer<typeof RequestPage>;

/** What a change of one request is answered with. */
export const RequestAnswer = z.object({ uuid: RequestId, status: JobStatus, message: z.string() });
export type RequestAnswer = z.infer<typeof RequestAnswer>;

export const BatchAnswer = z.object({
  batch: BatchId,
  requests: z.array(
    z.object({
      uuid: RequestId,
      vm_name: z.string(),
      commands: z.int().describe('Which of the batch’s `commands`, from 0'),
      status: JobStatus,
    }),
  ),
  message: z.string(),
});
export type BatchAnswer = z.infer<typeof BatchAnswer>;

/** hold ⇄ pending, and cancelled; everything else is refused with what is allowed. */
export const RequestStatusChange = z.strictObject({
  status: JobStatus.describe('`hold`, `pending` (release) or `cancelled`'),
});

/** What a person may ask of a request in each state. */
export const allowedRequestChanges: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  pending: ['hold', 'cancelled'],
  hold: ['pending', 'cancelled'],
  acknowledged: ['cancelled'],
  running: ['cancelled'],
  done: [],
  failed: [],
  cancelled: [],
  timed_out: [],
  lost: [],
};
