import { z } from 'zod';
import { Host } from './hosts.ts';
import { JobId } from './ids.ts';
import { JobType } from './states.ts';

/**
 * The streams of a run that have spool files; the cockpit's own words come with transitions and notes instead. `boot`
 * is the serial console of a virtual machine.
 */
export const SpoolStream = z.enum(['stdout', 'stderr', 'boot']);
export type SpoolStream = z.infer<typeof SpoolStream>;

const ByteCount = z.int().min(0);
/** Bytes per stream. */
export const Offsets = z.object({ stdout: ByteCount, stderr: ByteCount, boot: ByteCount });
export type Offsets = z.infer<typeof Offsets>;

/** What `make` says for each stream. */
export function perStream<T>(make: (stream: SpoolStream) => T): Record<SpoolStream, T> {
  return { stdout: make('stdout'), stderr: make('stderr'), boot: make('boot') };
}

export const totalBytes = ({ stdout, stderr, boot }: Offsets): number => stdout + stderr + boot;

export const sameOffsets = (a: Offsets, b: Offsets): boolean =>
  SpoolStream.options.every((stream) => a[stream] === b[stream]);

/** Largest chunk of one event, in bytes. */
export const maxChunkBytes = 64 * 1024;

/** A job as an agent gets it. */
export const ClaimedJob = z.object({
  id: JobId,
  type: JobType,
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
  /** Bytes stored per stream: an adopter ships from here. */
  offsets: Offsets,
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
  offsets: Offsets;
  sha256: Record<SpoolStream, string>;
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
}

/** How many jobs an agent takes at once. Machines run for days, so they have places of their own. */
export interface Slots {
  /** Of all types but `vm`. */
  jobs: number;
  vms: number;
}

/**
 * What an agent asks of the server: a call in-process, HTTPS from another machine. Every method may reject with
 * DATABASE_UNAVAILABLE, and then can be repeated as it was: each is idempotent.
 */
export interface AgentApi {
  /** Takes pending jobs up to the number of free slots, oldest first. */
  claim(agent: string, free: Slots): Promise<ClaimedJob[]>;
  /** Every job that this agent has and that is not final: after a restart these are adopted or declared lost. */
  assigned(agent: string): Promise<ClaimedJob[]>;
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
  /** Of what is stored, or of what is stored behind this event. null: the lease is lost. */
  digest(ref: JobRef, afterSeq?: number): Promise<LogDigest | null>;
  /**
   * The first call ends, with these words, the part of the log that is always kept; each later one removes what lies
   * between it and the newest `tailBytes` of output. False: the lease is lost.
   */
  keepNewest(ref: JobRef, tailBytes: number, lines: string[]): Promise<boolean>;
  /** The final state; `sizes` are the bytes of the spool, which must all be stored: else the offsets to go on from. */
  finish(ref: JobRef, outcome: RunOutcome, sizes: Offsets): Promise<AppendResult>;
}

/** What the server tells an agent. Hints: the agent also polls. */
export interface AgentHints {
  jobsPending(): void;
  cancelRequested(jobId: JobId): void;
}
