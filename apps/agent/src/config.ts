import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { defaultQemuBinary } from '@vmo/hypervisor';
import { z } from 'zod';
import { toJobEnvironment, type Environment } from './job-environment.ts';

/** The settings of an agent that is a program of its own. */
export interface AgentConfig {
  serverUrl: string;
  token: string;
  dataDirectory: string;
  logLevel: (typeof logLevels)[number];
  maxConcurrentJobs: number;
  cancelGraceMs: number;
  spoolHighWaterBytes: number;
  maxLogBytes: number;
  /** Requests that run here at once. */
  requestSlots: number;
  maxConcurrentVms: number;
  /** Images and machines of requests. */
  storageDirectory: string;
  /** Of images that were brought from the server; 0: none are. */
  imageCacheBytes: number;
  qemu: {
    binary: string;
    accelerator: 'auto' | 'kvm' | 'tcg';
    /** As whom it runs where we are root; null: the hypervisor's own choice. */
    user: string | null;
  };
  exitWithParent: boolean;
  home: string;
  /** What every job inherits. */
  jobEnvironment: Record<string, string>;
}

const mib = 1024 * 1024;
const gib = 1024 * mib;
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const wholeNumber = (min: number, max: number, value: number) =>
  z.string().regex(/^\d+$/).transform(Number).pipe(z.int().min(min).max(max)).default(value);

/** Each setting's schema, with the words that say what it takes. Names and meanings are those of the server, where it has them. */
const settings = {
  VMO_SERVER: [
    z.string().refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)),
    'the address of the server, as https://cockpit.example.org:8000',
  ],
  VMO_AGENT_TOKEN: [
    z
      .string()
      .regex(/^[!-~]{1,1000}$/)
      .optional(),
    'the token that the server made for this agent',
  ],
  VMO_AGENT_TOKEN_FILE: [z.string().optional(), 'the path of a file that holds the token'],
  VMO_AGENT_DATA_DIR: [z.string().optional(), 'the path of a directory'],
  VMO_LOG_LEVEL: [z.enum(logLevels).default('info'), `one of ${logLevels.join(', ')}`],
  VMO_MAX_CONCURRENT_JOBS: [wholeNumber(0, 1000, 10), 'a whole number from 0 to 1000'],
  VMO_CANCEL_GRACE_SECONDS: [wholeNumber(0, 3600, 5), 'a whole number of seconds from 0 to 3600'],
  VMO_SPOOL_HIGH_WATER_MIB: [wholeNumber(1, 1_048_576, 64), 'a whole number of MiB from 1 to 1048576'],
  VMO_MAX_LOG_MIB: [wholeNumber(1, 1_048_576, 1024), 'a whole number of MiB from 1 to 1048576'],
  VMO_AGENT_COUNT: [wholeNumber(0, 1000, 4), 'a whole number from 0 to 1000'],
  VMO_MAX_CONCURRENT_VMS: [wholeNumber(1, 10_000, 50), 'a whole number from 1 to 10000'],
  VMO_STORAGE_PATH: [z.string().optional(), 'the path of a directory'],
  VMO_IMAGE_CACHE_GIB: [
    wholeNumber(0, 1_048_576, 20),
    'a whole number of GiB from 0 (bring none) to 1048576',
  ],
  VMO_QEMU_BINARY: [
    z
      .string()
      .regex(/^[^\0]+$/)
      .default(defaultQemuBinary),
    'the name or path of QEMU, as qemu-system-x86_64',
  ],
  VMO_QEMU_USER: [
    z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/)
      .optional(),
    'the name of a user of this machine',
  ],
  VMO_QEMU_ACCEL: [z.enum(['auto', 'kvm', 'tcg']).default('auto'), 'auto, kvm or tcg'],
  VMO_EXIT_WITH_PARENT: [z.enum(['0', '1']).default('0'), '1 (end when the parent process ends) or 0'],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

type Settings = { [N in keyof typeof settings]: z.output<(typeof settings)[N][0]> };

function parseSettings(environment: Environment): Settings {
  const entries = Object.entries(settings).map(([name, [schema, takes]]) => {
    // Empty means unset, as for the server.
    const given = environment[name] === '' ? undefined : environment[name];
    const result = schema.safeParse(given);
    if (result.success) return [name, result.data] as const;
    const got =
      given === undefined
        ? 'is missing'
        : name === 'VMO_AGENT_TOKEN'
          ? 'has a value that does not fit'
          : `is ${JSON.stringify(given)}`;
    throw new Error(`${name} ${got}: it takes ${takes}`);
  });
  return Object.fromEntries(entries) as Settings;
}

function readToken({ VMO_AGENT_TOKEN: token, VMO_AGENT_TOKEN_FILE: file }: Settings): string {
  if (token !== undefined) return token;
  if (file === undefined)
    throw new Error(
      'VMO_AGENT_TOKEN or VMO_AGENT_TOKEN_FILE is missing: make a token under Agents, or by POST /agents',
    );
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new Error(`VMO_AGENT_TOKEN_FILE ${file} cannot be read`, { cause });
  }
}

function defaultDirectory(environment: Environment, home: string): string {
  if (process.getuid?.() === 0) return '/var/lib/vmo-agent';
  const xdg = environment.XDG_DATA_HOME;
  return xdg !== undefined && isAbsolute(xdg)
    ? join(xdg, 'vmo-agent')
    : join(home, '.local', 'share', 'vmo-agent');
}

/** @throws Error in words for the person who starts the agent, for the first setting that does not fit */
export function loadAgentConfig(environment: Environment): AgentConfig {
  const parsed = parseSettings(environment);
  const home = homedir();
  const dataDirectory = resolve(parsed.VMO_AGENT_DATA_DIR ?? defaultDirectory(environment, home));
  return {
    serverUrl: parsed.VMO_SERVER,
    token: readToken(parsed),
    dataDirectory,
    logLevel: parsed.VMO_LOG_LEVEL,
    maxConcurrentJobs: parsed.VMO_MAX_CONCURRENT_JOBS,
    cancelGraceMs: parsed.VMO_CANCEL_GRACE_SECONDS * 1000,
    spoolHighWaterBytes: parsed.VMO_SPOOL_HIGH_WATER_MIB * mib,
    maxLogBytes: parsed.VMO_MAX_LOG_MIB * mib,
    requestSlots: parsed.VMO_AGENT_COUNT,
    maxConcurrentVms: parsed.VMO_MAX_CONCURRENT_VMS,
    storageDirectory: resolve(parsed.VMO_STORAGE_PATH ?? join(dataDirectory, 'storage')),
    imageCacheBytes: parsed.VMO_IMAGE_CACHE_GIB * gib,
    qemu: {
      binary: parsed.VMO_QEMU_BINARY,
      accelerator: parsed.VMO_QEMU_ACCEL,
      user: parsed.VMO_QEMU_USER ?? null,
    },
    exitWithParent: parsed.VMO_EXIT_WITH_PARENT === '1',
    home,
    jobEnvironment: toJobEnvironment(environment),
  };
}
