import { UnreachableError } from '@vmo/client';
import type { Job, JobDone, JobId } from '@vmo/contract';
import type { Cli } from '../cli.ts';
import { CliError, exitCodes, waitCodes } from '../exit-codes.ts';
import { shortId } from '../resolve.ts';
import { followJob, tellConnection } from './follow.ts';
import { createInterrupts } from './interrupts.ts';
import type { Sink } from './sinks.ts';

/** One thing that is waited for. */
export interface Awaited {
  jobId: JobId;
  sink: Sink;
}

export interface WaitOptions {
  /** “job”, “request”. */
  thing: string;
  /** Commands of ours that look after it, as `vmo logs ID --follow`. */
  hints: (jobId: JobId) => readonly string[];
  cancelOnInterrupt: boolean;
  patience: number;
  onStatus?: (job: Job) => void;
  onAsk?: () => void;
}

export interface Ended {
  done: JobDone;
  /** Why it waits, failed, was cancelled or is lost. */
  reason: string | null;
}

/** What the shell is told about the end of a command that somewhere else ran. */
export function codeOfEnd({ status, exitCode }: JobDone): number {
  switch (status) {
    case 'done':
      return exitCode ?? 0;
    case 'failed':
      return exitCode === null || exitCode === 0 ? waitCodes.none : exitCode;
    case 'timed_out':
      return waitCodes.timedOut;
    case 'cancelled':
      return waitCodes.cancelled;
    default:
      return waitCodes.none;
  }
}

/**
 * Shows what these write and waits until all have ended.
 * @throws CliError when we are to leave before, or the server stays away
 */
export async function waitForJobs(
  cli: Cli,
  awaited: readonly Awaited[],
  options: WaitOptions,
): Promise<Ended[]> {
  const { thing, patience } = options;
  const ids = awaited.map(({ jobId }) => jobId);
  const hints = ids.flatMap((jobId) => options.hints(jobId));
  const connection = cli.connect();
  const stopTelling = tellConnection(cli, connection);
  const interrupts = createInterrupts(cli, {
    what: ids.length === 1 ? `${thing} ${ids.map(shortId).join('')}` : `${String(ids.length)} ${thing}s`,
    cancel: () => cancelAll(cli, ids),
    hints,
    onAsk: options.onAsk,
    cancelOnInterrupt: options.cancelOnInterrupt,
  });
  const leaving = new AbortController();
  try {
    const all = Promise.all(
      awaited.map(async ({ jobId, sink }): Promise<Ended> => {
        const rows = watchRow(cli, thing, ids.length > 1 ? `${shortId(jobId)}: ` : '');
        const following = followJob(connection, {
          jobId,
          sink,
          patience,
          gate: interrupts.gate,
          onStatus: (job) => {
            rows.take(job);
            options.onStatus?.(job);
          },
          signal: leaving.signal,
        });
        const done = await following.finally(rows.stop);
        return { done, reason: rows.reason() };
      }),
    );
    return await Promise.race([all, interrupts.left]);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    throw new CliError(error.message, waitCodes.none, { hints, cause: error });
  } finally {
    leaving.abort();
    interrupts.stop();
    stopTelling();
    connection.close();
  }
}

async function cancelAll(cli: Cli, ids: readonly JobId[]): Promise<void> {
  const results = await Promise.allSettled(
    ids.map((jobId) => cli.client().call('cancelJob', { body: { jobId } })),
  );
  const failed = results.filter((result) => result.status === 'rejected');
  // Some of several have ended already, as one that is alone may have: nothing is wrong with that.
  const trouble = failed.find(({ reason }: { reason: unknown }) => reason instanceof UnreachableError);
  if (trouble) throw trouble.reason;
}

/** What waits for less is about to begin, and that is nothing to talk about. */
const quietMs = 2_000;

/** Says why something does not begin, each reason once. */
function watchRow(cli: Cli, thing: string, prefix: string) {
  let last: Job | null = null;
  let told = '';
  let timer: NodeJS.Timeout | undefined;

  function tell(): void {
    timer = undefined;
    if (last?.status !== 'pending' || last.reason === null || last.reason === told) return;
    told = last.reason;
    const words = told.startsWith('waiting') ? `is ${told}` : `waits: ${told}`;
    cli.note(cli.errorPaint.dim(`vmo: ${prefix}the ${thing} ${words}`));
  }

  function stop(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  return {
    take(job: Job): void {
      last = job;
      if (job.status === 'pending') timer ??= setTimeout(tell, quietMs);
      else stop();
    },
    reason: (): string | null => last?.reason ?? null,
    stop,
  };
}

/** Says how it ended, where that was not by itself with an exit code. */
export function endWords(thing: string, { done, reason }: Ended): string | null {
  const why = reason === null || reason === done.status ? '' : `: ${reason}`;
  switch (done.status) {
    case 'done':
      return null;
    case 'failed':
      return done.exitCode === null ? `the ${thing} failed${why}` : null;
    case 'timed_out':
      return `the ${thing} was ended at its time limit${why}`;
    case 'cancelled':
      return `the ${thing} was cancelled${why}`;
    default:
      return `the ${thing} is ${done.status}${why}`;
  }
}

const keptCodes: readonly number[] = [exitCodes.usage, exitCodes.interrupted, exitCodes.terminated];

/**
 * An error on the way to what is waited for: its code must not be taken for that of the command. Wrong usage and a
 * signal keep their own.
 */
export function asWaitError(error: unknown): unknown {
  if (error instanceof CliError && keptCodes.includes(error.exitCode)) return error;
  if (!(error instanceof Error)) return error;
  const hints = error instanceof CliError ? error.hints : [];
  return new CliError(error.message, waitCodes.none, { hints, cause: error });
}
