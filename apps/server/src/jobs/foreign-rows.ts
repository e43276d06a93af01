import type { Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';
import { listDoubtfulRows, type DoubtfulRow } from './foreign-rows-repository.ts';
import { isSpool, storedOffsets } from './log-end.ts';
import type { LogEndColumns } from './log-repository.ts';
import type { JobRow } from './repository.ts';

type LogRow = LogEndColumns & Pick<JobRow, 'id' | 'created_at'>;

/** Events that words about them name, at most. */
const named = 5;

/**
 * How well a row fits between its neighbours: output of ours goes on where its stream ended, and ends where it goes on.
 * The cockpit's own words have no place in a stream; output that fits on one side only is less likely than they are.
 */
function fit(row: LogRow, all: readonly DoubtfulRow[], one: DoubtfulRow): number {
  const { seq, stream } = one;
  if (!isSpool(stream)) return 1.5;
  const begin = one.stream_offset;
  const end = begin + one.size;
  const others = all.filter((other) => other.stream === stream);
  const isBegun =
    begin === (one.ends_before ?? 0) ||
    others.some((other) => other.seq < seq && other.stream_offset + other.size === begin);
  const isFollowed =
    end === (one.begins_after ?? storedOffsets(row)[stream]) ||
    others.some((other) => other.seq > seq && other.seq <= row.last_seq && other.stream_offset === end);
  return Number(isBegun) + Number(isFollowed);
}

/**
 * Rows of a log that somebody else has put there: of those that share a seq all but the one that fits best, and what
 * stands behind the end. Of rows that fit alike the last one is ours: what was there before, our own append came upon.
 */
export async function listForeignRows(
  db: Kysely<Database> | Transaction<Database>,
  row: LogRow,
  afterSeq: number,
  upTo: number | null = null,
): Promise<DoubtfulRow[]> {
  const doubtful = await listDoubtfulRows(db, row, afterSeq, upTo);
  const ours = new Map<number, DoubtfulRow>();
  for (const each of doubtful) {
    if (each.seq > row.last_seq) continue;
    const best = ours.get(each.seq);
    if (!best || fit(row, doubtful, each) >= fit(row, doubtful, best)) ours.set(each.seq, each);
  }
  return doubtful.filter((each) => ours.get(each.seq) !== each);
}

/** What to say about rows that were removed. */
export function foreignWords(rows: readonly DoubtfulRow[]): string {
  const seqs = [...new Set(rows.map(({ seq }) => seq))];
  const first = seqs.slice(0, named).join(', ');
  const more = seqs.length > named ? ` and ${String(seqs.length - named)} more` : '';
  return seqs.length === 1
    ? `a row that is not ours stood at event ${first} of the stored log; it was removed`
    : `rows that are not ours stood at events ${first}${more} of the stored log; they were removed`;
}
