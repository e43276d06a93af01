import { InvalidArgumentError } from 'commander';
import { CliError, exitCodes } from './exit-codes.ts';
import type { Environment } from './world.ts';

/*
 * What options take. Each throws InvalidArgumentError, whose words commander shows behind the option's name.
 */

export function wholeNumber(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${String(min)} to ${String(max)}.`);
  };
}

const secondsOf: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of `90`, `90s`, `5m`, `2h` or `1d`. */
export function seconds(text: string): number {
  const found = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text);
  if (found) return Number(found[1]) * (secondsOf[found[2] ?? ''] ?? 1);
  throw new InvalidArgumentError('It takes a time as 90, 90s, 5m, 2h or 1d.');
}

/** The moment of `2026-03-01T12:00`, or so long ago as `5m`, in milliseconds since the epoch. */
export function moment(text: string): number {
  if (/^\d+(\.\d+)?[smhd]$/.test(text)) return Date.now() - seconds(text) * 1000;
  const at = Date.parse(text);
  if (!Number.isNaN(at) && /^\d{4}-\d{2}-\d{2}/.test(text)) return at;
  throw new InvalidArgumentError('It takes a time ago as 30s, 5m, 2h or 1d, or a date as 2026-03-01T12:00.');
}

const bytesPer: Readonly<Record<string, number>> = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** Bytes of `20G`, `512M`, `1.5GiB`. */
export function size(text: string): number {
  const found = /^(\d+(?:\.\d+)?)([KMGT])(?:i?B)?$/i.exec(text);
  const unit = bytesPer[found?.[2]?.toUpperCase() ?? ''];
  if (found && unit !== undefined) return Math.round(Number(found[1]) * unit);
  throw new InvalidArgumentError('It takes a size with its unit, as 512M or 20G.');
}

/** For options that may be given several times. */
export const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];

/**
 * NAME=value, or NAME alone for the value that it has here.
 * @throws CliError usage
 */
export function environmentOf(
  entries: readonly string[],
  env: Environment,
  option: string,
): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      if (at > 0) return [entry.slice(0, at), entry.slice(at + 1)];
      const value = env[entry];
      if (at === -1 && value !== undefined) return [entry, value];
      throw new CliError(
        at === -1
          ? `${option} ${entry}: there is no such variable here; give ${option} ${entry}=value`
          : `${option} takes NAME=value, not ${JSON.stringify(entry)}`,
        exitCodes.usage,
      );
    }),
  );
}
