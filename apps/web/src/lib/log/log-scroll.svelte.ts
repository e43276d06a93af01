import { RowHeights } from './row-heights.ts';

/** Height of a line in pixels; LogRow.svelte has the same. */
export const lineHeight = 20;
/** Rows drawn beyond each edge of the view. */
const overscan = 12;
/** A selection longer than this many rows is not kept. */
const mostPinned = 2000;
/** This near to the end (in pixels) is at the end. */
const endSlack = 6;
/** Browsers do not lay out what is much higher, and lose whole pixels before. */
const highest = 15_000_000;
/** A scroll position that differs from the proportional one is put right when nobody has scrolled for this long (ms). */
const restAfter = 250;
/** For so long (ms) after rows were added, a move up may be the browser's: others turned out lower in the same moment. */
const unsettledFor = 250;

export interface Window {
  start: number;
  end: number;
  /** Where the first drawn row begins, in the element's own pixels. */
  top: number;
  /** Height of the element's content. */
  height: number;
}

/**
 * Which rows are drawn, and where. Rows are all of one height, or (wrapped) of a height that is estimated until they
 * are drawn and measured. Following keeps the end in view; otherwise what is being read stays where it is, whatever
 * is added below or turns out higher above.
 *
 * All positions are those of the rows as high as they are. The element is never higher than a browser can take: in a
 * longer log a small step moves as far as it would anyway, and a jump goes to the same part of the whole.
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
  /** How far the element's own scroll position is behind `#top`. */
  #ahead = $state(0);
  #wrapped = $state(false);
  #layout = $state(0);
  readonly #heights = new RowHeights(lineHeight);
  /** Where the element must be scrolled to once its rows are drawn. */
  #goal: number | null = null;
  #lastTop = 0;
  #grewAt = -Infinity;
  #rest: ReturnType<typeof setTimeout> | undefined;

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

  /** The element's own scroll position that belongs to one of ours. */
  #scaled(top: number): number {
    const { total } = this;
    if (total <= highest) return top;
    return Math.round((top / (total - this.height)) * (highest - this.height));
  }

  /** The rows to draw now. */
  readonly window: Window = $derived.by(() => {
    void this.#layout;
    const { total } = this;
    const height = Math.min(total, highest);
    const end = this.#end;
    const top = this.follow ? end : Math.min(this.#top, end);
    const ahead = this.follow ? total - height : this.#ahead;
    if (this.count === 0) return { start: 0, end: 0, top: 0, height };
    let start = Math.max(0, this.rowAt(top) - overscan);
    let last = Math.min(this.count, this.rowAt(top + this.height) + 1 + overscan);
    const { pinned } = this;
    if (pinned && pinned.from < start && last - pinned.from < mostPinned) start = pinned.from;
    if (pinned && pinned.to >= last && pinned.to - start < mostPinned)
      last = Math.min(this.count, pinned.to + 1);
    return { start, end: last, top: this.rowTop(start) - ahead, height };
  });

  get #current(): number {
    return this.follow ? this.#end : this.#top;
  }

  /** The first row that is in view, and the last one. */
  get firstVisible(): number {
    return this.rowAt(this.#current);
  }

  get lastVisible(): number {
    return this.rowAt(this.#current + this.height);
  }

  /** How far the first visible row reaches above the view. */
  get offsetInFirst(): number {
    return this.#current - this.rowTop(this.firstVisible);
  }

  isVisible(row: number): boolean {
    const top = this.rowTop(row);
    return top >= this.#current && top + lineHeight <= this.#current + this.height;
  }

  /** There are `count` rows now; the first ones are those that there were. */
  setCount(count: number): void {
    if (this.#wrapped) this.#heights.setCount(count);
    if (this.count > 0 && count > this.count) this.#grewAt = performance.now();
    this.count = count;
    this.#layout++;
    this.#noteEnd();
  }

  /**
   * Rows have become others, or their heights: row `keep` stays where the first visible one was, `offset` pixels of
   * it above the view.
   */
  relayout(count: number, wrapped: boolean, keep: number, offset: number): void {
    this.#wrapped = wrapped;
    this.#heights.clear();
    if (wrapped) this.#heights.setCount(count);
    this.count = count;
    if (!this.follow) this.#goTo(this.rowTop(keep) + offset);
    this.#layout++;
    this.#noteEnd();
  }

  #goTo(top: number): void {
    this.#top = this.#goal = Math.max(0, Math.min(top, this.#end));
    this.#ahead = this.#top - this.#scaled(this.#top);
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
    this.#ahead = this.total - Math.min(this.total, highest);
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
    if (goal === null) return;
    const scaled = this.#scaled(goal);
    if (Math.abs(element.scrollTop - scaled) >= 1) element.scrollTop = scaled;
    this.#lastTop = element.scrollTop;
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
    const own = element.scrollTop;
    const moved = own - this.#lastTop;
    this.#lastTop = own;
    if (Math.abs(moved) < 1) return;
    if (this.total <= highest) {
      this.#top = own;
      this.#ahead = 0;
    } else this.#scrolledScaled(own, moved);
    // Where rows turn out lower or the view gets higher, the browser moves up by itself, to the end of what it has.
    const isPushed = own >= element.scrollHeight - element.clientHeight - 1;
    const atEnd = this.#top >= this.#end - endSlack;
    if (moved > 0 && atEnd) this.follow = true;
    else if (moved < 0 && this.follow && !atEnd && !isPushed) {
      // Who scrolls by wheel, finger, key or scrollbar has been let go before (`release`); who selects, moves it so.
      if (this.pinned || performance.now() - this.#grewAt > unsettledFor) this.follow = false;
      else this.#layout++;
    }
    this.#noteEnd();
  }

  #scrolledScaled(own: number, moved: number): void {
    const before = this.#current;
    const ownEnd = highest - this.height;
    const isJump = Math.abs(moved) > 3 * this.height;
    const top = isJump ? (own / ownEnd) * this.#end : before + moved;
    this.#top = Math.max(0, Math.min(Math.round(top), this.#end));
    this.#ahead = this.#top - own;
    clearTimeout(this.#rest);
    const isAtBorder = (own <= 0 && this.#top > 0) || (own >= ownEnd - 1 && this.#top < this.#end);
    if (isAtBorder) this.#putRight();
    else this.#rest = setTimeout(() => this.#putRight(), restAfter);
  }

  /** Moves the scrollbar, and nothing else. */
  #putRight(): void {
    if (this.follow || Math.abs(this.#ahead - (this.#top - this.#scaled(this.#top))) < 1) return;
    this.#goTo(this.#top);
    this.#layout++;
  }

  /** The view's own size changed. */
  resized(): void {
    const { element } = this;
    if (!element) return;
    const isBack = this.height === 0 && element.clientHeight > 0;
    this.height = element.clientHeight;
    // Out of sight (another tab is shown), a browser may forget how far it was scrolled.
    if (isBack) this.#goTo(this.#top);
    if (element.clientWidth > 0) this.width = element.clientWidth;
    this.#layout++;
    this.#noteEnd();
  }

  stop(): void {
    clearTimeout(this.#rest);
  }
}
