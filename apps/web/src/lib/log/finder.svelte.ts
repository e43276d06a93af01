import { compileQuery, findInText, Matches, maxMatches, type FindQuery, type Match } from './matches.ts';
import type { LogRows } from './log-rows.ts';
import { lineText } from './render-line.ts';
import type { FindAnswer, FindWork } from './find-worker.ts';

/** Searching per turn, in milliseconds. */
const turnBudget = 8;
/** Characters given to the worker at once. */
const batchCharacters = 512 * 1024;
/** A pattern that needs longer than this (in milliseconds) for one batch would never end. */
const patience = 2000;

export interface Position {
  row: number;
  start: number;
}

/**
 * Finds text in the rows of a log, also in those that come while it is at it. Plain text is searched here in short
 * turns; a pattern is searched in a worker, which can be ended when the pattern turns out to take for ever.
 */
export class Finder {
  matches = new Matches();
  /** Grows whenever matches changed. */
  version = $state(0);
  error = $state<string | null>(null);
  searching = $state(false);
  /** Index of the match that the person is at; -1: none. */
  current = $state(-1);

  #rows: LogRows | null = null;
  #limit = 0;
  #generation = 0;
  #expression: RegExp | null = null;
  #query: FindQuery | null = null;
  #scanned = 0;
  #again = new Set<number>();
  #turn: ReturnType<typeof setTimeout> | undefined;
  #worker: Worker | null = null;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #from: Position = { row: 0, start: 0 };

  get active(): boolean {
    return this.#expression !== null;
  }

  /** Looks for this from now on; null or empty: for nothing. The match at or after `from` becomes the current one. */
  search(query: FindQuery | null, from: Position): void {
    this.#reset();
    this.#from = from;
    this.#query = query;
    this.#expression = null;
    this.error = null;
    if (query && query.text !== '') {
      const compiled = compileQuery(query);
      if (compiled instanceof RegExp) this.#expression = compiled;
      else this.error = compiled.error;
    }
    this.#schedule();
  }

  /** The rows changed: `changed` of them in place, and there are `count` now. */
  update(rows: LogRows, count: number, changed: readonly number[]): void {
    if (rows !== this.#rows || rows.generation !== this.#generation) {
      const at = this.currentMatch;
      this.#rows = rows;
      this.#generation = rows.generation;
      this.#reset();
      if (at) this.#from = at;
    }
    this.#limit = count;
    for (const row of changed) if (row < this.#scanned) this.#again.add(row);
    this.#schedule();
  }

  get currentMatch(): Match | null {
    return this.matches.at(this.current);
  }

  /** Goes to the next match or the one before, around the ends. */
  step(by: 1 | -1): Match | null {
    const { count } = this.matches;
    if (count === 0) return null;
    this.current = this.current === -1 ? (by === 1 ? 0 : count - 1) : (this.current + by + count) % count;
    return this.currentMatch;
  }

  stop(): void {
    this.#reset();
    this.#expression = null;
    this.#worker?.terminate();
    this.#worker = null;
  }

  #reset(): void {
    clearTimeout(this.#turn);
    this.#turn = undefined;
    // An answer that is still to come would be about other rows.
    if (this.#watch !== undefined) {
      clearTimeout(this.#watch);
      this.#watch = undefined;
      this.#worker?.terminate();
      this.#worker = null;
    }
    this.matches = new Matches();
    this.#scanned = 0;
    this.#again.clear();
    this.current = -1;
    this.searching = false;
    this.version++;
  }

  #schedule(): void {
    if (this.#turn !== undefined || this.#watch !== undefined || !this.#expression || !this.#rows) return;
    const left = this.#scanned < this.#limit && !this.matches.full;
    this.searching = left;
    if (!left && this.#again.size === 0) return;
    this.#turn = setTimeout(() => {
      this.#turn = undefined;
      if (this.#query?.regex) this.#ask();
      else this.#search();
    });
  }

  #text(row: number): string {
    return lineText(this.#rows?.raw(row) ?? '');
  }

  #search(): void {
    const expression = this.#expression;
    if (!expression) return;
    const until = performance.now() + turnBudget;
    const again = [...this.#again];
    this.#again.clear();
    for (const row of again) this.#found(row, findInText(expression, this.#text(row)));
    while (this.#scanned < this.#limit && !this.matches.full && performance.now() < until) {
      for (let turn = 0; turn < 64 && this.#scanned < this.#limit; turn++) {
        const row = this.#scanned++;
        this.#found(row, findInText(expression, this.#text(row)));
      }
    }
    this.#settle();
  }

  #ask(): void {
    const query = this.#query;
    if (!query) return;
    const rows = [...this.#again];
    this.#again.clear();
    let characters = 0;
    const texts = rows.map((row) => this.#text(row));
    const until = performance.now() + turnBudget;
    while (
      this.#scanned < this.#limit &&
      !this.matches.full &&
      characters < batchCharacters &&
      performance.now() < until
    ) {
      const text = this.#text(this.#scanned);
      rows.push(this.#scanned++);
      texts.push(text);
      characters += text.length;
    }
    const worker = (this.#worker ??= new Worker(new URL('./find-worker.ts', import.meta.url), {
      type: 'module',
    }));
    worker.onmessage = ({ data }: MessageEvent<FindAnswer>) => {
      clearTimeout(this.#watch);
      this.#watch = undefined;
      for (const [index, row] of rows.entries()) this.#found(row, data.found[index] ?? []);
      this.#settle();
    };
    const fail = (words: string): void => {
      this.#reset();
      this.#expression = null;
      this.error = words;
    };
    worker.onerror = () => fail('The search could not be started. Reload the page and try again.');
    this.#watch = setTimeout(() => fail('This pattern takes too long. Try a simpler one.'), patience);
    worker.postMessage({ query, texts } satisfies FindWork);
  }

  #found(row: number, found: readonly number[]): void {
    const before = this.currentMatch;
    this.matches.setRow(row, found);
    // A line that changed above the current match moves its index.
    if (before && row <= before.row) this.current = this.#indexNear(before);
  }

  #indexNear({ row, start }: Position): number {
    let index = this.matches.firstFrom(row);
    let at = this.matches.at(index);
    while (at?.row === row && at.start < start) at = this.matches.at(++index);
    return Math.min(index, this.matches.count - 1);
  }

  #settle(): void {
    const done = this.#scanned >= this.#limit || this.matches.full;
    if (this.current === -1 && this.matches.count > 0 && (done || this.#scanned > this.#from.row)) {
      const index = this.#indexNear(this.#from);
      const match = this.matches.at(index);
      if (done || (match && match.row >= this.#from.row)) this.current = index;
    }
    this.version++;
    this.#schedule();
  }
}

/** What to say about the matches: `3 of 214`, `214`, `100,000+`. */
export function countWords(finder: Finder): string {
  const { count, full } = finder.matches;
  const all = `${count.toLocaleString()}${full && count >= maxMatches ? '+' : ''}`;
  return finder.current >= 0 ? `${(finder.current + 1).toLocaleString()} of ${all}` : all;
}
