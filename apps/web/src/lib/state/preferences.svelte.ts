import { z } from 'zod';

const storageKey = 'vmo.preferences';

const Preferences = z.object({
  /** Log lines break at the edge instead of running on. */
  wrap: z.boolean().catch(true),
  timestamps: z.boolean().catch(false),
  /** Run buttons stay enabled while a job of their workspace is active. */
  parallelRuns: z.boolean().catch(false),
  /** A browser notification when a job ends while the page is out of sight. */
  notifications: z.boolean().catch(false),
  /** Keys without ⌘ or Ctrl act; people who use speech input switch them off. */
  singleKeys: z.boolean().catch(true),
  theme: z.enum(['system', 'dark', 'light']).catch('system'),
  /** Where the server is; empty: where the page came from. */
  backendUrl: z.string().catch(''),
});
export type Preferences = z.infer<typeof Preferences>;

function load(): Preferences {
  try {
    return Preferences.parse(JSON.parse(localStorage.getItem(storageKey) ?? '{}'));
  } catch {
    return Preferences.parse({});
  }
}

/** What this browser remembers about its person. Assign to a field: it is kept at once. */
export const preferences: Preferences = $state(load());

$effect.root(() => {
  $effect(() => {
    const text = JSON.stringify(preferences);
    try {
      localStorage.setItem(storageKey, text);
    } catch {
      // Storage full or switched off: the choice holds until the page is closed.
    }
  });
});

// A change in one tab shows in the others.
addEventListener('storage', (event) => {
  if (event.key === storageKey) Object.assign(preferences, load());
});
