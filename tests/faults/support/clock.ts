/** For a program of ours: every `Date` of it is off; what is left is the clock that nobody can set. */
export const clockOff = (ms: number): Record<string, string> => ({
  NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(
    `const D=Date;globalThis.Date=class extends D{constructor(...a){a.length?super(...a):super(D.now()+(${String(ms)}))}static now(){return D.now()+(${String(ms)})}};`,
  )}`,
});

export const hourMs = 3_600_000;
