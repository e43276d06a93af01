import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { MachineSample } from '../driver.ts';
import type { GuestAgent } from './agent.ts';
import { readTap } from './tap.ts';
import type { Talk } from './talk.ts';

/** USER_HZ, which Linux shows to programs whatever its own clock does. */
const ticksPerSecond = 100;
const balloon = '/machine/peripheral/balloon0';
const statsEverySeconds = 10;
const agentMs = 1_000;
const mib = 1024 * 1024;

const GuestStats = z.object({
  'last-update': z.number(),
  stats: z.object({ 'stat-total-memory': z.number(), 'stat-available-memory': z.number() }),
});
const Interfaces = z.array(
  z.object({
    name: z.string(),
    statistics: z.object({ 'rx-bytes': z.number(), 'tx-bytes': z.number() }).optional(),
  }),
);

/** Asks the guest's balloon driver for its view of the memory from now on. A guest without one never answers. */
export async function beginStats({ execute }: Talk): Promise<void> {
  const how = { property: 'guest-stats-polling-interval', value: statsEverySeconds };
  await execute('qom-set', { path: balloon, ...how }).catch(() => undefined);
}

export async function takeSample(
  talk: Talk,
  from: { pid: number; tap: string | null; agent: () => Promise<GuestAgent | null> },
): Promise<MachineSample> {
  const [disks, guestUsedMib, network] = await Promise.all([
    diskBytes(talk),
    guestUsed(talk),
    from.tap === null ? guestNetwork(await from.agent()) : readTap(from.tap),
  ]);
  return {
    at: Date.now(),
    ...readProcess(from.pid),
    guestUsedMib,
    diskReadBytes: disks?.read ?? null,
    diskWriteBytes: disks?.written ?? null,
    networkReceivedBytes: network?.received ?? null,
    networkSentBytes: network?.sent ?? null,
  };
}

/** See proc_pid_stat(5) and proc_pid_status(5). */
function readProcess(pid: number): Pick<MachineSample, 'cpuSeconds' | 'memoryMib'> {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return {
      cpuSeconds: ticks / ticksPerSecond,
      memoryMib: resident === undefined ? null : Number(resident) / 1024,
    };
  } catch {
    return { cpuSeconds: null, memoryMib: null };
  }
}

async function diskBytes({ execute }: Talk): Promise<{ read: number; written: number } | null> {
  const all = await execute('query-blockstats').catch(() => null);
  if (!all) return null;
  const sum = { read: 0, written: 0 };
  for (const { stats } of all) {
    sum.read += stats.rd_bytes;
    sum.written += stats.wr_bytes;
  }
  return sum;
}

async function guestUsed({ execute }: Talk): Promise<number | null> {
  const answer = await execute('qom-get', { path: balloon, property: 'guest-stats' }).catch(() => null);
  const parsed = GuestStats.safeParse(answer);
  // Before the guest has told anything, every number is the largest there is.
  if (!parsed.success || parsed.data['last-update'] === 0) return null;
  const { 'stat-total-memory': total, 'stat-available-memory': available } = parsed.data.stats;
  return total >= available ? (total - available) / mib : null;
}

async function guestNetwork(agent: GuestAgent | null): Promise<{ received: number; sent: number } | null> {
  const answer = await agent?.ask('guest-network-get-interfaces', {}, agentMs).catch(() => null);
  const parsed = Interfaces.safeParse(answer);
  if (!parsed.success) return null;
  const sum = { received: 0, sent: 0 };
  for (const { name, statistics } of parsed.data) {
    if (name === 'lo' || !statistics) continue;
    sum.received += statistics['rx-bytes'];
    sum.sent += statistics['tx-bytes'];
  }
  return sum;
}
