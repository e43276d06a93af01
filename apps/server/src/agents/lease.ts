import type { LeaseTimes } from '@vmo/contract';

export interface LeasePlan extends LeaseTimes {
  /** After the end of a lease: only then are its jobs taken away. */
  graceMs: number;
  /** How often it is looked for leases that are over. */
  sweepMs: number;
}

/**
 * All times of a lease follow from its length; with 30 s:
 *
 *   0     the agent asks for a renewal, and takes this as the beginning
 *   10    it asks again; when nobody answers, every second
 *   25    cut off for 15 s at the worst moment: renewed, nothing happens
 *   27    its runs are ended, by a process that does not depend on it
 *   35    its jobs are taken away, by the clock of the database, so never sooner; 40 at the latest
 */
export function planLease(leaseMs: number, pollMs: number): LeasePlan {
  return {
    leaseMs,
    renewMs: Math.round(leaseMs / 3),
    endRunsMs: Math.round(leaseMs * 0.9),
    pollMs,
    graceMs: Math.round(leaseMs / 6),
    sweepMs: Math.round(leaseMs / 6),
  };
}
