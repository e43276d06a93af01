import type { SortKey } from '#lib/state/vm-list.ts';

/** One grid for the headings and every row. Complete class names for the style sheet. */
export const columns =
  'grid grid-cols-[28px_40px_104px_minmax(140px,1fr)_56px_84px_96px_128px_112px] items-center gap-x-3 pr-4 pl-2';

export const headings: readonly { key: SortKey; title: string; end?: true }[] = [
  { key: 'status', title: 'Status' },
  { key: 'name', title: 'Name' },
  { key: 'cpus', title: 'CPUs', end: true },
  { key: 'memory', title: 'Memory', end: true },
  { key: 'uptime', title: 'Uptime', end: true },
  { key: 'load', title: 'CPU' },
  { key: 'created', title: 'Created' },
];
