import type { Notes } from './record.ts';

/** A guest that stands still for a moment, since its files change in a way that must not be seen halfway. */
export interface HoldUp {
  begin(): Promise<void>;
  end(): Promise<void>;
}

interface HoldUpDeps {
  notes: Notes;
  isPaused: () => boolean;
  pause: () => Promise<unknown>;
  resume: () => Promise<unknown>;
}

/** Noted in the machine's record before it is done: the next process of ours must know that it was not a person. */
export function createHoldUp({ notes, isPaused, pause, resume }: HoldUpDeps): HoldUp {
  return {
    async begin() {
      // One that a person has paused stays so.
      if (notes.now.heldUp || isPaused()) return;
      await notes.change({ heldUp: true });
      await pause();
    },
    async end() {
      if (!notes.now.heldUp) return;
      await resume();
      await notes.change({ heldUp: false });
    },
  };
}
