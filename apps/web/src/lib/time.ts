const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

/** “now”, “2 min. ago”, “14:02”, “12 Mar”: as exact as one wants it in a table. */
export function relativeTime(iso: string, now: number): string {
  const then = new Date(iso);
  const seconds = Math.round((then.getTime() - now) / 1000);
  if (seconds > -10) return relative.format(0, 'second');
  if (seconds > -60) return relative.format(Math.ceil(seconds / 10) * 10, 'second');
  if (seconds > -3600) return relative.format(Math.ceil(seconds / 60), 'minute');
  if (then.toDateString() === new Date(now).toDateString()) return timeOfDay.format(then);
  if (seconds > -7 * 86_400) return `${day.format(then)}, ${timeOfDay.format(then)}`;
  return day.format(then);
}

/** Date, time and zone in the person's own way of writing them. */
export function exactTime(iso: string): string {
  return exact.format(new Date(iso));
}

/** 0.4 s · 12 s · 1:07 · 2:03:44, of milliseconds. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${String(Math.floor(seconds))} s`;
  const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');
  if (seconds < 3600) return `${String(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
  return `${String(Math.floor(seconds / 3600))}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}
