import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { listForeignRows } from './foreign-rows.ts';
import { isSpool, storedOffsets } from './log-end.ts';
import { selectEvents, type EventRange, type LogEndColumns, type StoredEvent } from './log-repository.ts';
import type { JobRow } from './repository.ts';

/**
 * Events after `afterSeq` up to where the log ended in this row, in order; about `limit` and `maxBytes` of output at
 * most, always at least one where there is one. A row that somebody else has put beside ours is left out.
 */
export async function readEvents(
  db: Kysely<Database>,
  row: LogEndColumns & Pick<JobRow, 'id' | 'created_at'>,
  range: EventRange,
): Promise<StoredEvent[]> {
  const events = await selectEvents(db, row, range);
  if (isInOrder(row, events)) return events;
  const last = events.at(-1)?.seq ?? 0;
  const foreign = new Set((await listForeignRows(db, row, range.afterSeq, last)).map(({ id }) => id));
  return events.filter(({ id }) => !foreign.has(id));
}

/** One row per seq, and the output of each stream without overlaps or gaps, and not more than is stored. */
function isInOrder(row: LogEndColumns, events: readonly StoredEvent[]): boolean {
  const stored = storedOffsets(row);
  const ends = new Map<string, number>();
  let last = 0;
  for (const { seq, stream, stream_offset: begin, size } of events) {
    if (seq === last) return false;
    last = seq;
    if (!isSpool(stream)) continue;
    if (begin !== (ends.get(stream) ?? begin) || begin + size > stored[stream]) return false;
    ends.set(stream, begin + size);
  }
  return true;
}
