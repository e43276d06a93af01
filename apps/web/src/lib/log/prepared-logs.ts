import type { JobId } from '@vmo/contract';
import { LogState, type LogOptions } from './log-state.svelte.ts';

/** A log that nobody came for in this time (in milliseconds) is let go. */
const patience = 2_000;

const prepared = new Map<JobId, { log: LogState; timer: ReturnType<typeof setTimeout> }>();

/** Opens the log of a job that is about to be shown: its first output comes while the page is still being built. */
export function prepareLog(options: LogOptions): void {
  const { id } = options.job;
  if (prepared.has(id)) return;
  const log = new LogState(options);
  void log.open('end');
  const timer = setTimeout(() => takePrepared(id)?.stop(), patience);
  prepared.set(id, { log, timer });
}

/** The log is the caller's then, who stops it; null: it was not prepared. */
export function takePrepared(id: JobId): LogState | null {
  const found = prepared.get(id);
  if (!found) return null;
  clearTimeout(found.timer);
  prepared.delete(id);
  return found.log;
}
