import { z } from 'zod';

/** How a job is executed; each type has one strategy in the execution package. */
export const JobType = z.enum(['stream', 'terminal', 'ssh', 'vm']);
export type JobType = z.infer<typeof JobType>;

export const JobStatus = z.enum([
  'pending',
  'hold',
  'acknowledged',
  'running',
  'done',
  'failed',
  'cancelled',
  'timed_out',
  'lost',
]);
export type JobStatus = z.infer<typeof JobStatus>;

/**
 * Every allowed transition; all others are refused. A final state has none, so it never changes.
 *
 * pending → acknowledged (an agent has it) → running → one of the final states. A job can end before it
 * runs: cancelled while it waits, or failed because it could not be started. A job that an agent took but
 * provably never began goes back to pending, and so does one whose attempt was lost and that may be tried again.
 */
export const jobTransitions: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  pending: ['acknowledged', 'hold', 'cancelled', 'failed'],
  hold: ['pending', 'cancelled'],
  acknowledged: ['running', 'pending', 'failed', 'cancelled', 'lost'],
  running: ['pending', 'done', 'failed', 'cancelled', 'timed_out', 'lost'],
  done: [],
  failed: [],
  cancelled: [],
  timed_out: [],
  lost: [],
};

export const finalJobStatuses = JobStatus.options.filter((status) => jobTransitions[status].length === 0);

export function isFinal(status: JobStatus): boolean {
  return jobTransitions[status].length === 0;
}

export function canTransition(from: JobStatus, to: JobStatus): boolean {
  return jobTransitions[from].includes(to);
}

/** Where a piece of output came from. `system` is the cockpit's own words; `boot` and `command` belong to VM runs. */
export const LogStream = z.enum(['stdout', 'stderr', 'system', 'boot', 'command']);
export type LogStream = z.infer<typeof LogStream>;
