import type { Job, JobId, LogMarks } from '@vmo/contract';
import { isDatabaseUnavailable, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { findJob, type JobRow } from '../repository.ts';
import { readEvents } from '../stored-events.ts';
import { listMarks, listUnmarked, noteMarks, replaceMarks } from './marks-repository.ts';
import type { Reply } from './messages.ts';
import type { Scan, ScanThreads } from './scan.ts';

/** A job that writes is looked through this often, one page at a time: it must not cost a flood its speed. */
const everyMs = 700;
const pageBytes = 1024 * 1024;
const pageEvents = 10_000;
const patienceMs = 20_000;
/** When the database is away. */
const retryMs = 2_000;
/** A thread without a log to look through ends: it costs memory. */
const idleMs = 10_000;
/** Jobs of an earlier start that are looked through, at most. */
const maxLeftOver = 1000;

type Found = Extract<Reply, { kind: 'marks' }>;

export interface MarksDeps {
  db: Kysely<Database>;
  threads: ScanThreads;
  /** Told of a row whose counts changed. */
  changed: (row: JobRow) => void;
  onError: (error: unknown, jobId: string) => void;
}

/** One log that is being looked through; the thread knows the rest. */
interface Look {
  upToSeq: number;
  found: Found;
}

const nothing: Found = { kind: 'marks', problems: [], groups: [], errors: 0, warnings: 0, truncated: false };

/**
 * Groups, errors and warnings in logs. They are looked for behind the log, in a thread, from what is stored: slowly
 * while the job writes, to the end when it has ended, and then kept.
 */
export function createMarks({ db, threads, changed, onError }: MarksDeps) {
  const looks = new Map<string, Look>();
  const waiting = new Map<string, { finished: boolean; notBefore: number }>();
  let scan: Scan | null = null;
  let looking = false;
  let stopped = false;
  let timer: NodeJS.Timeout | null = null;

  function want(jobId: string, finished: boolean): void {
    if (stopped) return;
    const before = waiting.get(jobId);
    const notBefore = finished ? 0 : (before?.notBefore ?? Date.now() + everyMs);
    waiting.set(jobId, { finished: finished || (before?.finished ?? false), notBefore });
    next();
  }

  /** Looks through the log whose turn it is; one at a time. */
  function next(): void {
    if (stopped || looking) return;
    if (timer) clearTimeout(timer);
    const [first] = [...waiting].sort(([, a], [, b]) => a.notBefore - b.notBefore);
    if (!first) {
      timer = setTimeout(rest, idleMs);
      timer.unref();
      return;
    }
    const [jobId, { finished, notBefore }] = first;
    if (notBefore > Date.now()) {
      timer = setTimeout(next, Math.max(notBefore - Date.now(), 1));
      timer.unref();
      return;
    }
    waiting.delete(jobId);
    looking = true;
    look(jobId, finished)
      .catch((error: unknown) => {
        // The thread may be in the middle of something: what it knew is looked for again.
        endThread();
        if (stopped) return;
        if (isDatabaseUnavailable(error)) waiting.set(jobId, { finished, notBefore: Date.now() + retryMs });
        onError(error, jobId);
      })
      .finally(() => {
        looking = false;
        next();
      });
  }

  function rest(): void {
    if (looks.size === 0 && !looking) endThread();
  }

  function endThread(): void {
    scan?.[Symbol.dispose]();
    scan = null;
    looks.clear();
  }

  async function look(jobId: string, finished: boolean): Promise<void> {
    let row = await findJob(db, jobId);
    if (!row || (row.marks_seq >= row.last_seq && row.finished_at !== null)) {
      looks.delete(jobId);
      return;
    }
    scan ??= threads.open({ kind: 'marks' }, patienceMs);
    const known = looks.get(jobId) ?? { upToSeq: 0, found: nothing };
    looks.set(jobId, known);
    const isFinal = row.finished_at !== null;
    const lineCount = row.line_counts.reduce((sum, count) => sum + count, 0);
    for (let isLast = false; !isLast;) {
      const events = await readEvents(db, row, {
        afterSeq: known.upToSeq,
        limit: pageEvents,
        maxBytes: pageBytes,
      });
      const reached = events.at(-1)?.seq ?? row.last_seq;
      isLast = isFinal && reached >= row.last_seq;
      const reply = await scan.look(jobId, events, isLast ? { lineCount } : null);
      if (reply.kind !== 'marks') throw new Error(`a look for marks was answered with ${reply.kind}`);
      known.upToSeq = Math.max(reached, known.upToSeq);
      known.found = reply;
      if (!isFinal) break;
    }
    const { found, upToSeq } = known;
    const differs = row.error_count !== found.errors || row.warning_count !== found.warnings;
    const counts = { error_count: found.errors, warning_count: found.warnings };
    if (isFinal) {
      row = await db.transaction().execute(async (trx) => {
        if (found.groups.length + found.problems.length > 0)
          await replaceMarks(trx, jobId, found.groups, found.problems);
        return noteMarks(trx, jobId, { ...counts, marks_seq: upToSeq });
      });
      looks.delete(jobId);
    } else {
      if (upToSeq < row.last_seq || finished) want(jobId, finished);
      if (differs) row = await noteMarks(db, jobId, { ...counts, marks_seq: 0 });
    }
    if (row && differs) changed(row);
  }

  return {
    /** To be called at start: logs that ended while nobody looked. */
    async start(): Promise<void> {
      for (const { id } of await listUnmarked(db, maxLeftOver)) want(id, true);
    },

    /** Something was stored. */
    appended: (jobId: JobId) => {
      want(jobId, false);
    },

    /** The job has ended, and nothing more will be stored. */
    finished: (job: Job) => {
      want(job.id, true);
    },

    async get(row: JobRow): Promise<LogMarks> {
      const known = looks.get(row.id);
      if (known) {
        const { problems, groups, truncated } = known.found;
        return { problems, groups, truncated, upToSeq: known.upToSeq };
      }
      const marks = await listMarks(db, row.id);
      const listed = marks.problems.length;
      if (row.marks_seq < row.last_seq) want(row.id, row.finished_at !== null);
      return { ...marks, upToSeq: row.marks_seq, truncated: row.error_count + row.warning_count > listed };
    },

    stop(): void {
      stopped = true;
      if (timer) clearTimeout(timer);
      endThread();
    },
  };
}
