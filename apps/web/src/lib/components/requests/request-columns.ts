/** One grid for the headings and every row. Complete class names for the style sheet. */
export const columns =
  'grid grid-cols-[104px_minmax(120px,1fr)_minmax(160px,3fr)_72px_88px_120px_72px] items-center gap-x-3 pr-4 pl-3';

export const headings: readonly { title: string; end?: true }[] = [
  { title: 'Status' },
  { title: 'VM' },
  { title: 'Commands' },
  { title: 'Done', end: true },
  { title: 'Exit code', end: true },
  { title: 'Submitted' },
  { title: 'Time', end: true },
];
