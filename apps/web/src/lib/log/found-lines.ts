/** Lines with matches in the order in which the server finds them, which is that of their numbers. */
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
    // A line that was being written when an earlier search ended may come again.
    if (number <= (this.#numbers.at(-1) ?? 0)) return;
    this.#numbers.push(number);
    this.#before.push(this.#count);
    this.#count += count;
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
