import { preferences } from './preferences.svelte.ts';

export interface Action {
  id: string;
  label: string;
  group: 'Run' | 'Jobs' | 'VMs' | 'Requests' | 'Page';
  /** As `KeyboardEvent.key`, `mod+` for ⌘ or Ctrl; empty: in the palette only. */
  keys: string;
  run: () => void;
  /** Absent: always possible. */
  enabled?: () => boolean;
}

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Keys as people write them: ⌘K, Ctrl K, Shift C, /. */
export function keyWords(keys: string): string {
  return keys
    .split('+')
    .map((key) =>
      key === 'mod' ? (isMac ? '⌘' : 'Ctrl') : key.length === 1 && /[A-Z]/.test(key) ? `⇧ ${key}` : key,
    )
    .map((key) => (key.length === 1 && /[a-z]/.test(key) ? key.toUpperCase() : key))
    .join(isMac ? '' : ' ');
}

/** Every action there is, once: key handler, tooltips, help and palette read it here. */
class Shortcuts {
  actions: Action[] = $state.raw([]);

  /** The key of an action, for its tooltip. */
  keysOf(id: string): string {
    const keys = this.actions.find((action) => action.id === id)?.keys ?? '';
    return keys ? keyWords(keys) : '';
  }

  handle(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.isComposing || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    // A terminal gets every key, also Ctrl-K: it is somebody's shell.
    if (target.closest('.xterm')) return;
    const mod = event.metaKey || event.ctrlKey;
    if (!mod && (!preferences.singleKeys || isTyping(target) || target.closest('[role="dialog"]'))) return;
    const keys = mod ? `mod+${event.key.toLowerCase()}` : event.key;
    const action = this.actions.find((one) => one.keys === keys && (one.enabled?.() ?? true));
    if (!action) return;
    event.preventDefault();
    action.run();
  }
}

function isTyping(target: Element): boolean {
  return (
    target.closest('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]') !== null
  );
}

export const shortcuts = new Shortcuts();
