import type { JobStatus, JobType } from '@vmo/contract';

/** The word beside the shape. */
export const statusWords: Readonly<Record<JobStatus, string>> = {
  pending: 'pending',
  hold: 'on hold',
  acknowledged: 'starting',
  running: 'running',
  done: 'done',
  failed: 'failed',
  cancelled: 'cancelled',
  timed_out: 'timed out',
  lost: 'lost',
};

/** Colour by meaning; complete class names, so that the style sheet has them. */
export const statusColors: Readonly<Record<JobStatus, string>> = {
  pending: 'text-pending',
  hold: 'text-pending',
  acknowledged: 'text-running',
  running: 'text-running',
  done: 'text-done',
  failed: 'text-failed',
  cancelled: 'text-cancelled',
  timed_out: 'text-timed-out',
  lost: 'text-lost',
};

export const typeWords: Readonly<Record<JobType, string>> = {
  stream: 'stream',
  terminal: 'terminal',
  ssh: 'ssh',
  vm: 'vm',
};
