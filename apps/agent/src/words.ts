import type { ClaimedJob, RunOutcome } from '@vmo/contract';
import type { RunEnd } from '@vmo/execution';

/** `0.42 s`, `42.1 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${String(Math.floor(seconds / 60))} min ${String(Math.floor(seconds % 60))} s`;
  return `${String(Math.floor(seconds / 3600))} h ${String(Math.floor((seconds % 3600) / 60))} min`;
}

/** `64 MiB`, `1.5 GiB`; below a KiB the bytes. */
export function bytesInWords(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const value = bytes / 1024 ** power;
  return `${Number.isInteger(value) || power === 0 ? String(value) : value.toFixed(1)} ${units[power] ?? ''}`;
}

/** The lines that open a log. A command of several lines stays one per line. */
export function commandLines(job: ClaimedJob, agent: string, directory: string | null): string[] {
  const where = job.host
    ? `${directory ?? 'the home directory'} on host ${job.host.name}`
    : (directory ?? '/');
  if (job.type === 'vm') return [job.command, `agent ${agent}`];
  return [...job.command.trimEnd().split('\n'), `in ${where}, agent ${agent}`];
}

type Ended = Extract<RunEnd, { kind: 'exited' | 'failed' }>;

/** Why a job ended other than well, in the words of the history table. */
export function reasonOf(status: RunOutcome['status'], end: Ended, timeout: number | null): string | null {
  switch (status) {
    case 'done':
      return null;
    case 'cancelled':
      return 'cancelled';
    case 'timed_out':
      return `ended after its timeout of ${String(timeout)} s`;
    case 'failed':
    case 'lost':
      if (end.kind === 'failed') return end.reason;
      return end.signal ? `killed by ${end.signal}` : `exit code ${String(end.exitCode)}`;
  }
}

/** The lines that close a log. */
export function endLines(end: Ended, status: RunOutcome['status'], reason: string | null): string[] {
  const left = end.leftovers.map(
    (names) => `still running after the end, their output is not kept: ${names}`,
  );
  const after = `after ${duration(end.finishedAt.getTime() - end.startedAt.getTime())}`;
  if (end.kind === 'failed') return [...left, ...(reason ? [reason] : []), `${status} ${after}`];
  const how = end.signal ? `${end.signal}, exit ${String(end.exitCode)}` : `exit ${String(end.exitCode)}`;
  const why = status === 'timed_out' && reason ? [reason] : [];
  return [...left, ...why, `${how} ${after}`];
}
