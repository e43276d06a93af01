import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createProcessTable, isAlive, type ProcessIdentity, type ProcessTable } from '@vmo/execution';
import { z } from 'zod';

const Holder = z.object({ pid: z.int(), start: z.string(), boot: z.string() });

/** Who has written this; null: nobody, or it cannot be read. */
export async function readHolder(path: string): Promise<ProcessIdentity | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const result = Holder.safeParse(text === '' ? null : JSON.parse(text));
  return result.success ? result.data : null;
}

/** This very process, so that nobody else is taken for it. */
export async function ownIdentity(table: ProcessTable): Promise<ProcessIdentity> {
  const self = await table.find(process.pid);
  return { pid: process.pid, start: self?.start ?? '', boot: await table.bootId() };
}

/** Whose directory it is, and the setting that names another. */
export interface Owner {
  program: 'server' | 'agent';
  variable: string;
}

export const lockOf = (directory: string, program: Owner['program']) => join(directory, `${program}.lock`);

/** Takes the lock; that of a process that is gone, also when its pid has been given to another, is taken over. */
async function lock(directory: string, { program, variable }: Owner): Promise<() => Promise<void>> {
  const table = createProcessTable();
  const path = lockOf(directory, program);
  const mine = `${path}.${String(process.pid)}`;
  const aside = `${mine}.stale`;
  const identity = await ownIdentity(table);
  // Written aside and linked into place: whoever reads the lock reads all of it.
  await writeFile(mine, JSON.stringify(identity), { mode: 0o600 });
  try {
    for (;;) {
      try {
        await link(mine, path);
        return () => rm(path, { force: true });
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
      const holder = await readHolder(path);
      if (holder && (await isAlive(table, holder))) {
        throw new Error(
          `another ${program} (pid ${String(holder.pid)}) uses ${directory}: stop it, or set ${variable} to another directory`,
        );
      }
      // Renamed rather than removed: when two find the same stale lock, the slower one may have taken the lock
      // of the faster one away, notices it, and puts it back.
      await rename(path, aside).catch(() => undefined);
      const taken = await readHolder(aside);
      if (taken && (await isAlive(table, taken))) await link(aside, path).catch(() => undefined);
      await rm(aside, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/**
 * As `mkdir -p`. Node's own recursive mkdir never returns where a parent exists and yet refuses a child with ENOENT, as
 * /proc does (seen with Node 24.21).
 */
async function makeDirectory(directory: string, mayMakeParents = true): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' && (await stat(directory)).isDirectory()) return;
    const parent = dirname(directory);
    if (code !== 'ENOENT' || parent === directory || !mayMakeParents) throw error;
    await makeDirectory(parent);
    await makeDirectory(directory, false);
  }
}

/**
 * Makes the directory, if need be, and makes this process the only one of its kind that uses it.
 * @returns gives it free again
 * @throws Error in words for the person who starts it
 */
export async function takeDataDirectory(directory: string, owner: Owner): Promise<() => Promise<void>> {
  try {
    await makeDirectory(directory);
    return await lock(directory, owner);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    throw new Error(
      `the data directory ${directory} cannot be used (${String(error.code)}): set ${owner.variable} to a directory that can be written`,
      { cause: error },
    );
  }
}
