import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

/**
 * Seconds since this machine was booted, the same for all its processes: no clock that somebody can set, and it counts the
 * time that the machine sleeps.
 */
export function secondsUp(): number {
  try {
    return parseFloat(readFileSync('/proc/uptime', 'latin1'));
  } catch {
    return uptime();
  }
}

const LeaseRecord = z.object({ boot: z.string(), until: z.number() });
export type LeaseRecord = z.infer<typeof LeaseRecord>;

const pathOf = (directory: string) => join(directory, 'lease');

/** What the agent has written last; null: nothing, or nothing that can be read. */
export function readLease(directory: string): LeaseRecord | null {
  try {
    return LeaseRecord.parse(JSON.parse(readFileSync(pathOf(directory), 'utf8')));
  } catch {
    return null;
  }
}

export const isOver = (lease: LeaseRecord | null, boot: string): boolean =>
  lease?.boot !== boot || secondsUp() >= lease.until;

/** Until when an agent may have runs, as it knows and as its guardian does. */
export interface Lease {
  /** Whether runs may begin and go on. */
  isHeld(): boolean;
}

/** The server's own agent: its runs are nobody else's, whatever happens. */
export const heldForEver: Lease = { isHeld: () => true };

export interface RemoteLease extends Lease {
  /** The server has renewed it; asked for at this time, by {@link secondsUp}. */
  renewed(askedAt: number, endRunsMs: number): void;
}

/** Keeps the lease in a file, where the guardian looks at it. */
export function createRemoteLease(directory: string, boot: string): RemoteLease {
  // That of before a restart holds as well.
  let lease = readLease(directory);
  return {
    isHeld: () => !isOver(lease, boot),
    renewed(askedAt, endRunsMs) {
      // Written down before it is believed.
      const next = { boot, until: askedAt + endRunsMs / 1000 };
      writeFileSync(`${pathOf(directory)}.tmp`, JSON.stringify(next), { mode: 0o600 });
      renameSync(`${pathOf(directory)}.tmp`, pathOf(directory));
      lease = next;
    },
  };
}
