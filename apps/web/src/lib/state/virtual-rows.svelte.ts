/** Rows beyond each edge that are drawn as well, so that quick scrolling meets no blank. */
const ahead = 6;

/** Which of very many rows of one height are drawn. */
export class VirtualRows {
  #top = $state(0);
  #height = $state(0);
  readonly #count: () => number;
  readonly #rowHeight: () => number;

  constructor(count: () => number, rowHeight: () => number) {
    this.#count = count;
    this.#rowHeight = rowHeight;
  }

  first: number = $derived.by(() => {
    const top = Math.floor(this.#top / this.#rowHeight()) - ahead;
    return Math.max(0, Math.min(top, this.#count() - 1));
  });

  end: number = $derived.by(() =>
    Math.min(this.#count(), Math.ceil((this.#top + Math.max(this.#height, 600)) / this.#rowHeight()) + ahead),
  );

  get total(): number {
    return this.#count() * this.#rowHeight();
  }

  /** Follows the scrolling of this element. */
  attach = (element: HTMLElement): (() => void) => {
    const scrolled = (): void => void (this.#top = element.scrollTop);
    const resizes = new ResizeObserver(() => (this.#height = element.clientHeight));
    resizes.observe(element);
    element.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      resizes.disconnect();
      element.removeEventListener('scroll', scrolled);
    };
  };

  /** Scrolls as little as is needed to see this row. @param header Pixels at the top that are always covered. */
  reveal(element: HTMLElement, index: number, header: number): void {
    const height = this.#rowHeight();
    const top = index * height;
    const room = element.clientHeight - header;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + room) element.scrollTop = top + height - room;
    this.#top = element.scrollTop;
  }
}
