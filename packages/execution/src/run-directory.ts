import { statSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { perStream, type Offsets, type SpoolStream } from '@vmo/contract';
import type { ProcessIdentity } from './process.ts';

/** How the wrapper says that the command ended; see `wrapper.ts` for who writes what. */
export type ExitRecord =
  | { kind: 'exited'; exitCode: number; signal: string | null; startedAt: Date; finishedAt: Date }
  | { kind: 'no-directory' }
  | { kind: 'garbage'; words: string };

export const spoolFile = (directory: string, stream: SpoolStream) => join(directory, stream);

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

function parseFields(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)]] : [];
    }),
  );
}

/** The wrapper's identity, or what another file says in the same way; null when it has not been written. */
export async function readIdentity(directory: string, file = 'pid'): Promise<ProcessIdentity | null> {
  const text = await readIfThere(join(directory, file));
  if (text === null) return null;
  const fields = parseFields(text);
  const pid = Number(fields.get('pid'));
  const start = fields.get('start');
  const boot = fields.get('boot');
  // pid 1 and below name groups and init: such a record is not ours, and nothing may be signalled after it.
  if (!Number.isSafeInteger(pid) || pid <= 1 || !start || !boot) return null;
  return { pid, start: start.trim(), boot };
}

/** Shells add 128 to the number of the signal that ended a command. A command that exits so by itself looks the same. */
export function signalOfExitCode(exitCode: number): string | null {
  if (exitCode <= 128) return null;
  const entry = Object.entries(constants.signals).find(([, number]) => number === exitCode - 128);
  return entry ? entry[0] : null;
}

export function parseExitRecord(text: string): ExitRecord {
  const fields = parseFields(text);
  if (fields.get('error') === 'directory') return { kind: 'no-directory' };
  const code = fields.get('code') ?? '';
  const startedAt = new Date(parseFloat(fields.get('started') ?? '') * 1000);
  const finishedAt = new Date(parseFloat(fields.get('ended') ?? '') * 1000);
  if (
    !/^\d{1,3}$/.test(code) ||
    Number(code) > 255 ||
    Number.isNaN(startedAt.getTime()) ||
    Number.isNaN(finishedAt.getTime())
  ) {
    return { kind: 'garbage', words: text.slice(0, 200) };
  }
  const exitCode = Number(code);
  const signal = fields.get('signal') ?? signalOfExitCode(exitCode);
  // The beginning is the time of a file: on a network's disk, by the clock of its server, which may be ahead.
  const began = startedAt > finishedAt ? finishedAt : startedAt;
  return { kind: 'exited', exitCode, signal, startedAt: began, finishedAt };
}

/** null: there is none, the run goes on (or its wrapper is gone). */
export async function readExitRecord(directory: string): Promise<ExitRecord | null> {
  const text = await readIfThere(join(directory, 'exit'));
  return text === null ? null : parseExitRecord(text);
}

/** Claims the right to begin, the way the wrapper does. False: somebody has begun it. */
export async function claimBeginning(directory: string): Promise<boolean> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    await mkdir(join(directory, 'begun'));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

export const runDirectoryExists = (directory: string): Promise<boolean> =>
  stat(directory).then(
    () => true,
    () => false,
  );

/** Bytes written to the spool so far. */
export function spoolSizes(directory: string): Offsets {
  return perStream((stream) => statSync(spoolFile(directory, stream), { throwIfNoEntry: false })?.size ?? 0);
}
