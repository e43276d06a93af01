import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { createProcfsTable, createPsTable, type ProcessTable } from './process.ts';
import type { RunSpec } from './run.ts';

/** A run of `command` whose run directory lies in `parent`. */
export function buildSpec(parent: string, command: string, change: Partial<RunSpec> = {}): RunSpec {
  const jobId = randomUUID();
  return {
    jobId,
    command,
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    cols: 80,
    rows: 24,
    host: null,
    vm: null,
    directory: join(parent, jobId),
    notice: () => undefined,
    ...change,
  };
}

export const readSpool = ({ directory }: RunSpec, stream: 'stdout' | 'stderr' = 'stdout') =>
  readFile(join(directory, stream), 'utf8');

/** Waits until the job has written these words (a line of its own) to its standard output. */
export function untilWritten(spec: RunSpec, words: string): Promise<string> {
  return vi.waitFor(
    async () => {
      const text = await readSpool(spec);
      expect(text.split('\n')).toContain(words);
      return text;
    },
    { timeout: 10_000, interval: 10 },
  );
}

/** The tables that this system has. */
export const processTables: readonly (readonly [string, ProcessTable])[] =
  process.platform === 'linux'
    ? [
        ['procfs', createProcfsTable()],
        ['ps', createPsTable()],
      ]
    : [['ps', createPsTable()]];

/** Whether the process lives; one that waits for its parent to notice its end does not. */
export async function lives(table: ProcessTable, pid: number): Promise<boolean> {
  const found = await table.find(pid);
  return found !== null && !found.zombie;
}

/** Pids of the job's living processes, by their mark. */
export async function findMarked(table: ProcessTable, jobId: string): Promise<number[]> {
  return (await table.list(jobId)).filter((info) => info.marked && !info.zombie).map((info) => info.pid);
}
