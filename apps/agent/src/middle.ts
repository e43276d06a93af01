import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Offsets, perStream, SpoolStream, totalBytes } from '@vmo/contract';
import type { SpoolReader } from '@vmo/execution';
import { z } from 'zod';
import type { Comparison } from './comparison.ts';
import { maxStepBytes } from './rolling.ts';

/** What of the middle is gone from the disk, for the words that say what is missing. */
const Gone = z.object({ to: Offsets, lines: z.int().min(0) });
type Gone = z.infer<typeof Gone>;

export interface MiddleOptions {
  directory: string;
  reader: SpoolReader;
  comparison: Comparison;
  maxLogBytes: number;
  tailBytes: number;
}

/** How much of its last part a log keeps of which so much is stored already. */
export const roomOf = (limits: { maxLogBytes: number; tailBytes: number }, stored: Offsets): number =>
  Math.max(limits.maxLogBytes - totalBytes(stored), limits.tailBytes);

/** The middle of a log above its limit, which nobody is going to read: it goes from the disk while the job still runs. */
export function createMiddle({ directory, reader, comparison, ...limits }: MiddleOptions) {
  const path = join(directory, 'middle');
  const stepBytes = Math.min(maxStepBytes, Math.ceil(limits.tailBytes / 4));
  let last: Gone | null = null;

  async function gone(): Promise<Gone> {
    last ??= await read(path);
    return last;
  }

  return {
    gone,

    /** To be called when nothing is stored any more behind `from`: it is written on all the same. */
    async shrink(from: Offsets): Promise<void> {
      const sizes = await reader.sizes(from);
      // Below it, everything may turn out to fit.
      if (totalBytes(sizes) <= limits.maxLogBytes) return;
      const before = await gone();
      const room = roomOf(limits, from);
      // Whatever comes, the part that is kept at the end begins behind this.
      const to = perStream((stream) => Math.max(from[stream], before.to[stream], sizes[stream] - room));
      const start = perStream((stream) => Math.max(from[stream], before.to[stream]));
      if (totalBytes(to) - totalBytes(start) < stepBytes) return;
      if (totalBytes((await comparison.known()).offsets) < totalBytes(from)) await comparison.go();
      let { lines } = before;
      for (const stream of SpoolStream.options)
        lines += await reader.countLines(stream, start[stream], to[stream]);
      await writeFile(`${path}.tmp`, JSON.stringify({ to, lines }), { mode: 0o600 });
      await rename(`${path}.tmp`, path);
      last = { to, lines };
      await comparison.free(to);
    },
  };
}

export type Middle = ReturnType<typeof createMiddle>;

async function read(path: string): Promise<Gone> {
  const nothing = { to: perStream(() => 0), lines: 0 };
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return nothing;
  try {
    return Gone.parse(JSON.parse(text));
  } catch {
    return nothing;
  }
}
