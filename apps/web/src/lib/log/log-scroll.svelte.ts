import { RowHeights } from './row-heights.ts';

/** Height of a line in pixels; LogRow.svelte has the same. */
export const lineHeight = 20;
/** Rows drawn beyond each edge of the view. */
const overscan = 12;
/** A selection longer than this many rows is not kept. */
const mostPinned = 2000;
/** This near to the end (in pixels) is at the end. */
const endSlack = 6;

export interface Window {
  start: number;
  end: number;
  /** Where the first drawn row begins. */
  top: number;
  total: number;
}

/**
 * Which rows are drawn, and where. Rows are all of one height, or (wrapped) of a height that is estimated until they
 * are drawn and measured. Following keeps the end in view; otherwise what is being read stays where it is, whatever
 * is added below or turns out higher above.
 */
export class LogScroll {
  element: HTMLElement | null = null;
  /** Rows there are. */
  count = $state(0);
  width = $state(0);
  height = $state(0);
  follow = $state(true);
  /** Rows that stay drawn although they are out of view: those that the person is selecting. */
  pinned = $state.raw<{ from: number; to: number } | null>(null);
  /** True when the end is in view. */
  atEnd = $state(true);
  #top = $state(0);
  #wrapped = $state(false);
  #layout = $state(0);
  readonly #heights = new RowHeights();
  #estimate: (row: number) => number = () => lineHeight;
  /** Where the element must be scrolled to once its rows are drawn. */
  #goal: number | null = null;
  #lastTop = 0;

  get total(): number {
    return this.#wrapped ? this.#heights.total : this.count * lineHeight;
  }

  rowTop(row: number): number {
    return this.#wrapped ? this.#heights.top(row) : row * lineHeight;
  }

  rowAt(offset: number): number {
    const row = this.#wrapped ? this.#heights.at(offset) : Math.floor(offset / lineHeight);
    return Math.max(0, Math.min(row, this.count - 1));
  }

  get #end(): number {
    return Math.max(0, this.total - this.height);
  }

  /** The rows to draw now. */
  readonly window: Window = $derived.by(() => {
    void this.#layout;
    const { total } = this;
    const top = this.follow ? this.#end : Math.min(this.#top, this.#end);
    if (this.count === 0) return { start: 0, end: 0, top: 0, total };
    let start = Math.max(0, this.rowAt(top) - overscan);
    let end = Math.min(this.count, this.rowAt(top + this.height) + 1 + overscan);
    const { pinned } = this;
    if (pinned && pinned.from < start && end - pinned.from < mostPinned) start = pinned.from;
    if (pinned && pinned.to >= end && pinned.to - start < mostPinned)
      end = Math.min(this.count, pinned.to + 1);
    return { start, end, top: this.rowTop(start), total };
  });

  /** The first row that is in view. */
  get firstVisible(): number {
    return this.rowAt(this.follow ? this.#end : this.#top);
  }

  /** How far the first visible row reaches above the view. */
  get offsetInFirst(): number {
    return (this.follow ? this.#end : this.#top) - this.rowTop(this.firstVisible);
  }

  isVisible(row: number): boolean {
    const top = this.rowTop(row);
    const from = this.follow ? this.#end : this.#top;
    return top >= from && top + lineHeight <= from + this.height;
  }

  /** There are `count` rows now; the first ones are those that there were. */
  setCount(count: number): void {
    if (this.#wrapped)
      for (let row = this.#heights.count; row < count; row++) this.#heights.push(this.#estimate(row));
    this.count = count;
    this.#layout++;
    this.#noteEnd();
  }

  /**
   * Rows have become others, or their heights: row `keep` stays where the first visible one was, `offset` pixels of
   * it above the view.
   *
   * @param estimate Height of a row before it is measured; null: all are `lineHeight`.
   */
  relayout(count: number, estimate: ((row: number) => number) | null, keep: number, offset: number): void {
    this.#wrapped = estimate !== null;
    this.#heights.clear();
    if (estimate) {
      this.#estimate = estimate;
      for (let row = 0; row < count; row++) this.#heights.push(estimate(row));
    }
    this.count = count;
    if (!this.follow) this.#goTo(this.rowTop(keep) + offset);
    this.#layout++;
    this.#noteEnd();
  }

  #goTo(top: number): void {
    this.#top = this.#goal = Math.max(0, Math.min(top, this.#end));
  }

  /** Brings a row into view, in its middle unless it is there already. */
  show(row: number): void {
    if (this.isVisible(row)) {
      if (this.follow) this.#hold();
      return;
    }
    this.follow = false;
    this.#goTo(this.rowTop(row) - this.height / 2 + lineHeight);
    this.#noteEnd();
  }

  #hold(): void {
    this.#top = this.#end;
    this.follow = false;
  }

  /** Stops following; nothing moves. */
  release(): void {
    if (this.follow) this.#hold();
  }

  toEnd(): void {
    this.follow = true;
    this.#noteEnd();
  }

  toStart(): void {
    this.follow = false;
    this.#goTo(0);
    this.#noteEnd();
  }

  #noteEnd(): void {
    this.atEnd = this.follow || this.#top >= this.#end - endSlack;
  }

  /** After the rows were drawn: measures them, and puts the scroll position where it belongs. */
  settle(): void {
    const { element } = this;
    if (!element) return;
    if (this.#wrapped) this.#measure(element);
    const goal = this.follow ? this.#end : this.#goal;
    this.#goal = null;
    if (goal !== null && Math.abs(element.scrollTop - goal) >= 1) element.scrollTop = goal;
    if (goal !== null) this.#lastTop = element.scrollTop;
  }

  #measure(element: HTMLElement): void {
    const first = this.firstVisible;
    let above = 0;
    let changed = false;
    for (const row of element.querySelectorAll<HTMLElement>('[data-row]')) {
      const index = Number(row.dataset.row);
      const height = row.offsetHeight;
      const before = this.#heights.height(index);
      if (height === 0 || height === before || index >= this.#heights.count) continue;
      this.#heights.set(index, height);
      changed = true;
      if (index < first) above += height - before;
    }
    if (!changed) return;
    if (above !== 0 && !this.follow) this.#goTo(this.#top + above);
    this.#layout++;
  }

  /** The element was scrolled, by the person or by us. */
  scrolled(): void {
    const { element } = this;
    if (!element) return;
    const top = element.scrollTop;
    const moved = top - this.#lastTop;
    this.#lastTop = top;
    if (Math.abs(moved) < 1) return;
    const atEnd = top >= element.scrollHeight - element.clientHeight - endSlack;
    if (moved < 0 && !atEnd) this.follow = false;
    else if (moved > 0 && atEnd) this.follow = true;
    this.#top = top;
    this.#noteEnd();
  }

  /** The view's own size changed. */
  resized(): void {
    const { element } = this;
    if (!element) return;
    // Out of sight (another tab is shown), a browser may forget how far it was scrolled.
    if (this.height === 0 && element.clientHeight > 0) this.#goal = this.#top;
    this.height = element.clientHeight;
    if (element.clientWidth > 0) this.width = element.clientWidth;
    this.#layout++;
    this.#noteEnd();
  }
}
