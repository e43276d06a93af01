import { perStream, totalBytes, type AgentApi, type JobRef, type Offsets } from '@vmo/contract';
import type { Comparison } from './comparison.ts';
import { LeaseLostError } from './lease-lost.ts';
import { bytesInWords } from './words.ts';

/** Looked at anew after so much output: rarely enough to cost nothing, often enough for a disk. */
export const maxStepBytes = 16 * 1024 * 1024;

export interface RollingOptions {
  ref: JobRef;
  api: AgentApi;
  comparison: Comparison;
  /** In the words of the log: what is longer than it may be. */
  what: string;
  /** Its first part and its newest part, each about so long, are kept. */
  partBytes: number;
  /** So much of what is stored stays in the spool all the same, for somebody who reads it there. */
  spoolTailBytes: number;
  insist: <T>(what: string, call: () => Promise<T>) => Promise<T>;
}

/** Keeps a log that nobody waits for the end of from growing without bound, on the disk and in the database. */
export function createRolling(options: RollingOptions) {
  const { ref, api, comparison, what, partBytes, spoolTailBytes, insist } = options;
  const stepBytes = Math.min(maxStepBytes, Math.ceil(partBytes / 4));
  const size = bytesInWords(partBytes);
  const words = `${what} is longer than ${size}: of what follows, only the newest ${size} are kept`;

  return {
    /** To be called when more is stored: up to here. */
    async stored(offsets: Offsets): Promise<void> {
      const before = await comparison.known();
      if (totalBytes(offsets) - totalBytes(before.offsets) < stepBytes) return;
      const compared = await comparison.go();
      await comparison.free(perStream((stream) => compared.offsets[stream] - spoolTailBytes));
      if (totalBytes(compared.offsets) < partBytes) return;
      const kept = await insist('what is kept', () => api.keepNewest(ref, partBytes, [words]));
      if (!kept) throw new LeaseLostError();
    },
  };
}

export type Rolling = ReturnType<typeof createRolling>;
