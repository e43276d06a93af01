import type { JobId } from '@vmo/contract';

/** Somebody who can be told whether they may type. */
export interface Typist {
  tellControl(jobId: JobId, inControl: boolean): void;
  tellSize(jobId: JobId, cols: number, rows: number): void;
}

/**
 * Who may type into which terminal job: one at a time, and when that one leaves, the next who is there.
 * @param onControlled told when a first one gets control, and when nobody has it any more
 */
export function createTerminalControl(onControlled: (jobId: JobId, controlled: boolean) => void) {
  /** The first of each list is in control. */
  const present = new Map<JobId, Typist[]>();

  function arrange(jobId: JobId, typists: Typist[]): void {
    const before = present.get(jobId)?.[0];
    if (typists.length === 0) present.delete(jobId);
    else present.set(jobId, typists);
    const after = typists[0];
    if (before === after) return;
    if (!before || !after) onControlled(jobId, after !== undefined);
    before?.tellControl(jobId, false);
    after?.tellControl(jobId, true);
  }

  const othersThan = (jobId: JobId, typist: Typist) =>
    (present.get(jobId) ?? []).filter((other) => other !== typist);

  return {
    isControlled: (jobId: JobId) => present.has(jobId),
    isInControl: (jobId: JobId, typist: Typist) => present.get(jobId)?.[0] === typist,
    /** Whoever watches must draw in the size of the one who types. */
    resized(jobId: JobId, typist: Typist, cols: number, rows: number): void {
      for (const other of othersThan(jobId, typist)) other.tellSize(jobId, cols, rows);
    },
    /** Gets in line; the first one is in control. */
    enter(jobId: JobId, typist: Typist): void {
      if (!present.get(jobId)?.includes(typist)) arrange(jobId, [...othersThan(jobId, typist), typist]);
    },
    take(jobId: JobId, typist: Typist): void {
      arrange(jobId, [typist, ...othersThan(jobId, typist)]);
    },
    leave(jobId: JobId, typist: Typist): void {
      if (present.get(jobId)?.includes(typist)) arrange(jobId, othersThan(jobId, typist));
    },
    leaveAll(typist: Typist): void {
      for (const jobId of present.keys()) this.leave(jobId, typist);
    },
  };
}

export type TerminalControl = ReturnType<typeof createTerminalControl>;
