import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { toJobEnvironment, type Environment } from '@vmo/agent';
import type { Setting } from '@vmo/contract';
import { defaultQemuBinary } from '@vmo/hypervisor';
import { z } from 'zod';
import { logLevels, type LogLevel } from './kernel/logger.ts';

/** The settings as the server uses them; `.env.example` explains each. */
export interface Config {
  host: string;
  /** 0: any free port. */
  port: number;
  dataDirectory: string;
  /** null: the embedded Postgres. */
  databaseUrl: string | null;
  /** null: made once and kept in the data directory. */
  token: string | null;
  /** Serialised origins. */
  allowedOrigins: string[];
  logLevel: LogLevel;
  /** Absolute. */
  workspaces: string[];
  maxConcurrentJobs: number;
  eventRetentionDays: number;
  cancelGraceMs: number;
  spoolHighWaterBytes: number;
  maxLogBytes: number;
  terminalCommand: string | null;
  /** Everything of machines. */
  storageDirectory: string;
  qemuBinary: string;
  /** Where template files are, if there are any. */
  vmConfigDirectory: string;
  maxConcurrentVms: number;
  /** Requests that this server's own agent runs at once. */
  agentSlots: number;
  agentPollMs: number;
  agentLeaseMs: number;
  dryRun: boolean;
  /** Of simulation requests. */
  requests: {
    defaultTimeoutSeconds: number;
    maxTimeoutSeconds: number;
    /** From the start of a machine until it must be ready. */
    bootTimeoutSeconds: number;
    keepFailedHours: number;
    maxKeptBytes: number;
    maxArtifactBytes: number;
  };
  /** As whom QEMU runs where we are root; null: the hypervisor's own choice. */
  qemuUser: string | null;
  qemuAccelerator: 'auto' | 'kvm' | 'tcg';
  /** How long each rung of a stop may take, in milliseconds. */
  stopLadder: { guestAgent: number; acpi: number; quit: number; sigterm: number };
  tls: { cert: Buffer; key: Buffer } | null;
  exitWithParent: boolean;
  /** Where the person typed `npm start`. */
  startDirectory: string;
  home: string;
  /** What every job inherits. */
  jobEnvironment: Record<string, string>;
  /** Each as it stands, for people. */
  settings: Setting[];
}

const misfitWords = (variable: string, got: string | null, takes: string): string =>
  `${variable} ${got === null ? 'has a value that does not fit' : `is ${JSON.stringify(got)}`}: it takes ${takes}`;

/** A setting that the server cannot start with; the message is one line for the person who set it. */
export class ConfigError extends Error {
  constructor(variable: string, got: string | null, takes: string) {
    super(misfitWords(variable, got, takes));
    this.name = 'ConfigError';
  }
}

const mib = 1024 * 1024;
const secretVariables = new Set(['DATABASE_URL', 'VMO_TOKEN']);

const wholeNumber = (min: number, max: number) =>
  z.string().regex(/^\d+$/).transform(Number).pipe(z.int().min(min).max(max));

const commaList = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

const isOrigin = (text: string) =>
  URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text;

const postgresUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol));

/** Each setting's schema, with the words that say what it takes. */
const settings = {
  VMO_HOST: [
    z
      .string()
      .regex(/^[A-Za-z0-9_.:-]+$/)
      .default('127.0.0.1'),
    'an address or name to listen on, as 127.0.0.1 or 0.0.0.0',
  ],
  VMO_PORT: [wholeNumber(0, 65_535).default(8000), 'a whole number from 0 (any free port) to 65535'],
  VMO_DATA_DIR: [z.string().optional(), 'the path of a directory'],
  DATABASE_URL: [postgresUrl.optional(), 'a URL as postgres://user:password@host:5432/database'],
  VMO_TOKEN: [
    z
      .string()
      .regex(/^[!-~]{1,1000}$/)
      .optional(),
    '1 to 1000 printable characters without spaces',
  ],
  VMO_ALLOWED_ORIGINS: [
    commaList.pipe(z.array(z.string().refine(isOrigin))).default([]),
    'origins separated by commas, each as https://cockpit.example.org:8443 without a path',
  ],
  VMO_LOG_LEVEL: [z.enum(logLevels).default('info'), `one of ${logLevels.join(', ')}`],
  VMO_WORKSPACES: [z.string().default(''), `directories separated by "${delimiter}" or commas`],
  VMO_MAX_CONCURRENT_JOBS: [wholeNumber(1, 1000).default(10), 'a whole number from 1 to 1000'],
  VMO_EVENT_RETENTION_DAYS: [wholeNumber(1, 36_500).default(30), 'a whole number of days from 1 to 36500'],
  VMO_CANCEL_GRACE_SECONDS: [wholeNumber(0, 3600).default(5), 'a whole number of seconds from 0 to 3600'],
  VMO_SPOOL_HIGH_WATER_MIB: [
    wholeNumber(1, 1_048_576).default(64),
    'a whole number of MiB from 1 to 1048576',
  ],
  VMO_MAX_LOG_MIB: [wholeNumber(1, 1_048_576).default(1024), 'a whole number of MiB from 1 to 1048576'],
  VMO_STORAGE_PATH: [z.string().optional(), 'the path of a directory'],
  VMO_QEMU_BINARY: [
    z
      .string()
      .regex(/^[^\0]+$/)
      .default(defaultQemuBinary),
    'the name or path of QEMU, as qemu-system-x86_64',
  ],
  VMO_VM_CONFIG_DIR: [z.string().optional(), 'the path of a directory with *.conf files'],
  VMO_MAX_CONCURRENT_VMS: [wholeNumber(1, 10_000).default(50), 'a whole number from 1 to 10000'],
  VMO_AGENT_COUNT: [wholeNumber(0, 1000).default(4), 'a whole number from 0 to 1000'],
  VMO_AGENT_POLL_INTERVAL: [wholeNumber(1, 3600).default(5), 'a whole number of seconds from 1 to 3600'],
  VMO_AGENT_LEASE_SECONDS: [wholeNumber(2, 3600).default(30), 'a whole number of seconds from 2 to 3600'],
  VMO_DEFAULT_TIMEOUT: [wholeNumber(1, 86_400).default(300), 'a whole number of seconds from 1 to 86400'],
  VMO_MAX_TIMEOUT: [wholeNumber(1, 86_400).default(3600), 'a whole number of seconds from 1 to 86400'],
  VMO_BOOT_TIMEOUT: [wholeNumber(1, 86_400).default(180), 'a whole number of seconds from 1 to 86400'],
  VMO_KEEP_FAILED_HOURS: [wholeNumber(1, 8760).default(24), 'a whole number of hours from 1 to 8760'],
  VMO_MAX_KEPT_GIB: [wholeNumber(1, 65_536).default(50), 'a whole number of GiB from 1 to 65536'],
  VMO_MAX_ARTIFACT_MIB: [wholeNumber(1, 65_536).default(64), 'a whole number of MiB from 1 to 65536'],
  VMO_DRY_RUN: [z.enum(['0', '1']).default('0'), '1 (say what would be done, start no machine) or 0'],
  VMO_QEMU_USER: [
    z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/)
      .optional(),
    'the name of a user of this machine',
  ],
  VMO_QEMU_ACCEL: [z.enum(['auto', 'kvm', 'tcg']).default('auto'), 'auto, kvm or tcg'],
  VMO_STOP_AGENT_SECONDS: [wholeNumber(0, 3600).default(10), 'a whole number of seconds from 0 to 3600'],
  VMO_STOP_ACPI_SECONDS: [wholeNumber(0, 3600).default(30), 'a whole number of seconds from 0 to 3600'],
  VMO_STOP_QUIT_SECONDS: [wholeNumber(0, 3600).default(5), 'a whole number of seconds from 0 to 3600'],
  VMO_STOP_SIGTERM_SECONDS: [wholeNumber(0, 3600).default(5), 'a whole number of seconds from 0 to 3600'],
  VMO_TERM_CMD: [z.string().optional(), 'a command that opens a terminal'],
  VMO_TLS_CERT: [z.string().optional(), 'the path of a PEM file, together with VMO_TLS_KEY'],
  VMO_TLS_KEY: [z.string().optional(), 'the path of a PEM file, together with VMO_TLS_CERT'],
  VMO_EXIT_WITH_PARENT: [z.enum(['0', '1']).default('0'), '1 (end when the parent process ends) or 0'],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

type SettingName = keyof typeof settings;
type Settings = { [N in SettingName]: z.output<(typeof settings)[N][0]> };

// Empty means unset: compose files and CI systems pass variables on that way.
const givenIn = (environment: Environment, name: string): string | undefined =>
  environment[name] === '' ? undefined : environment[name];

function parseSettings(environment: Environment): Settings {
  const entries = Object.entries(settings).map(([name, [schema, takes]]) => {
    const given = givenIn(environment, name);
    const result = schema.safeParse(given);
    if (result.success) return [name, result.data] as const;
    throw new ConfigError(name, secretVariables.has(name) ? null : (given ?? ''), takes);
  });
  return Object.fromEntries(entries) as Settings;
}

function defaultDataDirectory(environment: Environment, home: string): string {
  if (process.platform === 'darwin') return join(home, 'Library', 'Application Support', 'vmo');
  if (process.getuid?.() === 0) return '/var/lib/vmo';
  const xdg = environment.XDG_DATA_HOME;
  return xdg !== undefined && isAbsolute(xdg) ? join(xdg, 'vmo') : join(home, '.local', 'share', 'vmo');
}

function readTls({ VMO_TLS_CERT: cert, VMO_TLS_KEY: key }: Settings): Config['tls'] {
  if (cert === undefined && key === undefined) return null;
  const read = (name: 'VMO_TLS_CERT' | 'VMO_TLS_KEY', path: string | undefined) => {
    try {
      return readFileSync(path ?? '');
    } catch {
      throw new ConfigError(name, path ?? '', settings[name][1]);
    }
  };
  return { cert: read('VMO_TLS_CERT', cert), key: read('VMO_TLS_KEY', key) };
}

/** `vm_configs` where the person started, else in the data directory, where it may come to be. */
function findVmConfigs(given: string | undefined, startDirectory: string, dataDirectory: string): string {
  if (given !== undefined) return resolve(startDirectory, given);
  const beside = join(startDirectory, 'vm_configs');
  return existsSync(beside) ? beside : join(dataDirectory, 'vm_configs');
}

function readEnvFile(directory: string): Environment {
  const path = join(directory, '.env');
  if (!existsSync(path)) return {};
  try {
    accessSync(path, constants.R_OK);
    return parseEnv(readFileSync(path, 'utf8'));
  } catch {
    throw new Error(`${path} cannot be read`);
  }
}

/** What may be seen of a secret: of an address everything but its password. */
function maskSecret(value: string): string {
  const url = URL.canParse(value) && value.includes('://') ? new URL(value) : null;
  if (!url?.host) return '***';
  if (url.password !== '') url.password = '***';
  if (url.searchParams.has('password')) url.searchParams.set('password', '***');
  return url.href;
}

/**
 * Each setting as it stands, with what is wrong with it; throws nothing.
 * @param effective what those come to that depend on others
 */
function listSettings(
  environment: Environment,
  combined: Environment,
  effective: Readonly<Record<string, string>>,
): Setting[] {
  return Object.entries(settings).map(([name, [schema, takes]]) => {
    const isSecret = secretVariables.has(name);
    const given = givenIn(combined, name);
    const { success, data } = schema.safeParse(given);
    const value = effective[name] ?? given ?? (data === undefined ? '' : String(data));
    return {
      name,
      value: value === '' ? null : isSecret ? maskSecret(value) : value,
      source: given === undefined ? 'default' : given === environment[name] ? 'environment' : 'file',
      takes,
      problem: success ? null : misfitWords(name, isSecret ? null : (given ?? ''), takes),
    };
  });
}

/**
 * The settings as a start here would have them, each with what is wrong with it.
 * @throws Error when `.env` cannot be read
 */
export function describeSettings(environment: Environment): Setting[] {
  try {
    return loadConfig(environment).settings;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const combined = { ...readEnvFile(environment.INIT_CWD ?? process.cwd()), ...environment };
    return listSettings(environment, combined, {});
  }
}

/**
 * Reads the settings from the environment and, where it is silent, from `.env` in the start directory.
 * @throws ConfigError for the first setting that does not fit
 */
export function loadConfig(environment: Environment): Config {
  const startDirectory = environment.INIT_CWD ?? process.cwd();
  const combined: Environment = { ...readEnvFile(startDirectory), ...environment };
  const parsed = parseSettings(combined);
  const home = homedir();
  const dataDirectory = resolve(
    startDirectory,
    parsed.VMO_DATA_DIR ?? defaultDataDirectory(environment, home),
  );
  const storageDirectory = resolve(startDirectory, parsed.VMO_STORAGE_PATH ?? join(dataDirectory, 'storage'));
  const vmConfigDirectory = findVmConfigs(parsed.VMO_VM_CONFIG_DIR, startDirectory, dataDirectory);
  return {
    host: parsed.VMO_HOST,
    port: parsed.VMO_PORT,
    dataDirectory,
    databaseUrl: parsed.DATABASE_URL ?? null,
    token: parsed.VMO_TOKEN ?? null,
    allowedOrigins: parsed.VMO_ALLOWED_ORIGINS,
    logLevel: parsed.VMO_LOG_LEVEL,
    workspaces: parsed.VMO_WORKSPACES.split(new RegExp(`[,${delimiter}]`))
      .filter(Boolean)
      .map((path) => resolve(startDirectory, path.replace(/^~(?=\/|$)/, home))),
    maxConcurrentJobs: parsed.VMO_MAX_CONCURRENT_JOBS,
    eventRetentionDays: parsed.VMO_EVENT_RETENTION_DAYS,
    cancelGraceMs: parsed.VMO_CANCEL_GRACE_SECONDS * 1000,
    spoolHighWaterBytes: parsed.VMO_SPOOL_HIGH_WATER_MIB * mib,
    maxLogBytes: parsed.VMO_MAX_LOG_MIB * mib,
    terminalCommand: parsed.VMO_TERM_CMD ?? null,
    storageDirectory,
    qemuBinary: parsed.VMO_QEMU_BINARY,
    vmConfigDirectory,
    maxConcurrentVms: parsed.VMO_MAX_CONCURRENT_VMS,
    agentSlots: parsed.VMO_AGENT_COUNT,
    agentPollMs: parsed.VMO_AGENT_POLL_INTERVAL * 1000,
    agentLeaseMs: parsed.VMO_AGENT_LEASE_SECONDS * 1000,
    dryRun: parsed.VMO_DRY_RUN === '1',
    requests: {
      defaultTimeoutSeconds: Math.min(parsed.VMO_DEFAULT_TIMEOUT, parsed.VMO_MAX_TIMEOUT),
      maxTimeoutSeconds: parsed.VMO_MAX_TIMEOUT,
      bootTimeoutSeconds: parsed.VMO_BOOT_TIMEOUT,
      keepFailedHours: parsed.VMO_KEEP_FAILED_HOURS,
      maxKeptBytes: parsed.VMO_MAX_KEPT_GIB * 1024 * mib,
      maxArtifactBytes: parsed.VMO_MAX_ARTIFACT_MIB * mib,
    },
    qemuUser: parsed.VMO_QEMU_USER ?? null,
    qemuAccelerator: parsed.VMO_QEMU_ACCEL,
    stopLadder: {
      guestAgent: parsed.VMO_STOP_AGENT_SECONDS * 1000,
      acpi: parsed.VMO_STOP_ACPI_SECONDS * 1000,
      quit: parsed.VMO_STOP_QUIT_SECONDS * 1000,
      sigterm: parsed.VMO_STOP_SIGTERM_SECONDS * 1000,
    },
    tls: readTls(parsed),
    exitWithParent: parsed.VMO_EXIT_WITH_PARENT === '1',
    startDirectory,
    home,
    jobEnvironment: toJobEnvironment(environment),
    settings: listSettings(environment, combined, {
      VMO_DATA_DIR: dataDirectory,
      VMO_STORAGE_PATH: storageDirectory,
      VMO_VM_CONFIG_DIR: vmConfigDirectory,
    }),
  };
}
