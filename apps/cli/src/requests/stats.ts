import { isFinal, JobStatus, type SimulationRequest } from '@vmo/contract';
import type { Client } from '@vmo/client';
import { between } from './show.ts';

const perPage = 1000;

export interface Percentiles {
  median: number;
  p95: number;
  max: number;
}

export interface RequestStats {
  /** Of all that there are. */
  total: number;
  /** The newest of them, which the rest is about. */
  looked_at: number;
  by_status: Partial<Record<JobStatus, number>>;
  /** Of those that ended by themselves; null: none has. */
  success_rate: number | null;
  /** Milliseconds. */
  queue_ms: Percentiles | null;
  boot_ms: Percentiles | null;
  run_ms: Percentiles | null;
  log_bytes: number;
  per_day: { day: string; requests: number; done: number; failed: number }[];
}

/** The nearest rank. */
function percentiles(values: readonly (number | null)[]): Percentiles | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  const [median, p95, max] = [at(0.5), at(0.95), at(1)];
  return median === undefined || p95 === undefined || max === undefined ? null : { median, p95, max };
}

/** Reads the newest requests, so many at most. */
export async function readStats(client: Client, most: number): Promise<RequestStats> {
  const { rows, total } = await readNewest(client, most);
  const count = (statuses: readonly JobStatus[], of = rows) =>
    of.filter(({ status }) => statuses.includes(status)).length;
  const good = count(['done']);
  const bad = count(['failed', 'timed_out', 'lost']);
  const ended = rows.filter(({ status }) => isFinal(status));
  return {
    total,
    looked_at: rows.length,
    by_status: Object.fromEntries(
      JobStatus.options
        .map((status) => [status, count([status])] as const)
        .filter(([, number]) => number > 0),
    ),
    success_rate: good + bad === 0 ? null : good / (good + bad),
    queue_ms: percentiles(rows.map(({ timeline: t }) => between(t.queued_at, t.booting_at))),
    boot_ms: percentiles(rows.map(({ timeline: t }) => between(t.booting_at, t.ready_at))),
    run_ms: percentiles(ended.map(({ timeline: t }) => between(t.running_at, t.finished_at))),
    log_bytes: rows.reduce((sum, { log_bytes: bytes }) => sum + bytes, 0),
    per_day: perDay(rows),
  };
}

async function readNewest(client: Client, most: number) {
  const rows: SimulationRequest[] = [];
  for (;;) {
    const limit = Math.min(perPage, most - rows.length);
    const { requests, total } = await client.call('listRequests', { query: { limit, offset: rows.length } });
    rows.push(...requests);
    if (requests.length < limit || rows.length >= most) return { rows, total };
  }
}

function perDay(rows: readonly SimulationRequest[]): RequestStats['per_day'] {
  const days = new Map<string, { day: string; requests: number; done: number; failed: number }>();
  for (const { created_at: at, status } of rows) {
    const day = at.slice(0, 10);
    const entry = days.get(day) ?? { day, requests: 0, done: 0, failed: 0 };
    entry.requests += 1;
    if (status === 'done') entry.done += 1;
    if (status === 'failed' || status === 'timed_out' || status === 'lost') entry.failed += 1;
    days.set(day, entry);
  }
  return [...days.values()];
}
