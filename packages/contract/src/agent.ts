import { z } from 'zod';
import type { AgentReport, LeaseAnswer } from './agents.ts';
import { Host } from './hosts.ts';
import { JobId } from './ids.ts';
import { RequestChannel, RequestCommand } from './new-request.ts';
import { CommandStatus } from './requests.ts';
import { JobType } from './states.ts';
import { Timestamp } from './text.ts';

/**
 * The streams of a run that have spool files; the cockpit's own words come with transitions and notes instead. `boot`
 * is the serial console of a virtual machine, `command` what a simulation request runs in it.
 */
export const SpoolStream = z.enum(['stdout', 'stderr', 'boot', 'command']);
export type SpoolStream = z.infer<typeof SpoolStream>;

/** What a run wrote itself: all but the words about what is run. */
export const writtenStreams = SpoolStream.exclude(['command']).options;

const ByteCount = z.int().min(0);
/** Bytes per stream. */
export const Offsets = z.object({
  stdout: ByteCount,
  stderr: ByteCount,
  boot: ByteCount,
  /** Of an agent, or in a run directory, from before there was one. */
  command: ByteCount.default(0),
});
export type Offsets = z.infer<typeof Offsets>;

/** What `make` says for each stream. */
export function perStream<T>(make: (stream: SpoolStream) => T): Record<SpoolStream, T> {
  return { stdout: make('stdout'), stderr: make('stderr'), boot: make('boot'), command: make('command') };
}

export const totalBytes = ({ stdout, stderr, boot, command }: Offsets): number =>
  stdout + stderr + boot + command;

export const sameOffsets = (a: Offsets, b: Offsets): boolean =>
  SpoolStream.options.every((stream) => a[stream] === b[stream]);

/** Largest chunk of one event, in bytes. */
export const maxChunkBytes = 64 * 1024;

/**
 * The kinds of places that an agent has: commands are many and short; machines run for days; requests boot a machine of
 * their own, so each kind has its own number.
 */
export const PlaceKind = z.enum(['jobs', 'vms', 'requests']);
export type PlaceKind = z.infer<typeof PlaceKind>;

/** A job as an agent gets it. */
export const ClaimedJob = z.object({
  id: JobId,
  type: JobType,
  place: PlaceKind,
  /** Counts from 1; each attempt has a run directory of its own. */
  attempt: z.int().min(1),
  command: z.string(),
  cwd: z.string().nullable(),
  env: z.record(z.string(), z.string()),
  /** As `env`, and hidden in the log. null: it has some, and they cannot be opened any more; it must not run. */
  secrets: z.record(z.string(), z.string()).nullable(),
  color: z.boolean(),
  timeout: z.number().nullable().describe('Seconds'),
  cols: z.int(),
  rows: z.int(),
  host: Host.nullable(),
  /** Of jobs of type `vm`: the machine, a `MachineSpec`. */
  vm: z.unknown(),
  /** Counts the times that an agent took this job; every later write carries it, and a stale one is refused. */
  fence: z.int(),
  status: z.enum(['acknowledged', 'running']),
  cancelRequested: z.boolean(),
  /** Bytes of this attempt that are stored per stream: an adopter ships from here. */
  offsets: Offsets,
  /** What it takes of the agent; 0: nothing worth counting. */
  needs: z.object({ cpus: z.int().min(0), memoryMib: z.int().min(0) }),
  startedAt: z.iso.datetime().nullable(),
});
export type ClaimedJob = z.infer<typeof ClaimedJob>;

export interface JobRef {
  jobId: JobId;
  fence: number;
}

/** A piece of a spool file. Pieces of one stream in one append are contiguous and in order. */
export interface SpoolChunk {
  stream: SpoolStream;
  /** Byte offset of the first byte in its stream. */
  offset: number;
  bytes: Uint8Array;
  /** When it was read. */
  ts: Date;
}

/**
 * accepted: stored (a repeat of what was there changes nothing) · wrong-offset: the server has `offsets`, go on
 * from there · lease-lost: another fence owns the job, stop shipping.
 */
export type AppendResult =
  | { status: 'accepted'; offsets: Offsets }
  | { status: 'wrong-offset'; offsets: Offsets }
  | { status: 'lease-lost' };

/** SHA-256 in hexadecimal of what is stored of each stream, and where the log ended then. */
export interface LogDigest {
  lastSeq: number;
  /** Where what was looked at begins, when the beginning of the log has expired; null: with what was asked for. */
  from: Offsets | null;
  offsets: Offsets;
  sha256: Record<SpoolStream, string>;
}

/** What a simulation request does in its machine. */
export const RunPlan = z.object({
  commands: z.array(RequestCommand),
  stopOnFailure: z.boolean(),
  env: z.record(z.string(), z.string()),
  files: z.array(z.object({ path: z.string(), mode: z.string(), base64: z.string() })),
  artifacts: z.array(z.string()),
});
export type RunPlan = z.infer<typeof RunPlan>;

/** How far a simulation request has come. Each report is the whole truth, and replaces the one before. */
export const RunProgress = z.object({
  channel: RequestChannel.nullable(),
  readyAt: Timestamp.nullable(),
  /** In order of the plan. */
  commands: z.array(
    z.object({
      status: CommandStatus,
      exitCode: z.int().nullable(),
      startedAt: Timestamp.nullable(),
      finishedAt: Timestamp.nullable(),
      stdoutBytes: ByteCount.nullable(),
      stderrBytes: ByteCount.nullable(),
    }),
  ),
  artifacts: z.array(
    z.object({
      index: z.int(),
      sizeBytes: ByteCount.nullable(),
      isFolder: z.boolean(),
      reason: z.string().nullable(),
    }),
  ),
  /** The disks of the machine were kept. */
  kept: z.boolean(),
  /** In this directory of the agent's machine; null: they were not, or it is an agent of before. */
  keptIn: z.string().nullable().default(null),
});
export type RunProgress = z.infer<typeof RunProgress>;

/** Largest piece of an artifact, in bytes. */
export const maxArtifactPiece = 1024 * 1024;

/** A piece of a file that was fetched out of the machine. */
export interface ArtifactPiece {
  index: number;
  /** Byte offset of the first byte. */
  offset: number;
  bytes: Uint8Array;
}

/** How a run ended. */
export interface RunOutcome {
  status: 'done' | 'failed' | 'cancelled' | 'timed_out' | 'lost';
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  startedAt: Date | null;
  finishedAt: Date;
  /** System lines that close the log: what died, exit, timing. Without line ends. */
  lines: string[];
  /** The digest of the stored log was found equal to that of the spool. */
  verified: boolean;
  /** Nothing of it is alive, for sure: only then may a lost job begin again. */
  dead: boolean;
}

/** How many jobs of each kind an agent takes at once. */
export const Slots = z.object({
  jobs: z.int().min(0),
  vms: z.int().min(0).describe('Machines in all, those of requests among them; 0: those of requests only'),
  requests: z.int().min(0),
});
export type Slots = z.infer<typeof Slots>;

/** What an agent can take now. */
export const FreePlaces = Slots.extend({
  cpus: z
    .int()
    .min(0)
    .nullable()
    .describe(
      'Of the largest machine: machines share the processors, and only their memory adds up. null: any',
    ),
  memoryMib: z.int().min(0).nullable().describe('null: not counted'),
  machines: z.int().min(0).nullable().describe('Of `vms` and `requests` together; null: not counted'),
});
export type FreePlaces = z.infer<typeof FreePlaces>;

/**
 * What one agent asks of the server: a call in-process, HTTPS from another machine. Every method may reject with
 * DATABASE_UNAVAILABLE, and then can be repeated as it was: each is idempotent. What belongs to another agent or to
 * another attempt is out of reach: the answer is that the lease is lost.
 */
export interface AgentApi {
  /** Renews the lease, with what the agent has to offer now. To be asked every `renewMs`, and soon after a failure. */
  renew(report: AgentReport): Promise<LeaseAnswer>;
  /** Takes pending jobs that fit: higher priority first, then in turns between those who submitted, then by age. */
  claim(free: FreePlaces): Promise<ClaimedJob[]>;
  /** Every job that this agent has and that is not final: after a restart these are adopted or declared lost. */
  assigned(): Promise<ClaimedJob[]>;
  /** acknowledged → running, with the system lines that open the log. False: the lease is lost. */
  started(ref: JobRef, startedAt: Date, lines: string[]): Promise<boolean>;
  /** A job that provably never began goes back to pending. False: the lease is lost. */
  release(ref: JobRef, reason: string): Promise<boolean>;
  append(ref: JobRef, chunks: SpoolChunk[]): Promise<AppendResult>;
  /** System lines in the middle of a run: signals, cuts. */
  note(ref: JobRef, lines: string[]): Promise<void>;
  /**
   * Leaves out what lies between the end of the stored log and `to` (all streams), with the words that say so.
   * `wrong-offset`: something else is stored by now.
   */
  cut(ref: JobRef, from: Offsets, to: Offsets, lines: string[]): Promise<AppendResult>;
  /** Of a simulation request. null: the lease is lost, or it has none. */
  plan(ref: JobRef): Promise<RunPlan | null>;
  /** False: the lease is lost. */
  progress(ref: JobRef, progress: RunProgress): Promise<boolean>;
  /** False: the lease is lost. A piece that is there already changes nothing. */
  artifact(ref: JobRef, piece: ArtifactPiece): Promise<boolean>;
  /** Of what is stored, or of what is stored behind this event. null: the lease is lost. */
  digest(ref: JobRef, afterSeq?: number): Promise<LogDigest | null>;
  /**
   * The first call ends, with these words, the part of the log that is always kept; each later one removes what lies
   * between it and the newest `tailBytes` of output. False: the lease is lost.
   */
  keepNewest(ref: JobRef, tailBytes: number, lines: string[]): Promise<boolean>;
  /**
   * The final state; `sizes` are the bytes of the spool, which must all be stored: else the offsets to go on from. A lost
   * job that is dead and may be tried again goes back to the queue instead.
   */
  finish(ref: JobRef, outcome: RunOutcome, sizes: Offsets): Promise<AppendResult>;
}

/** What the server tells an agent. Hints: the agent also polls. */
export interface AgentHints {
  jobsPending(): void;
  cancelRequested(jobId: JobId): void;
  /** A machine that runs has so much memory from now on. Of machines that persons run, which are the local agent's. */
  memoryChanged(jobId: JobId, memoryMib: number): void;
}
