import { performance } from 'node:perf_hooks';

/** One line of what a test did and what it found. */
export type Figures = Record<string, string | number>;

declare module 'vitest' {
  interface TaskMeta {
    figures?: Figures;
  }
}

/** `npm run test:faults`: the same tests, for longer. */
export const isLong = process.env.VMO_TEST_FAULTS === 'long';

/** Figures of a test, which the reporter prints whether the test passes or fails. */
export function figuresOf({ task }: { task: { meta: { figures?: Figures } } }): Figures {
  return (task.meta.figures ??= { form: isLong ? 'long' : 'short' });
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** `p50 0.81 s, max 1.20 s` of milliseconds. */
export function spread(values: readonly number[]): string {
  const seconds = (share: number) => `${(percentile(values, share) / 1000).toFixed(2)} s`;
  return `p50 ${seconds(0.5)}, max ${seconds(1)}`;
}

export function stopwatch(): () => number {
  const began = performance.now();
  return () => performance.now() - began;
}

/** Change per hour of values sampled at times in milliseconds: the slope of the line that fits them best. */
export function slopePerHour(samples: readonly { at: number; value: number }[]): number {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const at = mean(samples.map((sample) => sample.at));
  const value = mean(samples.map((sample) => sample.value));
  const square = samples.reduce((sum, sample) => sum + (sample.at - at) ** 2, 0);
  const product = samples.reduce((sum, sample) => sum + (sample.at - at) * (sample.value - value), 0);
  return (product / square) * 3_600_000;
}
