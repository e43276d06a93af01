import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessIdentity } from '../process.ts';
import { readIdentity } from '../run-directory.ts';
import type { PtyEnd } from './pty.ts';

/**
 * The terminal host's part of a run directory. `begun/`, `pid` (of the command itself: there is no wrapper), `stdout`
 * and `exit` are as `wrapper.ts` says; in addition
 *   host/pid  identity of the terminal host: as long as it lives and there is no exit record, the run goes on.
 */
export const hostRecordDirectory = 'host';

/** Writes a file whole or not at all: temporary name, synced, renamed. */
export async function writeRecord(directory: string, name: string, words: string): Promise<void> {
  const path = join(directory, name);
  const file = await open(`${path}.tmp`, 'w', 0o600);
  try {
    await file.writeFile(words);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
}

export const identityRecord = ({ pid, start, boot }: ProcessIdentity): string =>
  `pid=${String(pid)}\nstart=${start}\nboot=${boot}\n`;

const seconds = (date: Date): string => (date.getTime() / 1000).toFixed(3);

export const exitRecord = (end: PtyEnd, startedAt: Date, finishedAt: Date): string =>
  [
    `code=${String(end.exitCode)}`,
    `started=${seconds(startedAt)}`,
    `ended=${seconds(finishedAt)}`,
    ...(end.signal === null ? [] : [`signal=${end.signal}`]),
    '',
  ].join('\n');

/** The identity of the host that holds the run's terminal; null when it has not written it. */
export const readHostIdentity = (directory: string): Promise<ProcessIdentity | null> =>
  readIdentity(join(directory, hostRecordDirectory));
