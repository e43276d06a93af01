import type { HostMetric, VmId, VmMetric, VmMetrics } from '@vmo/contract';
import { api, vmsConnection } from './api.ts';
import { asError } from './session.svelte.ts';

export const ranges = [
  { id: 'hour', label: '1 h live', hours: 1 },
  { id: 'day', label: '24 h', hours: 24 },
  { id: 'week', label: '7 d', hours: 7 * 24 },
  { id: 'quarter', label: '90 d', hours: 90 * 24 },
] as const;
export type RangeId = (typeof ranges)[number]['id'];

const hourMs = 3_600_000;

export interface MetricsSource<M extends { at: string }> {
  read(query: { from: string; to: string }): Promise<{ everySeconds: number; metrics: M[] }>;
  /** What a look at everything tells of it. */
  live(look: VmMetrics): M | null | undefined;
}

/** CPU, memory, disk and network of something over a time. */
export class Metrics<M extends { at: string }> {
  readonly #source: MetricsSource<M>;
  range: RangeId = $state('hour');
  metrics: readonly M[] = $state.raw([]);
  /** Of what is shown, in seconds since the epoch. */
  from = $state(0);
  to = $state(0);
  everySeconds = $state(10);
  loaded = $state(false);
  loading = $state(false);
  error: Error | null = $state.raw(null);
  #asked = 0;

  constructor(source: MetricsSource<M>) {
    this.#source = source;
  }

  start(): () => void {
    const stop = vmsConnection.on('vm:metrics', (look) => {
      const metric = this.#source.live(look);
      if (metric && this.range === 'hour' && this.loaded) this.#append(metric);
    });
    const stopLive = vmsConnection.onLive(() => void this.load());
    if (!vmsConnection.isLive) void this.load();
    return () => {
      stop();
      stopLive();
    };
  }

  async show(range: RangeId): Promise<void> {
    this.range = range;
    await this.load();
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    const to = Date.now();
    const hours = ranges.find(({ id }) => id === this.range)?.hours ?? 1;
    const from = to - hours * hourMs;
    this.loading = true;
    try {
      const query = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
      const page = await this.#source.read(query);
      if (asked !== this.#asked) return;
      this.metrics = page.metrics;
      this.everySeconds = page.everySeconds;
      this.#span(from, to);
      this.error = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = asError(error);
    }
    this.loaded = true;
    this.loading = false;
  }

  #append(metric: M): void {
    const last = this.metrics.at(-1);
    if (last && last.at >= metric.at) return;
    const to = Date.parse(metric.at);
    const oldest = new Date(to - hourMs).toISOString();
    this.metrics = [...this.metrics.filter(({ at }) => at >= oldest), metric];
    this.#span(to - hourMs, to);
  }

  #span(from: number, to: number): void {
    this.from = from / 1000;
    this.to = to / 1000;
  }
}

export const vmMetrics = (vmId: VmId): Metrics<VmMetric> =>
  new Metrics({
    read: (query) => api.call('getVmMetrics', { params: { vmId }, query }),
    live: ({ vms }) => vms.find((one) => one.vmId === vmId)?.metric,
  });

export const hostMetrics = (): Metrics<HostMetric> =>
  new Metrics({ read: (query) => api.call('getVmHostMetrics', { query }), live: ({ host }) => host });

/** What one chart shows of a metric. */
export interface ChartSpec<M> {
  title: string;
  series: readonly { label: string; color: string; read: (metric: M) => number | null }[];
  words: (value: number) => string;
  binary: boolean;
  /** The scale reaches at least so far. */
  least: number;
  /** Said when none of the values is told. */
  untold: string;
}

/**
 * Times (seconds) and values for a chart; where nothing was told for long, a gap instead of a line that pretends.
 */
export function chartData<M extends { at: string }>(
  metrics: readonly M[],
  everySeconds: number,
  read: readonly ((metric: M) => number | null)[],
): [number[], ...(number | null)[][]] {
  const times: number[] = [];
  const values: (number | null)[][] = read.map(() => []);
  let before = Infinity;
  for (const metric of metrics) {
    const at = Date.parse(metric.at) / 1000;
    if (at - before > everySeconds * 3) {
      times.push(before + everySeconds);
      values.forEach((list) => list.push(null));
    }
    times.push(at);
    read.forEach((one, index) => values[index]?.push(one(metric)));
    before = at;
  }
  return [times, ...values];
}
