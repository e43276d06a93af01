/** One measured figure. `values` are the single runs or samples; nothing is thrown away. */
export interface Figure {
  name: string;
  unit: 'ms' | 'MB/s' | 'MB' | 's';
  how: string;
  values: number[];
  /** What the machine itself can do, measured in the same run. */
  limit?: { name: string; values: number[] };
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

const shown = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

function row(cells: readonly string[], widths: readonly number[]): string {
  return `| ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`;
}

/** A Markdown table: every figure with its spread, and the physical limit beside it. */
export function table(figures: readonly Figure[]): string {
  const head = ['figure', 'n', 'min', 'p50', 'p99', 'max', 'unit', 'limit of the machine (median)'];
  const rows = figures.map(({ name, unit, values, limit }) => [
    name,
    String(values.length),
    ...[0, 0.5, 0.99, 1].map((share) => shown(percentile(values, share))),
    unit,
    limit ? `${shown(percentile(limit.values, 0.5))} ${unit}: ${limit.name}` : '',
  ]);
  const widths = head.map((title, index) =>
    Math.max(title.length, ...rows.map((cells) => cells[index]?.length ?? 0)),
  );
  return [
    row(head, widths),
    row(
      widths.map((width) => '-'.repeat(width)),
      widths,
    ),
    ...rows.map((cells) => row(cells, widths)),
  ].join('\n');
}
