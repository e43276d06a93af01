type Unit = 'ms' | 'MB/s' | 'MB' | 's' | '×' | 'bytes' | '/s' | 'logs' | 'requests' | 'in all';

/** What a figure is to reach; `share` 0.5 is the median, 0.99 the 99th percentile, 1 the worst. */
export interface Target {
  share: 0 | 0.5 | 0.95 | 0.99 | 1;
  atMost?: number;
  atLeast?: number;
}

/** What the machine itself can do, measured in the same run; in the unit of the figure unless it says its own. */
export interface Limit {
  name: string;
  values: readonly number[];
}

/** One measured figure. `values` are the single runs or samples; nothing is thrown away. */
export interface Figure {
  name: string;
  unit: Unit;
  how: string;
  values: readonly number[];
  targets?: readonly Target[];
  limits?: readonly Limit[];
}

/** Below this many samples the 99th percentile is the worst sample by another name. */
const enoughForP99 = 100;

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export async function repeated(times: number, measure: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let round = 0; round < times; round++) values.push(await measure());
  return values;
}

const isReached = (values: readonly number[], { share, atMost, atLeast }: Target): boolean => {
  const value = percentile(values, share);
  return value <= (atMost ?? Infinity) && value >= (atLeast ?? -Infinity);
};

const shareNames = new Map([
  [0, 'min'],
  [0.5, 'p50'],
  [0.95, 'p95'],
  [0.99, 'p99'],
  [1, 'max'],
]);

function targetWords({ share, atMost, atLeast }: Target, unit: Unit): string {
  const bound = atMost === undefined ? `≥ ${String(atLeast)}` : `≤ ${String(atMost)}`;
  return `${shareNames.get(share) ?? ''} ${bound} ${unit}`;
}

function shown(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value === 0 || Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** The figure with what is computed from it, as it goes into the JSON file. */
export function summary(figure: Figure) {
  const { values, unit, targets = [], limits = [] } = figure;
  return {
    ...figure,
    n: values.length,
    min: percentile(values, 0),
    median: median(values),
    p99: values.length >= enoughForP99 ? percentile(values, 0.99) : null,
    max: percentile(values, 1),
    targets: targets.map((target) => ({
      ...target,
      words: targetWords(target, unit),
      reached: isReached(values, target),
    })),
    limits: limits.map((limit) => ({ ...limit, median: median(limit.values) })),
  };
}

export type Summary = ReturnType<typeof summary>;

function cellsOf({ name, unit, n, min, median: middle, p99, max, targets, limits }: Summary): string[] {
  return [
    name,
    String(n),
    shown(min),
    shown(middle),
    p99 === null ? '–' : shown(p99),
    shown(max),
    unit,
    targets.map(({ words, reached }) => `${words}: ${reached ? 'reached' : '**not reached**'}`).join('; '),
    limits.map((limit) => `${shown(limit.median)} ${limit.name}`).join('; '),
  ];
}

/** A Markdown table: every figure with its spread, its target, and the limit of the machine beside it. */
export function table(summaries: readonly Summary[]): string {
  const head = ['figure', 'n', 'min', 'median', 'p99', 'max', 'unit', 'target', 'limits (median)'];
  const rows = summaries.map(cellsOf);
  const widths = head.map((title, index) =>
    Math.max(title.length, ...rows.map((cells) => cells[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
