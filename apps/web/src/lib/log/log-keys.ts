/** Keys of the log while it has the focus: for its tooltips and for the page's help. */
export const logKeys = {
  find: { key: 'Ctrl/⌘ F', does: 'Find in the log' },
  next: { key: 'Enter', does: 'Next match (in the find field; F3 everywhere in the log)' },
  previous: { key: 'Shift Enter', does: 'Previous match (Shift F3 everywhere in the log)' },
  follow: { key: 'End', does: 'Go to the end and follow' },
  top: { key: 'Home', does: 'Go to the beginning' },
  line: { key: 'l', does: 'Go to a line' },
  pause: { key: 'p', does: 'Pause or go on' },
  problem: { key: 'e', does: 'Next error or warning' },
  problemBefore: { key: 'Shift E', does: 'Previous error or warning' },
  fold: { key: 'g', does: 'Fold or unfold all groups' },
  wrap: { key: 'w', does: 'Wrap long lines' },
  timestamps: { key: 't', does: 'Show timestamps' },
  stdout: { key: '1', does: 'Show or hide stdout' },
  stderr: { key: '2', does: 'Show or hide stderr' },
  system: { key: '3', does: 'Show or hide system lines' },
  boot: { key: '4', does: 'Show or hide the serial console of a machine' },
  command: { key: '5', does: 'Show or hide what was typed into a machine' },
  copy: { key: 'y', does: 'Copy all that is shown' },
  download: { key: 'd', does: 'Download the raw log' },
  cancel: { key: 'Shift X', does: 'Cancel the job' },
} as const;

export type LogAction = keyof typeof logKeys;

/** The action of a key press in the log; null: none of ours. */
export function logAction(event: KeyboardEvent): LogAction | null {
  const { key } = event;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey)
    return key.toLowerCase() === 'f' ? 'find' : null;
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (key === 'F3') return event.shiftKey ? 'previous' : 'next';
  if (key === 'X' && event.shiftKey) return 'cancel';
  if (key === 'E' && event.shiftKey) return 'problemBefore';
  if (event.shiftKey) return null;
  const actions: Readonly<Record<string, LogAction>> = {
    End: 'follow',
    Home: 'top',
    p: 'pause',
    l: 'line',
    e: 'problem',
    g: 'fold',
    w: 'wrap',
    t: 'timestamps',
    '1': 'stdout',
    '2': 'stderr',
    '3': 'system',
    '4': 'boot',
    '5': 'command',
    y: 'copy',
    d: 'download',
  };
  return actions[key] ?? null;
}

/** `Wrap long lines (w)` */
export function keyHint(action: LogAction): string {
  const { key, does } = logKeys[action];
  return `${does} (${key})`;
}
