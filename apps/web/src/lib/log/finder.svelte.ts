import { CodedError, type JobId, type LogStream } from '@vmo/contract';
import { findInLog, isPassing, UnreachableError, type Client } from '@vmo/client';
import { compileQuery, findInText, lineText, type TextQuery } from '@vmo/ansi';
import { FoundLines } from './found-lines.ts';
import type { FoundRange } from './pieces.ts';
import { errorWords } from './words.ts';

/** After a key, in milliseconds: who types on does not want the search for what was typed so far. */
const typingPause = 120;
/** While the job writes, what is new is searched this often (in milliseconds). */
const goOnAfter = 1000;
/** A pattern that takes longer (in milliseconds) for one line on the screen is not marked there any more. */
const patience = 50;

const nothingFound: readonly FoundRange[] = [];

export interface FinderOptions {
  client: Client;
  jobId: JobId;
  /** Streams to search; null: all. */
  streams: () => readonly LogStream[] | null;
  /** More will be written. */
  isLive: () => boolean;
}

/** Finds text in the whole log: the server searches, and what is on the screen is marked here. */
export class Finder {
  /** Grows whenever matches changed. */
  version = $state(0);
  error = $state<string | null>(null);
  searching = $state(false);
  /** Of the log that is being searched: from 0 to 1. */
  progress = $state(0);
  /** There are more matching lines than are listed. */
  truncated = $state(false);
  /** Lines that are so long that only their beginning was searched. */
  longLines = $state(0);
  /** All matches, of which the first ones are listed. */
  total = $state(0);
  /** Index of the match that the person is at; -1: none. */
  current = $state(-1);
  found = new FoundLines();

  readonly #options: FinderOptions;
  #query: TextQuery | null = null;
  #expression: RegExp | null = null;
  #search: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Line at or after which the first current match is looked for. */
  #from = 1;
  /** Searched up to this event, and matches up to there. */
  #seq = 0;
  #totalBefore = 0;
  #marks = true;

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  /** Looks for this from now on; null or empty: for nothing. The match at or after `from` becomes the current one. */
  search(query: TextQuery | null, from: number): void {
    this.stop();
    this.#query = query;
    this.#from = from;
    this.error = null;
    if (!query || query.text === '') return;
    const compiled = compileQuery(query);
    if (compiled instanceof RegExp) this.#expression = compiled;
    else this.error = compiled.error;
    if (!this.#expression) return;
    this.searching = true;
    this.#timer = setTimeout(() => void this.#ask(), typingPause);
  }

  /** Other streams are shown: the same query again. */
  again(): void {
    if (this.#query) this.search(this.#query, this.currentMatch?.number ?? this.#from);
  }

  get currentMatch(): { number: number; nth: number } | null {
    return this.found.at(this.current);
  }

  /** Goes to the next match or the one before, around the ends. @returns whether there is one. */
  step(by: 1 | -1): boolean {
    const { count } = this.found;
    if (count === 0) return false;
    this.current = this.current === -1 ? (by === 1 ? 0 : count - 1) : (this.current + by + count) % count;
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#search?.abort();
    this.#search = null;
    this.#query = null;
    this.#expression = null;
    this.#seq = this.#totalBefore = 0;
    this.#marks = true;
    this.found = new FoundLines();
    this.total = this.progress = this.longLines = 0;
    this.truncated = false;
    this.current = -1;
    this.searching = false;
    this.version++;
  }

  async #ask(): Promise<void> {
    const query = this.#query;
    if (!query) return;
    const search = (this.#search = new AbortController());
    const { client, jobId } = this.#options;
    // What was not there at the end of this search is found by the next one, also when the job ends meanwhile.
    const wasLive = this.#options.isLive();
    try {
      const options = { ...query, afterSeq: this.#seq, streams: this.#options.streams() ?? undefined };
      for await (const row of findInLog(client, jobId, options, search.signal)) {
        if (search.signal.aborted) return;
        if (row.type === 'matches') {
          this.#take(row.lines);
          this.total = Math.max(this.total, this.found.count);
        } else if (row.type === 'progress') {
          this.progress = row.lastSeq === 0 ? 1 : row.seq / row.lastSeq;
          this.total = Math.max(this.found.count, this.#totalBefore + row.matches);
        } else if (row.type === 'end') {
          this.#seq = row.seq;
          this.truncated ||= row.truncated;
          this.longLines += row.longLines;
          this.total = this.#totalBefore = Math.max(this.found.count, this.#totalBefore + row.matches);
        } else throw new Error(row.message);
        this.#choose(row.type === 'end');
        this.version++;
      }
      // What is written while the bar is open is found as well.
      if (wasLive) this.#goOn(query);
    } catch (error) {
      if (search.signal.aborted) return;
      // What was found so far stays, and the search goes on once the server can be reached; what it refuses, it refuses again.
      if (this.#seq > 0 && passes(error)) this.#goOn(query);
      else this.error = errorWords(error);
    }
    this.searching = false;
    this.version++;
  }

  /** The match that the person is at stays the current one, also when lines come in before it. */
  #take(lines: readonly (readonly [number, number])[]): void {
    const { currentMatch } = this;
    for (const [number, count] of lines) this.found.add(number, count);
    if (currentMatch) this.current = this.found.indexOf(currentMatch);
  }

  #goOn(query: TextQuery): void {
    this.#timer = setTimeout(() => {
      if (this.#query === query) void this.#ask();
    }, goOnAfter);
  }

  #choose(isEnd: boolean): void {
    if (this.current !== -1 || this.found.count === 0) return;
    const index = this.found.firstFrom(this.#from);
    if (index < this.found.count) this.current = index;
    else if (isEnd) this.current = this.found.count - 1;
  }

  /** Where to mark a line that is drawn, of which `shown` characters are shown at most. */
  rangesIn(number: number, raw: string, cut: boolean, shown: number): readonly FoundRange[] {
    void this.version;
    const expression = this.#expression;
    const isPattern = this.#query?.regex === true;
    if (!expression || !this.#marks) return nothingFound;
    // A pattern may take for ever on a text where it was not seen to end: the server has tried it on whole lines.
    if (isPattern && (cut || !this.found.has(number))) return nothingFound;
    const start = performance.now();
    const text = lineText(raw);
    const flat = findInText(expression, isPattern ? text : text.slice(0, shown));
    if (performance.now() - start > patience) this.#marks = false;
    if (flat.length === 0) return nothingFound;
    const { currentMatch } = this;
    const nth = currentMatch?.number === number ? currentMatch.nth : -1;
    const ranges: FoundRange[] = [];
    for (let at = 0; at < flat.length; at += 2)
      ranges.push({ start: flat[at] ?? 0, end: flat[at + 1] ?? 0, current: at / 2 === nth });
    return ranges;
  }
}

const passes = (error: unknown): boolean =>
  error instanceof UnreachableError || (error instanceof CodedError && isPassing(error));

/** What to say about the matches: `3 of 214`, `214`; `3 of 130+` where only 130 are listed. */
export function countWords(finder: Finder): string {
  void finder.version;
  const all = finder.total.toLocaleString();
  if (finder.current < 0) return all;
  const known = finder.truncated ? `${finder.found.count.toLocaleString()}+` : all;
  return `${(finder.current + 1).toLocaleString()} of ${known}`;
}

/** What a search did not do, in whole sentences; empty: it did all. */
export function shortfallWords(finder: Finder): string {
  const words: string[] = [];
  if (finder.truncated)
    words.push(
      `There are ${finder.total.toLocaleString()} matches, too many to go to each: the first ${finder.found.count.toLocaleString()} are listed.`,
    );
  if (finder.longLines > 0)
    words.push(
      `Of ${finder.longLines === 1 ? 'one line' : `${finder.longLines.toLocaleString()} lines`} longer than 1 MiB only the beginning was searched.`,
    );
  return words.join(' ');
}
