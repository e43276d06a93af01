import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PreparedMachine } from '../driver.ts';

const marker = 'warm';

/**
 * Of a machine that goes on from what was kept: its runner has told that it is there already, and by the clock of the
 * guest it booted long before.
 */
export function writeWarmStart(directory: string, warm: NonNullable<PreparedMachine['warm']>): void {
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  };
  write('report', warm.report);
  write('clock', String(Date.now() - warm.uptime * 1000));
  write(marker, '');
}

export const isWarmStart = (directory: string): boolean => existsSync(join(directory, marker));
