const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });

/** 512 B · 1.5 KiB · 128 MiB · 20 GiB */
export function bytesWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${(value < 100 ? short : whole).format(value)} ${units[unit] ?? ''}`;
}

export const mibWords = (mib: number): string => bytesWords(mib * 1024 ** 2);

/** 0:42 · 12:07 · 3:05:09 · 4 d 3 h, of milliseconds. */
export function uptimeWords(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  if (hours >= 24) return `${String(Math.floor(hours / 24))} d ${String(hours % 24)} h`;
  const minutes = `${hours > 0 ? two((seconds / 60) % 60) : String(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
  return hours > 0 ? `${String(hours)}:${minutes}` : minutes;
}

/** Bytes out of “20 GiB”, “512M”, “1.5g”; a bare number is GiB. null: it is none. */
export function readSize(text: string): number | null {
  const found = /^\s*(\d+(?:[.,]\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text);
  if (!found?.[1]) return null;
  const unit = (found[2] ?? '').toLowerCase() || 'g';
  const bytes = Number(found[1].replace(',', '.')) * 1024 ** ' kmgt'.indexOf(unit);
  return Number.isFinite(bytes) && bytes > 0 ? Math.round(bytes) : null;
}
