import { isFinal, type Job, type LogStream } from '@vmo/contract';
import type { Client, JobsConnection } from '@vmo/client';
import { Finder } from './finder.svelte.ts';
import { firstLimit, limitFor, moreOf } from './limits.ts';
import type { GapRow, LineRef } from './log-rows.ts';
import { LogScroll, lineHeight } from './log-scroll.svelte.ts';
import { LogState } from './log-state.svelte.ts';
import type { FindQuery } from './matches.ts';
import type { FoundRange } from './pieces.ts';
import { lineText } from './render-line.ts';
import type { Style } from './style.ts';
import { copyText } from '../clipboard.ts';
import { selectedRows } from './selection.ts';
import { errorWords } from './words.ts';

/** A line as it is drawn. */
export interface DrawnLine {
  kind: 'line';
  key: string;
  index: number;
  number: number | null;
  stream: LogStream;
  ts: number;
  raw: string;
  style: Style;
  /** Characters shown of it. */
  limit: number;
  /** Characters it has, about. */
  columns: number;
  found: readonly FoundRange[];
  target: boolean;
}

export type DrawnRow = DrawnLine | (GapRow & { index: number });

export interface LogViewOptions {
  job: Job;
  connection: JobsConnection;
  client: Client;
  line: number | null;
}

/** How long (in milliseconds) a short message stays. */
const noticeTime = 5000;
/** Work between two looks at the clock while a long log is being copied, in milliseconds. */
const copyBudget = 20;

/** What a person sees of a log and does with it: follows, reads, pauses, finds, copies. */
export class LogView {
  readonly state: LogState;
  readonly scroll = new LogScroll();
  readonly finder = new Finder();
  paused = $state(false);
  copied = $state(false);
  cancelling = $state(false);
  notice = $state<string | null>(null);
  /** All lines, and those that there were when the person stopped following. */
  lineCount = $state(0);
  #seen = $state(0);
  /** The line that the link names. */
  target = $state<number | null>(null);
  charWidth = $state(7.8);
  /** Columns of the widest line. */
  widest = $state(0);
  #limits = $state.raw<ReadonlyMap<string, number>>(new Map());
  #drawing = $state(0);

  readonly #connection: JobsConnection;
  /** The line to go to as soon as it is there. */
  #wanted: number | null;
  /** The line being read: found again when rows get other indices or heights. */
  #reading: { ref: LineRef; offset: number } | null = null;
  #generation = 0;
  #reveal = false;
  #opened = false;
  #wrapColumns: number | null = null;
  #noticeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor({ job, connection, client, line }: LogViewOptions) {
    this.#connection = connection;
    this.state = new LogState({ job, connection, client, needsLine: line !== null });
    this.target = this.#wanted = line;
    if (line !== null) this.scroll.follow = false;
  }

  get newLines(): number {
    return this.scroll.follow ? 0 : Math.max(0, this.lineCount - this.#seen);
  }

  /** Rows changed: takes them over, unless the person has paused. */
  take(): void {
    const { rows } = this.state;
    const changed = rows.takeChanged();
    this.lineCount = rows.lineCount;
    // What was there when the log was opened is not new.
    if (!this.#opened || (this.scroll.follow && !this.paused)) this.#seen = this.lineCount;
    this.#opened ||= this.state.phase === 'live' || this.state.phase === 'ended';
    const moved = rows.generation !== this.#generation;
    if (this.paused && !moved) return;
    this.widest = rows.widest;
    if (moved) this.#layout();
    else this.scroll.setCount(rows.count);
    this.#generation = rows.generation;
    this.finder.update(rows, rows.count, changed);
    this.#drawing++;
    this.#goToWanted();
  }

  /** Lines wrap at this many columns now; null: they do not. */
  wrapAt(columns: number | null): void {
    if (columns === this.#wrapColumns) return;
    this.#wrapColumns = columns;
    this.#layout();
  }

  #layout(): void {
    const { rows } = this.state;
    const columns = this.#wrapColumns;
    const index = this.#reading && rows.indexOf(this.#reading.ref);
    // Of a line that was made longer, this is wrong until it is drawn and measured.
    const estimate = (row: number): number =>
      Math.max(1, Math.ceil(Math.min(rows.columns(row), firstLimit) / (columns ?? 1))) * lineHeight;
    const offset = index === null ? 0 : (this.#reading?.offset ?? 0);
    this.scroll.relayout(
      rows.count,
      columns === null ? null : estimate,
      index ?? 0,
      Math.min(offset, lineHeight),
    );
  }

  /** The rows to draw. */
  readonly drawn: readonly DrawnRow[] = $derived.by(() => {
    void this.#drawing;
    const { rows } = this.state;
    const { start, end } = this.scroll.window;
    const drawn: DrawnRow[] = [];
    for (let index = start; index < Math.min(end, rows.count); index++) {
      const row = rows.at(index);
      if (row.kind === 'gap') drawn.push({ ...row, index });
      else {
        drawn.push({
          kind: 'line',
          key: row.key,
          index,
          number: row.number,
          stream: row.lines.stream(row.line),
          ts: row.lines.ts(row.line),
          raw: row.lines.raw(row.line),
          style: row.lines.startStyle(row.line),
          limit: this.#limits.get(row.key) ?? firstLimit,
          columns: row.lines.columns(row.line),
          found: this.#foundIn(index),
          target: row.number !== null && row.number === this.target,
        });
      }
    }
    return drawn;
  });

  /** Row elements that are in turn; grows in steps, for each change makes all of them anew. */
  readonly slots: number = $derived.by(() => {
    const { start, end } = this.scroll.window;
    return Math.max(64, 2 ** Math.ceil(Math.log2(end - start + 1)));
  });

  #foundIn(row: number): readonly FoundRange[] {
    void this.finder.version;
    const { matches, current } = this.finder;
    if (matches.count === 0) return nothingFound;
    const found: FoundRange[] = [];
    let index = matches.firstFrom(row);
    for (let match = matches.at(index); match?.row === row; match = matches.at(++index)) {
      found.push({ start: match.start, end: match.end, current: index === current });
    }
    return found.length === 0 ? nothingFound : found;
  }

  /** Longest line that is drawn, in columns. */
  get drawnWidth(): number {
    return Math.min(this.widest, Math.max(firstLimit, ...this.#limits.values()));
  }

  /** The rows are in the page now. */
  settle(): void {
    this.scroll.settle();
    this.#remember();
  }

  scrolled(): void {
    this.scroll.scrolled();
    if (this.scroll.follow && !this.paused) this.#seen = this.lineCount;
    this.#remember();
  }

  #remember(): void {
    const ref = this.state.rows.refAt(this.scroll.firstVisible);
    this.#reading = ref && { ref, offset: this.scroll.offsetInFirst };
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
    this.target = this.#wanted = line;
    this.#goToWanted();
  }

  /** Marks a line that is in view already. */
  mark(line: number | null): void {
    this.target = line;
    this.#wanted = null;
    if (line !== null) this.release();
  }

  #goToWanted(): void {
    const { state } = this;
    if (this.#wanted === null) return;
    const index = state.rows.indexOfNumber(this.#wanted);
    if (index !== null) {
      this.#wanted = null;
      this.scroll.show(index);
      this.#remember();
    } else if (state.rows.gap) {
      if (!state.loadingGap && state.gapError === null) void state.loadGap();
    } else if (state.phase === 'live' || state.phase === 'ended') {
      const there = this.#wanted <= this.lineCount;
      const number = this.#wanted.toLocaleString();
      this.say(
        there
          ? `Line ${number} is of a stream that is not shown.`
          : `There is no line ${number}: the log has ${this.lineCount.toLocaleString()} lines${state.phase === 'live' ? ' so far' : ''}.`,
      );
      this.#wanted = null;
      if (!there) this.scroll.toEnd();
    }
  }

  showMore(key: string): void {
    this.release();
    this.#limits = new Map(this.#limits).set(key, moreOf(this.#limits.get(key) ?? firstLimit));
  }

  toggleStream(stream: LogStream): void {
    this.state.toggleStream(stream);
  }

  showAllStreams(): void {
    for (const stream of [...this.state.hidden]) this.state.toggleStream(stream);
  }

  find(query: FindQuery | null): void {
    this.#reveal = true;
    this.finder.search(query, { row: this.scroll.firstVisible, start: 0 });
  }

  step(by: 1 | -1): void {
    this.finder.step(by);
    this.#reveal = true;
    this.revealMatch();
  }

  /** Brings the current match into view when the person has asked for it. @returns whether it had to. */
  revealMatch(): boolean {
    const match = this.finder.currentMatch;
    if (!this.#reveal || !match) return false;
    this.#reveal = false;
    const row = this.state.rows.at(match.row);
    if (row.kind === 'line' && match.end > (this.#limits.get(row.key) ?? firstLimit)) {
      this.#limits = new Map(this.#limits).set(row.key, limitFor(match.end));
    }
    this.scroll.show(match.row);
    this.#remember();
    return true;
  }

  /** The selection changed: its rows stay drawn, and nothing scrolls under it. */
  selectionChanged(container: HTMLElement): void {
    const rows = selectedRows(container);
    this.scroll.pinned = rows;
    if (rows) this.release();
  }

  async copyAll(): Promise<void> {
    const { rows } = this.state;
    const lines: string[] = [];
    const { count } = rows;
    let until = performance.now() + copyBudget;
    for (let index = 0; index < count; index++) {
      const raw = rows.raw(index);
      lines.push(raw === null ? '⋯ not shown' : lineText(raw));
      if (index % 256 === 0 && performance.now() > until) {
        await new Promise((resolve) => setTimeout(resolve));
        until = performance.now() + copyBudget;
      }
    }
    try {
      await copyText(lines.join('\n'));
      this.copied = true;
      setTimeout(() => (this.copied = false), 1500);
    } catch (error) {
      this.say(`Not copied: ${errorWords(error)}`);
    }
  }

  async cancel(): Promise<void> {
    if (this.cancelling || (this.state.job && isFinal(this.state.job.status))) return;
    this.cancelling = true;
    try {
      const { job } = await this.#connection.command('job:cancel', { jobId: this.state.jobId });
      this.state.job = job;
    } catch (error) {
      this.say(`Not cancelled: ${errorWords(error)}`);
    } finally {
      this.cancelling = false;
    }
  }

  say(words: string): void {
    this.notice = words;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => (this.notice = null), noticeTime);
  }

  stop(): void {
    clearTimeout(this.#noticeTimer);
    this.state.stop();
    this.finder.stop();
  }
}

const nothingFound: readonly FoundRange[] = [];
