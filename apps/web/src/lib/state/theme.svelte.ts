import { MediaQuery } from 'svelte/reactivity';
import { preferences } from './preferences.svelte.ts';

class Theme {
  #systemLight = new MediaQuery('(prefers-color-scheme: light)');

  get dark(): boolean {
    return preferences.theme === 'dark' || (preferences.theme === 'system' && !this.#systemLight.current);
  }

  /** The other one, from now on. */
  flip(): void {
    preferences.theme = this.dark ? 'light' : 'dark';
  }
}

export const theme = new Theme();
