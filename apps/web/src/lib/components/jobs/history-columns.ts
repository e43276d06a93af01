/** One grid for the headings and every row, so that nothing moves when words change. Complete class names for the style sheet. */
export const columns =
  'grid grid-cols-[104px_68px_minmax(120px,1fr)_minmax(72px,160px)_108px_68px_40px_84px] gap-x-3 pl-3';

export const headings: readonly { title: string; class: string }[] = [
  { title: 'Status', class: '' },
  { title: 'Type', class: '' },
  { title: 'Command', class: '' },
  { title: 'Where', class: '' },
  { title: 'Started', class: '' },
  { title: 'Duration', class: 'text-right' },
  { title: 'Exit', class: 'text-right' },
  { title: 'Action', class: 'text-right' },
];
