import { createHash } from 'node:crypto';
import { perStream, SpoolStream, type LogDigest, type Offsets } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { decodeStored } from './codec.ts';
import { attemptBase } from './log.ts';
import { isSpool, storedOffsets } from './log-end.ts';
import { hasExpired } from './log-repository.ts';
import type { JobRow } from './repository.ts';
import { readEvents } from './stored-events.ts';

const pageBytes = 512 * 1024;
const pageEvents = 1000;

/**
 * SHA-256 of what the database gives back of each stream of the attempt that is under way, behind this event. Chunk by
 * chunk in this thread, which others get in between: a thread of its own left some 90 MB of memory behind with every long
 * log, and was no faster.
 */
export async function digestOf(
  db: Kysely<Database>,
  row: JobRow,
  behind: number,
): Promise<Pick<LogDigest, 'from' | 'sha256'>> {
  const base = attemptBase(row);
  const hashes = perStream(() => createHash('sha256'));
  const from: Partial<Offsets> = {};
  const read = (afterSeq: number) =>
    readEvents(db, row, { afterSeq, limit: pageEvents, maxBytes: pageBytes, streams: SpoolStream.options });
  let page = read(behind);
  for (;;) {
    const events = await page;
    const last = events.at(-1);
    if (!last) {
      const ends = storedOffsets(row);
      return {
        from: (await hasExpired(db, row.id))
          ? perStream((stream) => (from[stream] ?? ends[stream]) - base[stream])
          : null,
        sha256: perStream((stream) => hashes[stream].digest('hex')),
      };
    }
    // The next page is read while this one is looked at.
    page = read(last.seq);
    page.catch(() => undefined);
    for (const event of events) {
      const { stream } = event;
      if (!isSpool(stream) || event.stream_offset < base[stream]) continue;
      from[stream] ??= event.stream_offset;
      hashes[stream].update(decodeStored(event));
    }
  }
}
