import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Offsets } from '@vmo/contract';
import { z } from 'zod';

/** The part of a log's middle that is left out: bytes of the spool. Kept in the run directory before it is told. */
export interface Cut {
  from: Offsets;
  to: Offsets;
  /** Say in the log what is missing. */
  words: string;
}

const CutRecord = z.object({ from: Offsets, to: Offsets, words: z.string() });

const path = (directory: string) => join(directory, 'cut');

export async function writeCut(directory: string, cut: Cut): Promise<void> {
  await writeFile(`${path(directory)}.tmp`, JSON.stringify(cut), { mode: 0o600 });
  await rename(`${path(directory)}.tmp`, path(directory));
}

/** null: nothing was left out. A record that cannot be read is none: nothing that is stored depends on it. */
export async function readCut(directory: string): Promise<Cut | null> {
  const text = await readFile(path(directory), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return CutRecord.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
