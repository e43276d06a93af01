import type { ArtifactPiece, Host, JobType, RunPlan, RunProgress } from '@vmo/contract';

/** Everything that a strategy needs to start or find one run. */
export interface RunSpec {
  jobId: string;
  command: string;
  /** null: the strategy's own default (here: never null; on a host: the home directory). */
  cwd: string | null;
  /** Local runs: the whole environment. Remote runs: what is added to the remote one. */
  env: Readonly<Record<string, string>>;
  cols: number;
  rows: number;
  host: Host | null;
  /** Of jobs of type `vm`: what to run, a `MachineSpec`. */
  vm: unknown;
  /** The run directory on this machine; its `stdout` and `stderr` are the spool. */
  directory: string;
  /** Words for the log from the middle of the run, such as a lost link. */
  notice: (line: string) => void;
  /** Simulation requests only. */
  request?: RequestLink;
}

/** What a simulation request asks of the server, and tells it. Each call is repeated until it is taken. */
export interface RequestLink {
  plan(): Promise<RunPlan>;
  /** The latest is told; what it replaces may be left out. Resolves when it, or a later one, is stored. */
  progress(progress: RunProgress): Promise<void>;
  artifact(piece: ArtifactPiece): Promise<void>;
}

/**
 * A place in the log: what stands in `command` before this byte of it comes after these bytes of the output and of the
 * console, and before the next ones.
 */
export interface LogPlace {
  command: number;
  stdout: number;
  stderr: number;
  boot: number;
}

/** How a run ended, with its spool complete. */
export type RunEnd =
  | {
      kind: 'exited';
      /** As a shell reports it: 128 + n after signal n. */
      exitCode: number;
      /** Name of the signal that ended it, or null. */
      signal: string | null;
      startedAt: Date;
      finishedAt: Date;
      /** Processes of the run that were still alive after its end, as `name (pid)`. */
      leftovers: string[];
    }
  /** The command never began, and never will. */
  | { kind: 'not-started'; reason: string }
  /** It ended, and not by an exit of what it was to run. */
  | { kind: 'failed'; reason: string; startedAt: Date; finishedAt: Date; leftovers: string[] }
  /** The run is gone and left no exit record. `dead`: for sure, nothing of it is alive. */
  | { kind: 'lost'; reason: string; dead?: true };

/** One execution that lives outside our process: it goes on when we end, and can be adopted by the next of us. */
export interface Run {
  readonly startedAt: Date;
  /** Settles once; never rejects. */
  readonly ended: Promise<RunEnd>;
  /**
   * Ends the run and everything that belongs to it: SIGTERM, `graceMs` for an orderly end, SIGKILL. Resolves when
   * nothing of it is left, with the words for the log: none when nothing was alive any more. Calling it again joins the ladder that is under way.
   */
  cancel(graceMs: number): Promise<string[]>;
  /**
   * Holds everything of the run (SIGSTOP), so that it writes nothing more. False: it could not, now.
   * {@link cancel} works all the same.
   */
  suspend(): Promise<boolean>;
  /** Lets it go on (SIGCONT). */
  resume(): Promise<void>;
  /**
   * Where the words of the stream `command` belong, in order; absent: it has none. What was written before this call is
   * behind every place that it does not name yet.
   */
  places?(): readonly LogPlace[];
  /**
   * Bytes of output that lie where the run is and not in the spool here yet, as far as is known; absent: it writes the
   * spool itself.
   */
  unfetched?(): number;
  /** Stops watching. The run goes on. */
  detach(): void;
}

/** How the jobs of one type are executed. */
export interface Strategy {
  readonly type: JobType;
  /**
   * Starts a run, detached from this process.
   * @throws StartError when it could not be started, and provably did not begin
   */
  start(spec: RunSpec): Promise<Run>;
  /** Finds a run again; null when it provably never began, and now never will. */
  adopt(spec: RunSpec): Promise<Run | null>;
  /**
   * Ends at once what is alive of a run whose directory is gone: nobody can follow it any more. Absent: nothing can be
   * left. @returns the words for the log, none when nothing was alive
   */
  endStrays?(jobId: string): Promise<string[]>;
}

/** A run that could not be started; the message is the reason that people read. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}
