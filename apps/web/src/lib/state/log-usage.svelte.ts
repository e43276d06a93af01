import type { LogUsage } from '@vmo/contract';
import { api } from './api.ts';

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** What the logs take on the server's disk. */
export class LogUsageState {
  usage = $state.raw<LogUsage | null>(null);
  error = $state.raw<Error | null>(null);
  expiring = $state(false);
  /** What the last removal did, in words. */
  outcome = $state('');

  async load(): Promise<void> {
    try {
      this.usage = await api.call('getLogUsage');
      this.error = null;
    } catch (error) {
      this.error = toError(error);
    }
  }

  async expire(): Promise<void> {
    if (this.expiring) return;
    this.expiring = true;
    try {
      const { days, jobs, bytes } = await api.call('expireLogs');
      this.outcome =
        days.length === 0
          ? 'None was old enough.'
          : `Removed ${bytesInWords(bytes)}: ${jobs === 1 ? 'the log of 1 job' : `the logs of ${jobs.toLocaleString()} jobs`}.`;
      await this.load();
    } catch (error) {
      this.error = toError(error);
    } finally {
      this.expiring = false;
    }
  }
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `312 KiB`, `1.4 GiB`. */
export function bytesInWords(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const value = bytes / 1024 ** power;
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toLocaleString(undefined, { maximumFractionDigits: digits })} ${units[power] ?? 'B'}`;
}
