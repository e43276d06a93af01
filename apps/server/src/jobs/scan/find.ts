import { compileQuery } from '@vmo/ansi';
import { CodedError, LogStream, maxFoundLines, type FindQuery, type FindRow } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { JobRow } from '../repository.ts';
import { readEvents } from '../stored-events.ts';
import { OpenLines } from './open-lines.ts';
import { ScanTimeoutError, type ScanThreads } from './scan.ts';

const pageBytes = 4 * 1024 * 1024;
const pageEvents = 10_000;
/** For one page: many times what any sensible pattern takes. Plain text takes what it takes. */
const patternPatienceMs = 2_000;
const patienceMs = 60_000;

/**
 * Searches the stored log up to where it ended when the search began. A line that may still go on is left to a search
 * that goes on from there: of half a line, nobody knows yet what is found in it.
 * @throws CodedError INVALID_INPUT for a pattern that is none
 */
export function findInLog(
  db: Kysely<Database>,
  threads: ScanThreads,
  row: JobRow,
  query: FindQuery,
): AsyncGenerator<FindRow> {
  const compiled = compileQuery(query);
  if (!(compiled instanceof RegExp)) {
    throw new CodedError('INVALID_INPUT', `this pattern cannot be used: ${compiled.error}`, {
      issues: [{ path: 'text', message: compiled.error }],
    });
  }
  return search(db, threads, row, query);
}

async function* search(
  db: Kysely<Database>,
  threads: ScanThreads,
  row: JobRow,
  query: FindQuery,
): AsyncGenerator<FindRow> {
  const { text, regex, caseSensitive, streams = LogStream.options } = query;
  const read = (afterSeq: number) =>
    readEvents(db, row, { afterSeq, limit: pageEvents, maxBytes: pageBytes, streams });
  using scan = await threads.openInTurn(
    { kind: 'find', query: { text, regex, caseSensitive } },
    regex ? patternPatienceMs : patienceMs,
  );
  const lastSeq = row.last_seq;
  const isFinal = row.finished_at !== null;
  let seq = Math.min(query.afterSeq, lastSeq);
  const open = new OpenLines(db, row, seq, streams);
  let matches = 0;
  let listed = 0;
  let truncated = false;
  let longLines = 0;
  let page = read(seq);
  try {
    for (;;) {
      const events = await page;
      const reached = events.at(-1)?.seq ?? lastSeq;
      const isLast = reached >= lastSeq;
      // The next page is read while this one is looked at.
      page = isLast ? Promise.resolve([]) : read(reached);
      page.catch(() => undefined);
      for await (const beginning of open.before(events)) await scan.lookBefore(row.id, beginning);
      const isEnd = isLast && isFinal;
      if (isEnd) for await (const beginning of open.rest()) await scan.lookBefore(row.id, beginning);
      const reply = await scan.look(row.id, events, isEnd ? { lineCount: 0 } : null);
      if (reply.kind !== 'find') throw new Error(`a search was answered with ${reply.kind}`);
      seq = reached;
      matches += reply.lines.reduce((sum, [, count]) => sum + count, 0);
      longLines += reply.longLines;
      const shown = reply.lines.slice(0, maxFoundLines - listed);
      listed += shown.length;
      truncated ||= shown.length < reply.lines.length;
      if (shown.length > 0) yield { type: 'matches', lines: shown };
      if (isLast) break;
      yield { type: 'progress', seq, lastSeq, matches };
    }
    yield { type: 'end', seq, matches, truncated, longLines };
  } catch (error) {
    if (!(error instanceof ScanTimeoutError)) throw error;
    yield {
      type: 'error',
      code: 'PATTERN_TOO_SLOW',
      message: 'This pattern takes too long: it was stopped. Try a simpler one.',
    };
  }
}
