import type { RequestFigures, RequestStatistics } from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';

export const spans = [
  { days: 7, label: '7 d' },
  { days: 30, label: '30 d' },
  { days: 90, label: '90 d' },
  { days: 366, label: '1 y' },
] as const;

const dayMs = 86_400_000;
/** While the page is looked at, the figures are read again this often, in milliseconds. */
const readEvery = 30_000;

export const submitted = ({ counts }: Pick<RequestFigures, 'counts'>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);

/** How requests went, by day. */
export class RequestStatisticsState {
  days: (typeof spans)[number]['days'] = $state(30);
  figures: RequestStatistics | null = $state.raw(null);
  /** Of what is shown, in seconds since the epoch. */
  from = $state(0);
  to = $state(1);
  loading = $state(false);
  error: Error | null = $state.raw(null);
  #asked = 0;

  start(): () => void {
    void this.load();
    const timer = setInterval(() => {
      if (!document.hidden) void this.load();
    }, readEvery);
    return () => clearInterval(timer);
  }

  async show(days: (typeof spans)[number]['days']): Promise<void> {
    this.days = days;
    await this.load();
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    const { days } = this;
    this.loading = true;
    try {
      const figures = await api.call('getRequestStatistics', { query: { days } });
      if (asked !== this.#asked) return;
      const today = Math.floor(Date.now() / dayMs) * dayMs;
      this.from = (today - (days - 1) * dayMs) / 1000;
      this.to = today / 1000;
      this.figures = figures;
      this.error = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = asError(error);
    }
    this.loading = false;
  }

  /** For a chart: the days, and what each of these reads out of them; a day without requests has no value, or 0. */
  series(
    reads: readonly ((figures: RequestFigures) => number | null)[],
    empty: 0 | null,
  ): (number | null)[][] {
    const byDay = new Map(this.figures?.days.map((one) => [Date.parse(`${one.day}T00:00:00Z`) / 1000, one]));
    const times: number[] = [];
    for (let at = this.from; at <= this.to; at += dayMs / 1000) times.push(at);
    const values = reads.map((read) =>
      times.map((time) => {
        const figures = byDay.get(time);
        return figures ? read(figures) : empty;
      }),
    );
    return [times, ...values];
  }

  /** The same, added up from day to day. */
  sum(read: (figures: RequestFigures) => number): (number | null)[][] {
    const [times = [], values = []] = this.series([read], 0);
    let sum = 0;
    return [times, values.map((value) => (sum += value ?? 0))];
  }
}
