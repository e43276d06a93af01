import type { Job, StopRung, VmStatus } from '@vmo/contract';

export interface EndedRun {
  job: Pick<Job, 'status' | 'startedAt' | 'reason' | 'signal' | 'exitCode'>;
  /** What the hypervisor said of the end; null: nobody was there to hear it. */
  seen: { rung: StopRung; words: string } | null;
  /** Somebody had asked for the end. */
  asked: boolean;
  /** The last lines of its standard error. */
  lastWords: readonly string[];
}

export interface Verdict {
  status: Extract<VmStatus, 'stopped' | 'crashed'>;
  endedBy: StopRung | null;
  reason: string | null;
}

/** How a run ended, from what its job says and what was seen of the machine. */
export function verdictOn({ job, seen, asked, lastWords }: EndedRun): Verdict {
  const said = lastWords
    .map((line) => line.trim())
    .filter(Boolean)
    .join(' · ');
  if (job.startedAt === null) {
    const reason = asked ? null : (job.reason ?? 'it could not be started');
    return { status: 'stopped', endedBy: null, reason };
  }
  if (seen && seen.rung !== 'crash') return { status: 'stopped', endedBy: seen.rung, reason: null };
  if (asked) return { status: 'stopped', endedBy: rungOf(job.signal), reason: null };
  if (!seen && job.status === 'done') return { status: 'stopped', endedBy: 'guest', reason: null };
  const how = seen?.words ?? job.reason ?? 'its process died';
  return { status: 'crashed', endedBy: 'crash', reason: said === '' ? how : `${how}: ${said}` };
}

function rungOf(signal: string | null): StopRung | null {
  if (signal === 'SIGKILL') return 'sigkill';
  return signal === 'SIGTERM' ? 'sigterm' : null;
}
