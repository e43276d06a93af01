import { flushSync } from 'svelte';
import { MediaQuery } from 'svelte/reactivity';

export type NarrowPane = 'run' | 'log' | 'history';
export type DialogName = 'settings' | 'help' | 'palette';

/** What of the page is on the screen. */
class Layout {
  /** Three panes fit. */
  #wide = new MediaQuery('(min-width: 1100px)', true);
  /** The pane that one column shows. */
  pane: NarrowPane = $state('run');
  dialog: DialogName | null = $state(null);

  get wide(): boolean {
    return this.#wide.current;
  }

  toggle(dialog: DialogName): void {
    this.dialog = this.dialog === dialog ? null : dialog;
  }

  /** Puts the cursor into a field that has this data-focus name, showing its pane first. */
  focus(name: string, pane: NarrowPane): void {
    this.pane = pane;
    flushSync();
    const field = document.querySelector<HTMLElement>(`[data-focus="${name}"]`);
    field?.focus();
    if (field instanceof HTMLInputElement) field.select();
  }
}

export const layout = new Layout();
