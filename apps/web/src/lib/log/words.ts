import { isFinal, type Job } from '@vmo/contract';

/** `42.1 s`, `3 min 12 s`, `2 h 5 min`. */
export function durationWords(ms: number): string {
  if (ms < 1000) return `${String(Math.round(ms))} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${String(Math.floor(seconds / 60))} min ${String(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60)} min`;
}

/** A running clock: `0:42`, `1:02:03`. */
export function clockWords(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${String(minutes)}:${two(seconds % 60)}`;
  return `${String(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** Local time of day with milliseconds: `14:03:59.042`. */
export function timeOfDay(ts: number): string {
  const date = new Date(ts);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** How a job ended, or what it is doing, in a few words without the time. */
export function outcomeWords(job: Job): string {
  switch (job.status) {
    case 'pending':
      return job.reason ?? 'waiting for an agent';
    case 'hold':
      return job.reason ?? 'on hold';
    case 'acknowledged':
      return 'starting';
    case 'running':
      return job.cancelRequested ? 'ending' : 'running';
    case 'done':
      return 'exit 0';
    case 'failed':
      if (job.exitCode === null) return job.reason ?? 'could not be started';
      return job.signal ? `ended by ${job.signal}` : `exit ${String(job.exitCode)}`;
    case 'cancelled':
      return job.reason ?? 'cancelled';
    case 'timed_out':
      return job.timeout === null ? 'timed out' : `timed out (limit ${durationWords(job.timeout * 1000)})`;
    case 'lost':
      return job.reason ?? 'lost: its process vanished without an exit record';
  }
}

/** The end of a job in one line: `exit 0 after 42.1 s`. */
export function endWords(job: Job): string {
  const after = job.durationMs === null ? '' : ` after ${durationWords(job.durationMs)}`;
  return `${outcomeWords(job)}${after}`;
}

/** What stands in an empty log. */
export function emptyWords(job: Job): { title: string; detail: string } {
  if (isFinal(job.status)) return { title: 'No output', detail: `The job wrote nothing: ${endWords(job)}.` };
  const title = 'No output yet';
  if (job.status === 'running')
    return { title, detail: 'The command runs and has not written anything so far.' };
  if (job.status === 'acknowledged')
    return { title, detail: `${job.agent ?? 'An agent'} has the job and is starting it.` };
  const reason =
    job.reason ?? (job.status === 'hold' ? 'The job is on hold.' : 'Waiting for an agent to take the job.');
  return { title, detail: reason };
}

/** What is missing of a stored log, and why; null: nothing. */
export function logKeptWords(job: Job): string | null {
  if (job.logState === 'cut')
    return 'The middle of this log is missing: the command wrote more than the size limit of a log. Its beginning and its end are kept.';
  if (job.logState === 'expired')
    return 'This log, or the older part of it, was removed: its retention time is over.';
  return null;
}

/** An error as a person can read and copy it. */
export function errorWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
