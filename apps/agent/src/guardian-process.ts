import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, type ProcessTable } from '@vmo/execution';
import { readHolder } from './data-directory.ts';

const program = join(import.meta.dirname, 'guardian-main.ts');
const startMs = 20_000;
const pollMs = 20;

/** Where the guardian says who it is. */
export const guardianFile = (directory: string) => join(directory, 'guardian');

export interface GuardianPlace {
  directory: string;
  runsDirectory: string;
  /** Between its looks. */
  everyMs: number;
  table: ProcessTable;
  /** It needs none of the agent's secrets. */
  environment: Readonly<Record<string, string>>;
}

async function lives({ directory, table }: GuardianPlace): Promise<boolean> {
  const found = await readHolder(guardianFile(directory));
  return found !== null && (await isAlive(table, found));
}

/**
 * Sees to it that the guardian runs; it is the first thing that an agent needs, and stays when the agent goes.
 * @throws Error when it does not come
 */
export async function ensureGuardian(place: GuardianPlace): Promise<void> {
  if (await lives(place)) return;
  const { directory, runsDirectory, everyMs, environment } = place;
  const log = openSync(join(directory, 'guardian.log'), 'a', 0o600);
  const child = spawn(process.execPath, [program, directory, runsDirectory, String(everyMs)], {
    detached: true,
    stdio: ['ignore', 'ignore', log],
    cwd: '/',
    env: environment,
  });
  closeSync(log);
  child.unref();
  const failed = Promise.withResolvers<never>();
  child.once('error', failed.reject);
  child.once('exit', (code) => {
    failed.reject(
      new Error(`the guardian of runs ended with ${String(code)}: see ${directory}/guardian.log`),
    );
  });
  failed.promise.catch(() => undefined);
  const deadline = Date.now() + startMs;
  while (!(await lives(place))) {
    if (Date.now() >= deadline) throw new Error('the guardian of runs does not come up');
    await Promise.race([delay(pollMs), failed.promise]);
  }
}
