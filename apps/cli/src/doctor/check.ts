/** What one look found. */
export interface Finding {
  /** What was looked at, as “KVM”. */
  what: string;
  state: 'ok' | 'warning' | 'problem';
  words: string;
  /** How to mend it; null where nothing is to be done. */
  mend: string | null;
}

export const ok = (what: string, words: string): Finding => ({ what, state: 'ok', words, mend: null });
export const warning = (what: string, words: string, mend: string): Finding => ({
  ...{ what, words, mend },
  state: 'warning',
});
export const problem = (what: string, words: string, mend: string): Finding => ({
  ...{ what, words, mend },
  state: 'problem',
});
