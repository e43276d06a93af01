import { z } from 'zod';
import { EnvName, maxArgumentBytes, maxCommandLength, Priority } from './command-text.ts';
import { GuestLogin } from './guest-login.ts';
import { Name, noNul } from './text.ts';

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
