import { isDatabaseUnavailable, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { appendInOneStatement, type Append } from './log-repository.ts';

/** An append from here on has a statement of its own: it would only hold up the small ones. */
const ownBytes = 64 * 1024;
/** Appends of one statement, at most. */
const groupSize = 200;

interface Waiting {
  append: Append;
  resolve: (stored: boolean) => void;
  reject: (error: unknown) => void;
}

const bytesOf = ({ events }: Append) => events.reduce((sum, { chunk }) => sum + chunk.length, 0);

/**
 * Many jobs that write a little each share a statement and its commit: what comes while one is under way goes with the
 * next. Nothing waits when nothing is under way. At most one append of a job may be under way.
 *
 * @returns stores one append. False: the log ends elsewhere, or the job is not the agent's any more; nothing was stored
 */
export function createGroupAppend(db: Kysely<Database>): (append: Append) => Promise<boolean> {
  let waiting: Waiting[] = [];
  let isBusy = false;

  async function storeGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const stored = await appendInOneStatement(
        db,
        group.map(({ append }) => append),
      );
      for (const { append, resolve } of group) resolve(stored.has(append.at.id));
    } catch (error) {
      const [first] = group;
      if (first && group.length === 1) first.reject(error);
      else if (isDatabaseUnavailable(error)) for (const { reject } of group) reject(error);
      // One of them is at fault: the others must not fail with it again and again.
      else for (const one of group) await storeGroup([one]);
    }
  }

  async function work(): Promise<void> {
    isBusy = true;
    while (waiting.length > 0) {
      const group = waiting.slice(0, groupSize);
      waiting = waiting.slice(groupSize);
      await storeGroup(group);
    }
    isBusy = false;
  }

  return async (append) => {
    if (bytesOf(append) >= ownBytes) return (await appendInOneStatement(db, [append])).size === 1;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    waiting.push({ append, resolve, reject });
    if (!isBusy) void work();
    return promise;
  };
}
