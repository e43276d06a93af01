import type { Machine } from './machine.svelte.ts';

/** The machine whose page is shown: what keys and the palette act on. */
class OpenMachine {
  current: Machine | null = $state.raw(null);
}

export const openMachine = new OpenMachine();
