import type { TextQuery } from '@vmo/ansi';
import type { Group, Problem } from './marks-in-block.ts';

/** What a thread does, one after another. */
export type Task =
  | { kind: 'find'; query: TextQuery }
  /** For any number of logs. */
  | { kind: 'marks' };

/** Stored events, their chunks one behind the other in `bytes`. */
export interface Page {
  jobId: string;
  bytes: Uint8Array;
  events: {
    seq: number;
    stream: number;
    /** The cockpit's own words. */
    isSystem: boolean;
    codec: number;
    /** Stored bytes. */
    length: number;
    linesBefore: number;
    continues: number | null;
  }[];
  /** Of a search: they were looked at by an earlier one, and are here for the line that goes on behind them. */
  isBefore: boolean;
  /** The log goes no further, and has so many lines. */
  last: { lineCount: number } | null;
}

/** What a thread is told. */
export type Order = { kind: 'task'; task: Task } | { kind: 'page'; page: Page };

export type Reply =
  /** [line number, matches in it], by line number. */
  | {
      kind: 'find';
      lines: [number, number][];
      /** Lines that ended in this page and of which only the beginning was looked at. */
      longLines: number;
    }
  /** All of the log's marks so far. */
  | {
      kind: 'marks';
      problems: Problem[];
      groups: Group[];
      errors: number;
      warnings: number;
      truncated: boolean;
    };
