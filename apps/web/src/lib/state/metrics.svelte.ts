import type { VmId, VmMetric } from '@vmo/contract';
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

/** CPU, memory, disk and network of one machine over a time. */
export class VmMetrics {
  readonly #id: VmId;
  range: RangeId = $state('hour');
  metrics: readonly VmMetric[] = $state.raw([]);
  /** Of what is shown, in seconds since the epoch. */
  from = $state(0);
  to = $state(0);
  everySeconds = $state(10);
  loaded = $state(false);
  loading = $state(false);
  error: Error | null = $state.raw(null);
  #asked = 0;

  constructor(id: VmId) {
    this.#id = id;
  }

  start(): () => void {
    const stop = vmsConnection.on('vm:metrics', ({ vms }) => {
      const metric = vms.find(({ vmId }) => vmId === this.#id)?.metric;
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
      const page = await api.call('getVmMetrics', { params: { vmId: this.#id }, query });
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

  #append(metric: VmMetric): void {
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

/**
 * Times (seconds) and values for a chart; where nothing was told for long, a gap instead of a line that pretends.
 */
export function chartData(
  metrics: readonly VmMetric[],
  everySeconds: number,
  read: readonly ((metric: VmMetric) => number | null)[],
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
