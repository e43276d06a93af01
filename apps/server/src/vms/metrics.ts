import type { MetricsPage, MetricsQuery, VmId, VmMetric } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine, MachineSample } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import type { Bus } from '../kernel/bus.ts';
import * as repository from './metrics-repository.ts';
import { ratesBetween } from './rates.ts';

export const lookEveryMs = 10_000;
/** A machine that does not answer must not hold up the others: it is left out of this look. */
const patienceMs = 4_000;
const rolledSeconds = 300;
const lookSeconds = lookEveryMs / 1000;
const keepDays: Record<repository.MetricsTable, number> = { vm_metrics: 3, vm_metrics_rolled: 90 };
const sparklineValues = 30;
/** More in one answer would only be drawn over each other. */
const maxValues = 1_000;
const dayMs = 86_400_000;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

export interface MetricsDeps {
  db: Kysely<Database>;
  bus: Bus;
  running: () => readonly [VmId, Machine][];
  load: Load;
}

/** The last values of each machine's processor, for the small charts of lists. */
export type Load = ReturnType<typeof createLoad>;

export function createLoad() {
  const values = new Map<VmId, number[]>();
  return {
    of: (vmId: VmId): readonly number[] => values.get(vmId) ?? [],
    add(vmId: VmId, percent: number): void {
      const rounded = Math.round(percent * 10) / 10;
      values.set(vmId, [...(values.get(vmId) ?? []), rounded].slice(-sparklineValues));
    },
    /** Forgets those that do not run any more. */
    keep(vmIds: ReadonlySet<VmId>): void {
      for (const vmId of values.keys()) if (!vmIds.has(vmId)) values.delete(vmId);
    },
  };
}

export function createMetrics({ db, bus, running, load }: MetricsDeps) {
  const last = new Map<VmId, { machine: Machine; sample: MachineSample }>();

  async function sample(vmId: VmId, machine: Machine): Promise<VmMetric | null> {
    const now = await withPatience(machine.sample());
    if (!now) return null;
    const before = last.get(vmId);
    last.set(vmId, { machine, sample: now });
    // Counters of another run of the machine say nothing of this one.
    return ratesBetween(before?.machine === machine ? before.sample : null, now);
  }

  return {
    /** One pass over everything that runs. */
    async look(now = new Date()): Promise<void> {
      const machines = running();
      const found = await Promise.all(
        machines.map(async ([vmId, machine]) => ({ vmId, metric: await sample(vmId, machine) })),
      );
      const ids = new Set(machines.map(([vmId]) => vmId));
      load.keep(ids);
      for (const vmId of last.keys()) if (!ids.has(vmId)) last.delete(vmId);
      const looks = found.flatMap(({ vmId, metric }) => (metric ? [{ vmId, metric }] : []));
      for (const { vmId, metric } of looks) if (metric.cpuPercent !== null) load.add(vmId, metric.cpuPercent);
      if (looks.length === 0) return;
      bus.emit('vm:metrics', { at: now.toISOString(), vms: looks });
      await repository.insertLooks(db, now, looks);
    },

    /** Averages of all whole slices since the last time. */
    async rollUp(now = Date.now()): Promise<void> {
      const whole = Math.floor(now / (rolledSeconds * 1000)) * rolledSeconds * 1000;
      const newest = await repository.lastRolled(db);
      // The newest one may have been made while its last looks were still to come.
      const from = newest?.getTime() ?? now - keepDays.vm_metrics * dayMs;
      if (from < whole) await repository.rollUp(db, new Date(from), new Date(whole), rolledSeconds);
    },

    /** Partitions made ahead, and old ones dropped; to be called at start and every hour. */
    async keepPartitions(now = Date.now()): Promise<void> {
      for (const table of repository.tables) {
        // Averages are made of everything that is kept.
        const first = table === 'vm_metrics' ? -1 : -keepDays.vm_metrics;
        for (let day = first; day <= 1; day += 1) {
          await repository.ensurePartition(db, table, toDay(now + day * dayMs));
        }
        await repository.dropBefore(db, table, toDay(now - keepDays[table] * dayMs));
      }
    },

    async read(
      vmId: VmId,
      query: z.output<typeof MetricsQuery>,
      now = Date.now(),
    ): Promise<z.output<typeof MetricsPage>> {
      const to = query.to === undefined ? now : Date.parse(query.to);
      const from = query.from === undefined ? to - 3_600_000 : Date.parse(query.from);
      // What is older than the looks are kept is there in averages only.
      const isOld = from < now - keepDays.vm_metrics * dayMs;
      const span = Math.max((to - from) / 1000, 0);
      const isLong = span / lookSeconds > maxValues;
      const table = isOld || isLong ? 'vm_metrics_rolled' : 'vm_metrics';
      const least = table === 'vm_metrics' ? lookSeconds : rolledSeconds;
      const everySeconds = Math.max(Math.ceil(span / maxValues / least), 1) * least;
      const range = { from: new Date(from), to: new Date(to), everySeconds };
      return {
        everySeconds,
        metrics: from < to ? await repository.selectMetrics(db, table, vmId, range) : [],
      };
    },
  };
}

/** null: it failed, or took too long. Asked again in a moment, so nobody has to know why. */
async function withPatience<T>(work: Promise<T>): Promise<T | null> {
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(resolve, patienceMs, null);
  return Promise.race([work.catch(() => null), late]).finally(() => {
    clearTimeout(timer);
  });
}
