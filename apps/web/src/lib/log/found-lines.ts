/** Lines with matches, by number. The server finds them about in that order: one that took long to end comes late. */
export class FoundLines {
  readonly #numbers: number[] = [];
  /** Matches in all lines before. */
  readonly #before: number[] = [];
  #count = 0;

  /** Matches in the lines that are listed. */
  get count(): number {
    return this.#count;
  }

  get lines(): number {
    return this.#numbers.length;
  }

  add(number: number, count: number): void {
    const index = this.#indexFrom(number);
    const isKnown = this.#numbers[index] === number;
    const more = count - (isKnown ? this.#matchesAt(index) : 0);
    if (!isKnown) {
      this.#before.splice(index, 0, this.#before[index] ?? this.#count);
      this.#numbers.splice(index, 0, number);
    }
    this.#count += more;
    for (let later = index + 1; later < this.#before.length; later++)
      this.#before[later] = (this.#before[later] ?? 0) + more;
  }

  #matchesAt(index: number): number {
    return (this.#before[index + 1] ?? this.#count) - (this.#before[index] ?? 0);
  }

  /** Index of the first line with this number or a higher one. */
  #indexFrom(number: number): number {
    let low = 0;
    let high = this.#numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#numbers[middle] ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  has(number: number): boolean {
    return this.#numbers[this.#indexFrom(number)] === number;
  }

  /** Index of the first match in this line or after it; `count` when there is none. */
  firstFrom(number: number): number {
    return this.#before[this.#indexFrom(number)] ?? this.#count;
  }

  /** Index of this match; of a later one when the line has none so late. */
  indexOf({ number, nth }: { number: number; nth: number }): number {
    return Math.min(this.firstFrom(number) + nth, this.firstFrom(number + 1));
  }

  /** The line of a match, and the how-manieth (from 0) it is in there. */
  at(index: number): { number: number; nth: number } | null {
    if (index < 0 || index >= this.#count) return null;
    let low = 0;
    let high = this.#before.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#before[middle] ?? 0) <= index) low = middle;
      else high = middle;
    }
    return { number: this.#numbers[low] ?? 0, nth: index - (this.#before[low] ?? 0) };
  }
}
