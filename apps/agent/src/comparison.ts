import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Offsets, perStream, SpoolStream, type AgentApi, type JobRef, type LogDigest } from '@vmo/contract';
import type { SpoolReader } from '@vmo/execution';
import { z } from 'zod';
import { LeaseLostError } from './lease-lost.ts';

/** How far a spool has been compared with what is stored of it. */
const Compared = z.object({
  /** The last event that was looked at. */
  seq: z.int().min(0),
  offsets: Offsets,
  /** Everything was equal. */
  intact: z.boolean(),
  /** The log says that the disk cannot free parts of a file. */
  complained: z.boolean(),
});
export type Compared = z.infer<typeof Compared>;

export interface ComparisonOptions {
  ref: JobRef;
  directory: string;
  api: AgentApi;
  reader: SpoolReader;
  insist: <T>(what: string, call: () => Promise<T>) => Promise<T>;
  note: (line: string) => void;
}

/**
 * Compares a spool with what is stored of it piece by piece while the run goes on: what was compared needs its blocks on
 * the disk no more.
 */
export function createComparison({ ref, directory, api, reader, insist, note }: ComparisonOptions) {
  const path = join(directory, 'compared');
  let last: Compared | null = null;

  async function known(): Promise<Compared> {
    last ??= await read(path);
    return last;
  }

  async function remember(next: Compared): Promise<void> {
    await writeFile(`${path}.tmp`, JSON.stringify(next), { mode: 0o600 });
    await rename(`${path}.tmp`, path);
    last = next;
  }

  async function isSame(from: Offsets, stored: LogDigest): Promise<boolean> {
    for (const stream of SpoolStream.options) {
      if (await reader.isTruncated(stream)) return false;
      const start = Math.max(from[stream], stored.from?.[stream] ?? 0);
      const own = await reader.digest(stream, [[start, stored.offsets[stream]]]);
      if (own !== stored.sha256[stream]) return false;
    }
    return true;
  }

  return {
    known,

    /** All that is stored and was not looked at yet. What is found is written down before anything else happens. */
    async go(): Promise<Compared> {
      const before = await known();
      const stored = await insist('the comparison', () => api.digest(ref, before.seq));
      if (!stored) throw new LeaseLostError();
      const same = await isSame(before.offsets, stored);
      const intact = before.intact && same;
      await remember({ ...before, seq: stored.lastSeq, offsets: stored.offsets, intact });
      if (before.intact && !same) {
        note(
          'its spool is not what was read from it: somebody changed it while it ran; the log keeps what was read first',
        );
      }
      return known();
    },

    /** Gives what stands before these offsets back to the disk; none where they are below 1. */
    async free(offsets: Offsets): Promise<void> {
      let possible = true;
      for (const stream of SpoolStream.options) {
        if (offsets[stream] > 0) possible = (await reader.free(stream, offsets[stream])) && possible;
      }
      const now = await known();
      if (possible || now.complained) return;
      await remember({ ...now, complained: true });
      note(
        'what is stored cannot be freed on the disk of the run directory: its file system cannot, or fallocate (util-linux) is missing; the spool grows as long as this runs',
      );
    },
  };
}

export type Comparison = ReturnType<typeof createComparison>;

/** A record that cannot be read is none: then all is compared anew, and what was freed is found to be different. */
async function read(path: string): Promise<Compared> {
  const nothing = { seq: 0, offsets: perStream(() => 0), intact: true, complained: false };
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return nothing;
  try {
    return Compared.parse(JSON.parse(text));
  } catch {
    return nothing;
  }
}
