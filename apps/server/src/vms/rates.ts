import type { VmMetric } from '@vmo/contract';
import type { MachineSample } from '@vmo/hypervisor';

type Counter =
  'diskReadBytes' | 'diskWriteBytes' | 'networkReceivedBytes' | 'networkSentBytes' | 'cpuSeconds';

/** What two looks at growing counters say of the time between them. A first look, and a counter set back, say nothing. */
export function ratesBetween(before: MachineSample | null, now: MachineSample): VmMetric {
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const perSecond = (counter: Counter): number | null => {
    const old = before?.[counter] ?? null;
    const value = now[counter];
    if (old === null || value === null || seconds <= 0 || value < old) return null;
    return (value - old) / seconds;
  };
  const cpu = perSecond('cpuSeconds');
  return {
    at: new Date(now.at).toISOString(),
    cpuPercent: cpu === null ? null : cpu * 100,
    memoryMib: now.memoryMib,
    guestMemoryUsedMib: now.guestUsedMib,
    diskReadBytesPerSecond: perSecond('diskReadBytes'),
    diskWriteBytesPerSecond: perSecond('diskWriteBytes'),
    networkReceivedBytesPerSecond: perSecond('networkReceivedBytes'),
    networkSentBytesPerSecond: perSecond('networkSentBytes'),
  };
}
