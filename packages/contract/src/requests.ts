import { z } from 'zod';
import { GuestLogin } from './guest-login.ts';
import { BatchId, RequestId, VmId } from './ids.ts';
import { EnvName, maxArgumentBytes, maxCommandLength, Priority } from './command-text.ts';
import { LogKept } from './log-kept.ts';
import { JobStatus, LogStream } from './states.ts';
import { Name, noNul, Timestamp } from './text.ts';

export const defaultRequestTimeout = 300;
/** Of one request, decoded. */
export const maxRequestFileBytes = 8 * 1024 * 1024;
/** Commands and environment of one request, in characters. */
export const maxRequestTextLength = 256 * 1024;
/** Requests of one batch. */
export const maxBatchSize = 1000;

/**
 * How our runner, which carries out the commands over virtio-serial, got into the guest, best first. runner: the guest
 * starts it itself · guest-agent: QEMU's agent started it · ssh: started over SSH · serial: typed at a shell on the serial
 * console, after a login where one is asked for.
 */
export const RequestChannel = z.enum(['runner', 'guest-agent', 'ssh', 'serial']);
export type RequestChannel = z.infer<typeof RequestChannel>;

const CommandText = noNul(z.string())
  .min(1, 'must not be empty')
  .max(maxCommandLength, `must be at most ${String(maxCommandLength)} characters`)
  .refine(
    (command) => new TextEncoder().encode(command).length < maxArgumentBytes,
    `must be less than ${String(maxArgumentBytes)} bytes in UTF-8, the kernel's limit for one argument`,
  )
  .describe('Given to `sh -c`');

export const RequestCommand = z.strictObject({ run: CommandText, name: Name.optional() });
export type RequestCommand = z.infer<typeof RequestCommand>;

/** One command, or several that run one after another, each in a shell of its own. */
export const RequestCommands = z
  .union([
    CommandText,
    z
      .array(z.union([CommandText, RequestCommand]))
      .min(1)
      .max(100),
  ])
  .describe('One command, or a list: each with its own exit code, duration and place in the log');
export type RequestCommands = z.infer<typeof RequestCommands>;

export const commandList = (commands: RequestCommands): RequestCommand[] =>
  (typeof commands === 'string' ? [commands] : commands).map((command) =>
    typeof command === 'string' ? { run: command } : command,
  );

/** Of the guest. */
const GuestPath = z
  .string()
  .max(1024)
  .regex(/^\/[^\p{Cc}\p{Cs}]+$/u, 'must be an absolute path without control characters');

export const RequestFile = z
  .strictObject({
    path: GuestPath.describe('Where it is put; folders on the way are made'),
    content: noNul(z.string()).optional().describe('Text'),
    content_base64: z.base64().optional().describe('Instead of `content`: bytes'),
    mode: z
      .string()
      .regex(/^[0-7]{3,4}$/, 'must be octal, as 755')
      .default('644'),
  })
  .refine((file) => (file.content === undefined) !== (file.content_base64 === undefined), {
    path: ['content'],
    message: 'give either content or content_base64',
  });

const Labels = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'must be 1 to 63 letters, digits, or . _ / -'),
    noNul(z.string()).max(200),
  )
  .refine((labels) => Object.keys(labels).length <= 32, 'must be at most 32');

const VmNameOfRequest = noNul(z.string()).min(1, 'must not be empty').max(128);
/** The server's own upper bound (`VMO_MAX_TIMEOUT`) may be lower. */
const Seconds = z.int().min(1).max(86_400);

/** What a request says beside machine and commands; the same for all of a batch. */
const options = {
  timeout: Seconds.optional().describe(
    `Seconds from the start of the machine to its end; default ${String(defaultRequestTimeout)}, at most \`VMO_MAX_TIMEOUT\``,
  ),
  env: z
    .record(EnvName, noNul(z.string()).max(32_768))
    .refine((env) => Object.keys(env).length <= 500, 'must have at most 500 variables')
    .default({})
    .describe('Variables of every command'),
  files: z.array(RequestFile).max(100).default([]).describe('Put into the guest before the first command'),
  artifacts: z
    .array(GuestPath)
    .max(50)
    .default([])
    .describe('Files and folders of the guest that are fetched after the last command, also when one failed'),
  stop_on_failure: z
    .boolean()
    .default(true)
    .describe('The first command that fails is the last one; false: the others run all the same'),
  priority: Priority.default(0).describe('The higher runs first'),
  labels: Labels.default({}).describe('For finding it again'),
  warm: z
    .boolean()
    .default(false)
    .describe(
      'Go on from where such a machine was ready before, rather than boot; the first one boots and is kept for that',
    ),
  keep_on_failure: z
    .boolean()
    .default(false)
    .describe('Keep the disk of the machine for a time when the request fails'),
  retry: z
    .int()
    .min(0)
    .max(5)
    .default(0)
    .describe(
      'Times that it is tried again after a fault of ours, as a lost agent; never after a failed command',
    ),
  channel: RequestChannel.optional().describe('Default: the best that answers'),
  login: GuestLogin.optional().describe(
    'Default: as the template says; with `channel: ssh` root, with a key that is made for the run',
  ),
  cpus: z.int().min(1).max(256).optional().describe('Default: as the template or machine has'),
  memory_mib: z
    .int()
    .min(32)
    .max(16 * 1024 * 1024)
    .optional()
    .describe('Likewise'),
  hold: z.boolean().default(false).describe('Do not run it before it is released'),
};

const isSmall = ({ commands, env }: { commands: RequestCommands; env: Record<string, string> }): boolean =>
  [...commandList(commands).map(({ run }) => run), ...Object.entries(env).flat()].reduce(
    (sum, text) => sum + text.length,
    0,
  ) <= maxRequestTextLength;

const bytesOf = ({ content, content_base64 }: z.infer<typeof RequestFile>): number =>
  content === undefined
    ? Math.floor(((content_base64 ?? '').length * 3) / 4)
    : new TextEncoder().encode(content).length;
const filesAreSmall = ({ files }: { files: z.infer<typeof RequestFile>[] }): boolean =>
  files.reduce((sum, file) => sum + bytesOf(file), 0) <= maxRequestFileBytes + 2;

const tooLong = {
  path: ['commands'],
  message: `commands and env must have at most ${String(maxRequestTextLength)} characters together`,
};
const tooLarge = {
  path: ['files'],
  message: `must have at most ${String(maxRequestFileBytes)} bytes together`,
};

/** Boot this machine, run these commands in it, keep the output, tell how it ended. */
export const NewRequest = z
  .strictObject({
    vm_name: VmNameOfRequest.describe(
      'A template, an image (with or without its ending), or a stopped machine; its disk is only read',
    ),
    commands: RequestCommands,
    ...options,
    idempotency_key: noNul(z.string())
      .min(1)
      .max(200)
      .optional()
      .describe('The same key again answers with the first request'),
  })
  .refine(isSmall, tooLong)
  .refine(filesAreSmall, tooLarge);
export type NewRequest = z.input<typeof NewRequest>;

/** Every machine with every one of the commands: a matrix. */
export const NewBatch = z
  .strictObject({
    vm_names: z.array(VmNameOfRequest).min(1).max(maxBatchSize),
    commands: z
      .array(RequestCommands)
      .min(1)
      .max(maxBatchSize)
      .describe('Each one is the `commands` of a request'),
    ...options,
    idempotency_key: noNul(z.string())
      .min(1)
      .max(180)
      .optional()
      .describe('As of one request, for the whole batch'),
  })
  .refine(({ vm_names: vms, commands }) => vms.length * commands.length <= maxBatchSize, {
    path: ['commands'],
    message: `machines × commands must be at most ${String(maxBatchSize)}`,
  })
  .refine(({ commands, env }) => commands.every((one) => isSmall({ commands: one, env })), tooLong)
  .refine(filesAreSmall, tooLarge);
export type NewBatch = z.input<typeof NewBatch>;

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
