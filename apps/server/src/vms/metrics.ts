import { hostname } from 'node:os';
import type { HostMetric, HostMetricsPage, MetricsPage, MetricsQuery, VmId, VmMetric } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Machine, MachineSample } from '@vmo/hypervisor';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import type { Bus } from '../kernel/bus.ts';
import { hostRates, type HostSample } from './metrics-host.ts';
import * as hostRepository from './metrics-host-repository.ts';
import * as repository from './metrics-repository.ts';
import { ratesBetween } from './rates.ts';

export const lookEveryMs = 10_000;
/** A machine that does not answer must not hold up the others: it is left out of this look. */
const patienceMs = 4_000;
const rolledSeconds = 300;
const lookSeconds = lookEveryMs / 1000;
const looksDays = 3;
const keepDays: Record<repository.MetricsTable, number> = {
  ...{ vm_metrics: looksDays, vm_metrics_rolled: 90 },
  ...{ host_metrics: looksDays, host_metrics_rolled: 90 },
};
const sparklineValues = 30;
/** More in one answer would only be drawn over each other. */
const maxValues = 1_000;
const dayMs = 86_400_000;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

export interface MetricsDeps {
  db: Kysely<Database>;
  bus: Bus;
  running: () => readonly [VmId, Machine][];
  /** A look at what they run on. */
  sampleHost: () => Promise<HostSample>;
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

/** What stands for a range: looks, or averages, and how many of them become one value. */
function choose(query: z.output<typeof MetricsQuery>, now: number) {
  const to = query.to === undefined ? now : Date.parse(query.to);
  const from = query.from === undefined ? to - 3_600_000 : Date.parse(query.from);
  const span = Math.max((to - from) / 1000, 0);
  // What is older than the looks are kept is there in averages only.
  const rolled = from < now - looksDays * dayMs || span / lookSeconds > maxValues;
  const least = rolled ? rolledSeconds : lookSeconds;
  const everySeconds = Math.max(Math.ceil(span / maxValues / least), 1) * least;
  return { rolled, range: { from: new Date(from), to: new Date(to), everySeconds } };
}

export function createMetrics({ db, bus, running, load, sampleHost }: MetricsDeps) {
  const host = hostname();
  let lastOfHost: HostSample | null = null;
  const last = new Map<VmId, { machine: Machine; sample: MachineSample }>();

  async function sample(vmId: VmId, machine: Machine): Promise<VmMetric | null> {
    const now = await withPatience(machine.sample());
    if (!now) return null;
    const before = last.get(vmId);
    last.set(vmId, { machine, sample: now });
    // Counters of another run of the machine say nothing of this one.
    return ratesBetween(before?.machine === machine ? before.sample : null, now);
  }

  async function lookAtHost(): Promise<HostMetric | null> {
    const now = await withPatience(sampleHost());
    if (!now) return null;
    const metric = hostRates(lastOfHost, now);
    lastOfHost = now;
    return metric;
  }

  return {
    /** One pass over everything that runs, and what it runs on. */
    async look(now = new Date()): Promise<void> {
      const machines = running();
      const [hostMetric, ...found] = await Promise.all([
        lookAtHost(),
        ...machines.map(async ([vmId, machine]) => ({ vmId, metric: await sample(vmId, machine) })),
      ]);
      const ids = new Set(machines.map(([vmId]) => vmId));
      load.keep(ids);
      for (const vmId of last.keys()) if (!ids.has(vmId)) last.delete(vmId);
      const looks = found.flatMap(({ vmId, metric }) => (metric ? [{ vmId, metric }] : []));
      for (const { vmId, metric } of looks) if (metric.cpuPercent !== null) load.add(vmId, metric.cpuPercent);
      if (!hostMetric && looks.length === 0) return;
      bus.emit('vm:metrics', { at: now.toISOString(), host: hostMetric, vms: looks });
      await repository.insertLooks(db, now, looks);
      if (hostMetric) await hostRepository.insertLook(db, host, now, hostMetric);
    },

    /** Averages of all whole slices since the last time. */
    async rollUp(now = Date.now()): Promise<void> {
      const whole = Math.floor(now / (rolledSeconds * 1000)) * rolledSeconds * 1000;
      for (const each of [repository, hostRepository]) {
        const newest = await each.lastRolled(db);
        // The newest one may have been made while its last looks were still to come.
        const from = newest?.getTime() ?? now - looksDays * dayMs;
        if (from < whole) await each.rollUp(db, new Date(from), new Date(whole), rolledSeconds);
      }
    },

    /** Partitions made ahead, and old ones dropped; to be called at start and every hour. */
    async keepPartitions(now = Date.now()): Promise<void> {
      for (const table of repository.tables) {
        // Averages are made of everything that is kept.
        const first = keepDays[table] === looksDays ? -1 : -looksDays;
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
      const { rolled, range } = choose(query, now);
      const table = rolled ? 'vm_metrics_rolled' : 'vm_metrics';
      const metrics = range.from < range.to ? await repository.selectMetrics(db, table, vmId, range) : [];
      return { everySeconds: range.everySeconds, metrics };
    },

    async readHost(
      query: z.output<typeof MetricsQuery>,
      now = Date.now(),
    ): Promise<z.output<typeof HostMetricsPage>> {
      const { rolled, range } = choose(query, now);
      const table = rolled ? 'host_metrics_rolled' : 'host_metrics';
      const metrics = range.from < range.to ? await hostRepository.selectMetrics(db, table, host, range) : [];
      return { everySeconds: range.everySeconds, metrics };
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
