import type { LogStream } from '@vmo/contract';
import type { Style } from '@vmo/ansi';
import type { Finder } from './finder.svelte.ts';
import type { Group } from './folds.ts';
import { firstLimit } from './limits.ts';
import type { LineLoader } from './line-loader.svelte.ts';
import type { LineStore } from './line-store.ts';
import type { Marks, Problem } from './log-marks.svelte.ts';
import type { FoundRange } from './pieces.ts';

/** A line as it is drawn. */
export interface DrawnLine {
  kind: 'line';
  index: number;
  number: number;
  stream: LogStream;
  ts: number;
  raw: string;
  style: Style;
  /** Characters shown of it. */
  limit: number;
  /** Characters it has, about. */
  columns: number;
  /** There is more of it on the server. */
  cut: boolean;
  found: readonly FoundRange[];
  target: boolean;
  problem: Problem | null;
  /** The group that it begins, and whether that is folded. */
  group: Group | null;
  folded: boolean;
}

/**
 * A line that is not here. waiting: it is asked for · gap: the last of many that a flood left behind; nobody asked ·
 * failed: it could not be loaded · absent: the server does not have it any more.
 */
export interface DrawnBlank {
  kind: 'blank';
  index: number;
  position: number;
  /** Null where streams are hidden: known when it is here. */
  number: number | null;
  state: 'waiting' | 'gap' | 'failed' | 'absent';
  /** Lines that are not here from this one upwards. */
  gap: number;
  error: unknown;
  target: boolean;
}

export type DrawnRow = DrawnLine | DrawnBlank;

export interface DrawSources {
  store: LineStore;
  loader: LineLoader | null;
  marks: Marks;
  finder: Finder;
  /** The line that the link names. */
  target: number | null;
  /** Characters shown of lines of which somebody wanted more. */
  limits: ReadonlyMap<number, number>;
  /** The end of a running job is in sight: what is not here was left behind, and is not asked for yet. */
  isFollowing: boolean;
}

/** What to draw for a position, in the row with this index. */
export function drawnRow(index: number, position: number, sources: DrawSources): DrawnRow {
  const { store, marks, finder, target } = sources;
  const line = store.at(position);
  if (!line) return drawnBlank(index, position, sources);
  const { number, raw, cut } = line;
  const limit = sources.limits.get(number) ?? firstLimit;
  const group = store.streams === null ? marks.groupAt(number) : null;
  return {
    kind: 'line',
    index,
    number,
    stream: line.stream,
    ts: line.ts,
    raw,
    style: line.style,
    limit,
    columns: line.columns,
    cut,
    found: finder.rangesIn(number, raw, cut, limit),
    target: number === target,
    problem: marks.problemAt(number),
    group,
    folded: group !== null && marks.isFolded(number),
  };
}

function drawnBlank(index: number, position: number, sources: DrawSources): DrawnBlank {
  const { store, loader, target, isFollowing } = sources;
  const number = store.streams === null ? position : null;
  const error = loader?.errorAt(position) ?? null;
  const gap = isFollowing && store.at(position + 1) !== null ? store.gapAbove(position) : 0;
  let state: DrawnBlank['state'] = gap > 1 ? 'gap' : 'waiting';
  if (store.isAbsent(position)) state = 'absent';
  if (error !== null) state = 'failed';
  return {
    kind: 'blank',
    index,
    position,
    number,
    state,
    gap,
    error,
    target: number !== null && number === target,
  };
}
