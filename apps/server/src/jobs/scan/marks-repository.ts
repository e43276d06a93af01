import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import type { LogMarks } from '@vmo/contract';
import type { JobRow } from '../repository.ts';
import type { Group, Problem } from './marks-in-block.ts';

type Db = Kysely<Database>;

/** Values of one statement: Postgres takes 65,535 parameters. */
const rowsPerInsert = 5_000;

/** Replaces what was found in the log of a job. */
export async function replaceMarks(
  trx: Db,
  jobId: string,
  groups: readonly Group[],
  problems: readonly Problem[],
): Promise<void> {
  await trx.deleteFrom('job_marks').where('job_id', '=', jobId).execute();
  const rows = [
    ...groups.map(({ kind, start, end, depth, name }) => ({
      ...{ kind, line: start, end_line: end, depth, words: name },
    })),
    ...problems.map(({ severity, line, text }) => ({
      ...{ kind: severity, line, end_line: null, depth: 0, words: text },
    })),
  ].map((row, number) => ({ ...row, job_id: jobId, number }));
  for (let at = 0; at < rows.length; at += rowsPerInsert)
    await trx
      .insertInto('job_marks')
      .values(rows.slice(at, at + rowsPerInsert))
      .execute();
}

/** Tells how far the log has been looked through, and what was found. @returns the row; none: the job is gone */
export async function noteMarks(
  db: Db,
  jobId: string,
  found: Pick<JobRow, 'marks_seq' | 'error_count' | 'warning_count'>,
): Promise<JobRow | undefined> {
  return db.updateTable('jobs').set(found).where('id', '=', jobId).returningAll().executeTakeFirst();
}

export async function listMarks(db: Db, jobId: string): Promise<Pick<LogMarks, 'groups' | 'problems'>> {
  const rows = await db
    .selectFrom('job_marks')
    .select(['kind', 'line', 'end_line', 'depth', 'words'])
    .where('job_id', '=', jobId)
    .orderBy('number')
    .execute();
  const marks: Pick<LogMarks, 'groups' | 'problems'> = { groups: [], problems: [] };
  for (const { kind, line, end_line: end, depth, words } of rows) {
    if (kind === 'error' || kind === 'warning') marks.problems.push({ line, severity: kind, text: words });
    else if (kind === 'group' || kind === 'recipe' || kind === 'directory')
      marks.groups.push({ start: line, end, name: words, kind, depth });
  }
  return marks;
}

/** Jobs that ended before their log was looked through. Expected plan: idx_jobs_unmarked. */
export async function listUnmarked(db: Db, limit: number): Promise<JobRow[]> {
  return db
    .selectFrom('jobs')
    .selectAll()
    .where('finished_at', 'is not', null)
    .where('marks_seq', '=', 0)
    .where('last_seq', '>', 0)
    .where('log_expired', '=', false)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
}
