import { maxLineBytes, type Job, type LogStream } from '@vmo/contract';
import type { Client, JobsConnection } from '@vmo/client';
import { drawnRow, type DrawnRow } from './drawn-rows.ts';
import { Finder } from './finder.svelte.ts';
import { RowMap, type FoldedRange } from './folds.ts';
import { firstLimit, limitFor, moreOf } from './limits.ts';
import { LogActions } from './log-actions.svelte.ts';
import { Marks } from './log-marks.svelte.ts';
import { lineHeight, LogScroll } from './log-scroll.svelte.ts';
import { LogState, type Place } from './log-state.svelte.ts';
import type { TextQuery } from '@vmo/ansi';
import { takePrepared } from './prepared-logs.ts';
import { selectedRows } from './selection.ts';
import { errorWords } from './words.ts';

export interface LogViewOptions {
  job: Job;
  connection: JobsConnection;
  client: Client;
  line: number | null;
}

/** Rows beyond each edge of the view that are loaded with those in it. */
const ahead = 64;
/** While the end is followed, lines that a flood left behind are loaded when it has been calm for this long (in milliseconds). */
const calmAfter = 400;

/** What a person sees of a log and does with it: follows, reads, pauses, folds, finds. */
export class LogView {
  readonly state: LogState;
  readonly scroll = new LogScroll();
  readonly finder: Finder;
  readonly marks: Marks;
  readonly actions: LogActions;
  paused = $state(false);
  /** All lines, and those that there were when the person stopped following. */
  lineCount = $state(0);
  #seen = $state(0);
  /** The line that the link names. */
  target = $state<number | null>(null);
  charWidth = $state(7.8);
  /** Columns of the widest line. */
  widest = $state(0);
  /** Grows when a match was brought into view. */
  revealed = $state(0);
  #limits = $state.raw<ReadonlyMap<number, number>>(new Map());
  #drawing = $state(0);

  #map = new RowMap([]);
  #folds = { version: 0, words: '[]' };
  /** The line to go to as soon as it is there, and whether the log was opened around it. */
  #wanted: number | null;
  #askedFor: number | null = null;
  /** The line being read: found again when rows get other indices or heights. */
  #reading: { number: number; offset: number } | null = null;
  #generation = 0;
  #pages = 0;
  #reveal = false;
  #opened = false;
  /** The log is open already. */
  #isPrepared: boolean;
  #wrapColumns: number | null = null;

  constructor({ job, connection, client, line }: LogViewOptions) {
    const prepared = line === null ? takePrepared(job.id) : null;
    this.#isPrepared = prepared !== null;
    this.state = prepared ?? new LogState({ job, connection, client });
    this.state.placeNow = () => this.#place;
    this.actions = new LogActions({ state: this.state, connection, client });
    this.marks = new Marks(client, job.id);
    this.finder = new Finder({
      client,
      jobId: job.id,
      streams: () => this.state.streams,
      isLive: () => this.state.phase === 'live',
    });
    this.target = this.#wanted = line;
    if (line !== null) this.scroll.follow = false;
  }

  /** Opens the log at the line of the link, or at its end. Also the way to try again. */
  open(): void {
    if (this.#isPrepared) {
      this.#isPrepared = false;
      return;
    }
    void this.state.open(this.#wanted === null ? this.#place : { number: this.#wanted });
  }

  get #place(): Place {
    return this.scroll.follow || !this.#reading ? 'end' : { number: this.#reading.number };
  }

  get newLines(): number {
    return this.scroll.follow ? 0 : Math.max(0, this.lineCount - this.#seen);
  }

  /** Folding is about lines that stand together: not while some streams are hidden. */
  get canFold(): boolean {
    return this.state.hidden.size === 0;
  }

  get #folded(): readonly FoldedRange[] {
    return this.state.store.streams === null ? this.marks.folded : [];
  }

  /** Marks come again and again while the job writes; mostly what is folded stays the same. */
  #foldsChanged(): boolean {
    const { version } = this.marks;
    if (version === this.#folds.version) return false;
    const before = this.#folds.words;
    this.#folds = { version, words: JSON.stringify(this.#folded) };
    return this.#folds.words !== before;
  }

  /** Lines changed, or folds: takes them over, unless the person has paused. */
  take(): void {
    const { state, scroll } = this;
    if (!state.loader) return;
    const { store } = state;
    this.lineCount = store.lineCount;
    // What was there when the log was opened is not new.
    if (!this.#opened || (scroll.follow && !this.paused)) this.#seen = this.lineCount;
    this.#opened = true;
    const job = state.job;
    this.marks.refresh([state.phase, job?.errors, job?.warnings, store.lineCount].join());
    const moved = state.generation !== this.#generation || this.#foldsChanged();
    if (this.paused && !moved) {
      // What was scrolled to is shown all the same.
      if (this.#pages !== state.pages) this.#drawing++;
      this.#pages = state.pages;
      return;
    }
    this.widest = store.widest;
    if (moved) this.#layout();
    else scroll.setCount(this.#map.rows(store.count));
    this.#generation = state.generation;
    this.#pages = state.pages;
    this.#drawing++;
    this.#goToWanted();
    if (this.#reveal) this.revealMatch();
  }

  /** Lines wrap at this many columns now; null: they do not. */
  wrapAt(columns: number | null): void {
    if (columns === this.#wrapColumns) return;
    this.#wrapColumns = columns;
    this.#layout();
  }

  #layout(): void {
    const { store } = this.state;
    this.#map = new RowMap(this.#folded);
    let position = 1;
    if (this.#reading) {
      const { number } = this.#reading;
      position = store.streams === null ? number : (store.positionFrom(number) ?? store.count);
    }
    const row = Math.max(0, this.#map.rowOf(Math.min(position, store.count)));
    const offset = Math.min(this.#reading?.offset ?? 0, lineHeight);
    this.scroll.relayout(this.#map.rows(store.count), this.#wrapColumns !== null, row, offset);
  }

  /** The rows to draw. */
  readonly drawn: readonly DrawnRow[] = $derived.by(() => {
    void this.#drawing;
    const { start, end } = this.scroll.window;
    const sources = {
      store: this.state.store,
      loader: this.state.loader,
      marks: this.marks,
      finder: this.finder,
      target: this.target,
      limits: this.#limits,
      isFollowing: this.#isFollowing,
    };
    const drawn: DrawnRow[] = [];
    for (let index = start; index < end; index++)
      drawn.push(drawnRow(index, this.#map.positionAt(index), sources));
    return drawn;
  });

  /** Row elements that are in turn; grows in steps, for each change makes all of them anew. */
  readonly slots: number = $derived.by(() => {
    const { start, end } = this.scroll.window;
    return Math.max(64, 2 ** Math.ceil(Math.log2(end - start + 1)));
  });

  /** Longest line that is drawn, in columns. */
  get drawnWidth(): number {
    return Math.min(this.widest, Math.max(firstLimit, ...this.#limits.values()));
  }

  get #isFollowing(): boolean {
    return this.scroll.follow && this.state.phase === 'live';
  }

  /** The rows are in the page now. */
  settle(): void {
    this.scroll.settle();
    this.#remember();
    this.#load();
  }

  scrolled(): void {
    this.scroll.scrolled();
    if (this.scroll.follow && !this.paused) this.#seen = this.lineCount;
    this.#remember();
  }

  #remember(): void {
    const { store } = this.state;
    if (this.scroll.count === 0) return;
    const position = this.#map.positionAt(this.scroll.firstVisible);
    const number = store.streams === null ? position : store.at(position)?.number;
    if (number !== undefined) this.#reading = { number, offset: this.scroll.offsetInFirst };
  }

  /** Asks for what is in sight and not here, then for what is next to it. */
  #load(): void {
    const { scroll, state } = this;
    if (!state.loader || scroll.count === 0) return;
    const first = scroll.firstVisible;
    const last = Math.min(scroll.lastVisible, scroll.count - 1);
    const positions: number[] = [];
    const add = (from: number, to: number): void => {
      for (let row = Math.max(0, from); row <= Math.min(to, scroll.count - 1); row++)
        positions.push(this.#map.positionAt(row));
    };
    add(first, last);
    state.store.see(positions);
    add(last + 1, last + ahead);
    add(first - ahead, first - 1);
    state.loader.need(positions, this.#isFollowing ? calmAfter : 0);
  }

  /** The person wants to read on from here, or selects. */
  release(): void {
    this.scroll.release();
  }

  toEnd(): void {
    if (this.paused) this.togglePause();
    this.scroll.toEnd();
    this.#seen = this.lineCount;
  }

  toStart(): void {
    this.scroll.toStart();
    this.#remember();
  }

  togglePause(): void {
    this.paused = !this.paused;
    if (this.paused) {
      this.#seen = this.lineCount;
      this.scroll.release();
    } else {
      this.take();
      this.scroll.toEnd();
      this.#seen = this.lineCount;
    }
  }

  /** Shows and marks a line (from 1); null: none is marked any more. */
  goTo(line: number | null): void {
    if (line === this.target) return;
    this.target = line;
    this.show(line);
  }

  /** Marks a line that is in view already. */
  mark(line: number | null): void {
    this.target = line;
    this.#wanted = null;
    if (line !== null) this.release();
  }

  /** Brings a line into view as soon as that is possible. */
  show(line: number | null): void {
    if (line !== this.#wanted) this.#askedFor = null;
    this.#wanted = line;
    this.#goToWanted();
  }

  #goToWanted(): void {
    const { state, scroll } = this;
    const wanted = this.#wanted;
    if (wanted === null || !state.loader) return;
    const { store } = state;
    const position = store.positionOf(wanted);
    if (position !== null) {
      this.#wanted = null;
      if (this.paused && this.#map.rowOf(position) >= scroll.count) this.togglePause();
      if (this.marks.unfoldAround(wanted)) this.#layout();
      scroll.show(this.#map.rowOf(position));
      this.#remember();
    } else if (wanted > store.lineCount) {
      this.#wanted = null;
      const lines = store.lineCount.toLocaleString();
      const soFar = state.phase === 'live' ? ' so far' : '';
      this.actions.say(`There is no line ${wanted.toLocaleString()}: the log has ${lines} lines${soFar}.`);
      scroll.toEnd();
    } else if (this.#askedFor !== wanted) {
      this.#askedFor = wanted;
      scroll.follow = false;
      this.#reading = { number: wanted, offset: 0 };
      void state.open({ number: wanted });
    } else if (!state.isOpening) {
      this.#wanted = null;
      this.actions.say(`Line ${wanted.toLocaleString()} is of a stream that is not shown.`);
    }
  }

  showMore(number: number): void {
    this.release();
    this.#showUpTo(number, moreOf(this.#limits.get(number) ?? firstLimit));
  }

  #showUpTo(number: number, limit: number): void {
    this.#limits = new Map(this.#limits).set(number, limit);
    const position = this.state.store.positionOf(number);
    const line = position === null ? null : this.state.store.at(position);
    if (position === null || !line?.cut || line.raw.length > limit) return;
    if (line.raw.length >= maxLineBytes) {
      this.actions.say('The rest of this line is too long for the page. Download the log to read it.');
      return;
    }
    const bytes = Math.min(maxLineBytes, limit * 2);
    this.state.loadMore(position, number, bytes).catch((error: unknown) => {
      this.actions.say(`Not loaded: ${errorWords(error)}`);
    });
  }

  toggleStream(stream: LogStream): void {
    this.state.toggleStream(stream, this.#place);
    this.finder.again();
  }

  showAllStreams(): void {
    this.state.showAllStreams(this.#place);
    this.finder.again();
  }

  foldAll(): void {
    if (!this.canFold) this.actions.say('Groups fold when all streams are shown.');
    else if (this.marks.groups.length > 0) this.marks.foldAll(!this.marks.allFolded);
  }

  fold(start: number): void {
    this.release();
    this.marks.fold(start, !this.marks.isFolded(start));
  }

  /** The line of the next error or warning, seen from the one marked or from the view. */
  nextProblem(by: 1 | -1): number | null {
    const { marks, target } = this;
    const from =
      target !== null && marks.problemAt(target) ? target : (this.#reading?.number ?? 1) - (by === 1 ? 1 : 0);
    return marks.nextProblem(from, by)?.line ?? null;
  }

  find(query: TextQuery | null): void {
    this.#reveal = true;
    this.finder.search(query, this.#reading?.number ?? 1);
  }

  step(by: 1 | -1): void {
    if (!this.finder.step(by)) return;
    this.#reveal = true;
    this.revealMatch();
  }

  /** Brings the current match into view when the person has asked for it, once its line is here. */
  revealMatch(): void {
    const match = this.finder.currentMatch;
    if (!this.#reveal || !match) return;
    this.show(match.number);
    const { store } = this.state;
    const position = store.positionOf(match.number);
    const line = position === null ? null : store.at(position);
    if (!line) return;
    this.#reveal = false;
    const limit = this.#limits.get(match.number) ?? firstLimit;
    const range = this.finder.rangesIn(match.number, line.raw, line.cut, Infinity)[match.nth];
    if (range && range.end > limit) this.#showUpTo(match.number, limitFor(range.end));
    this.revealed++;
  }

  /** The selection changed: its rows stay drawn, and nothing scrolls under it. */
  selectionChanged(container: HTMLElement): void {
    const rows = selectedRows(container);
    this.scroll.pinned = rows;
    if (rows) this.release();
  }

  stop(): void {
    this.actions.stop();
    this.scroll.stop();
    this.state.stop();
    this.finder.stop();
    this.marks.stop();
  }
}
