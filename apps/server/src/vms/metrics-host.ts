import { readFile, stat, statfs } from 'node:fs/promises';
import { cpus, freemem, totalmem } from 'node:os';
import { availableMemory } from 'node:process';
import type { HostMetric } from '@vmo/contract';

const mib = 1024 * 1024;
/** As the kernel counts in /proc/diskstats, whatever the device's own sectors are. */
const sectorBytes = 512;
/** What passes them passes another one, too, or never leaves the machine. */
const innerInterface = /^(lo|tap|vnet|veth|docker|br-|virbr)/;

/** One look at this machine. Counters grow for ever; null: this system does not tell. */
export interface HostSample {
  /** Milliseconds since the epoch. */
  at: number;
  cpuBusyMs: number;
  cpuAllMs: number;
  memoryMib: number;
  storageBytes: number | null;
  diskReadBytes: number | null;
  diskWriteBytes: number | null;
  networkReceivedBytes: number | null;
  networkSentBytes: number | null;
}

/** Memory that programs could have, in bytes. */
export const freeMemoryBytes = (): number => Math.max(availableMemory(), freemem());

/** Processor, memory and network of this machine, and the disk that holds this path. */
export async function sampleHost(storagePath: string): Promise<HostSample> {
  const times = cpus().map((cpu) => cpu.times);
  const all = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
  const idle = times.reduce((sum, cpu) => sum + cpu.idle, 0);
  const [storage, disk, network] = await Promise.all([
    statfs(storagePath).catch(() => null),
    diskCounters(storagePath),
    networkCounters(),
  ]);
  return {
    at: Date.now(),
    cpuBusyMs: all - idle,
    cpuAllMs: all,
    memoryMib: (totalmem() - freeMemoryBytes()) / mib,
    storageBytes: storage && (storage.blocks - storage.bfree) * storage.bsize,
    diskReadBytes: disk?.read ?? null,
    diskWriteBytes: disk?.written ?? null,
    networkReceivedBytes: network?.received ?? null,
    networkSentBytes: network?.sent ?? null,
  };
}

const readProc = (path: string): Promise<string | null> => readFile(path, 'utf8').catch(() => null);

/** Of the disk or partition that holds this path; null where it is none, as on overlays and file systems in memory. */
async function diskCounters(path: string): Promise<{ read: number; written: number } | null> {
  const [text, at] = await Promise.all([readProc('/proc/diskstats'), stat(path).catch(() => null)]);
  return text !== null && at ? parseDiskstats(text, at.dev) : null;
}

async function networkCounters(): Promise<{ received: number; sent: number } | null> {
  const text = await readProc('/proc/net/dev');
  return text === null ? null : parseNetDev(text);
}

/** @param device `st_dev`: 12 bits of the major number above the lower 8 of the minor one, whose others are higher up */
export function parseDiskstats(text: string, device: number): { read: number; written: number } | null {
  const major = Math.floor(device / 256) % 4096;
  const minor = (device % 256) + Math.floor(device / 1_048_576) * 256;
  for (const line of text.split('\n')) {
    const [ofMajor, ofMinor, , , , read, , , , written] = line.trim().split(/\s+/);
    if (Number(ofMajor) !== major || Number(ofMinor) !== minor) continue;
    return { read: Number(read) * sectorBytes, written: Number(written) * sectorBytes };
  }
  return null;
}

export function parseNetDev(text: string): { received: number; sent: number } {
  let received = 0;
  let sent = 0;
  for (const line of text.split('\n')) {
    const [name, counters] = line.trim().split(':');
    if (!name || counters === undefined || innerInterface.test(name)) continue;
    const [bytesIn, , , , , , , , bytesOut] = counters.trim().split(/\s+/);
    received += Number(bytesIn);
    sent += Number(bytesOut);
  }
  return { received, sent };
}

/** What two looks say of the time between them. A first look, and a counter set back, say nothing. */
export function hostRates(before: HostSample | null, now: HostSample): HostMetric {
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const rate = (old: number | null | undefined, value: number | null): number | null =>
    old === null || old === undefined || value === null || seconds <= 0 || value < old
      ? null
      : (value - old) / seconds;
  const all = before ? now.cpuAllMs - before.cpuAllMs : 0;
  return {
    at: new Date(now.at).toISOString(),
    cpuPercent: before && all > 0 ? Math.max(0, ((now.cpuBusyMs - before.cpuBusyMs) / all) * 100) : null,
    memoryMib: now.memoryMib,
    storageBytes: now.storageBytes,
    diskReadBytesPerSecond: rate(before?.diskReadBytes, now.diskReadBytes),
    diskWriteBytesPerSecond: rate(before?.diskWriteBytes, now.diskWriteBytes),
    networkReceivedBytesPerSecond: rate(before?.networkReceivedBytes, now.networkReceivedBytes),
    networkSentBytesPerSecond: rate(before?.networkSentBytes, now.networkSentBytes),
  };
}
