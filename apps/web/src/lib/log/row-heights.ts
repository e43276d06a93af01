/** Rows whose heights are kept together. */
const blockRows = 256;

/**
 * Heights of rows: one that all have until they are measured, and for those measured the difference to it, with
 * positions by prefix sum (a Fenwick tree over blocks of rows). Rows that nobody has seen cost next to nothing; any
 * of many millions is found, and any height changed, in some steps.
 */
export class RowHeights {
  readonly #usual: number;
  /** Sums of differences. */
  #tree = new Float64Array(1025);
  /** Measured heights; 0: not measured. */
  readonly #blocks = new Map<number, Uint32Array>();
  #count = 0;

  /** @param usual Height of a row that was not measured. */
  constructor(usual: number) {
    this.#usual = usual;
  }

  get count(): number {
    return this.#count;
  }

  height(row: number): number {
    if (row >= this.#count) return 0;
    const measured = this.#blocks.get(Math.floor(row / blockRows))?.[row % blockRows] ?? 0;
    return measured === 0 ? this.#usual : measured;
  }

  /** There are this many rows; those that were there keep their heights. */
  setCount(count: number): void {
    if (count < this.#count) this.clear();
    const before = this.#tree.length - 1;
    let size = before;
    while (size * blockRows < count) size *= 2;
    if (size > before) {
      const tree = new Float64Array(size + 1);
      tree.set(this.#tree);
      // Sizes are powers of two: these nodes alone cover blocks from before.
      for (let node = before * 2; node <= size; node *= 2) tree[node] = this.#tree[before] ?? 0;
      this.#tree = tree;
    }
    this.#count = count;
  }

  set(row: number, height: number): void {
    const change = height - this.height(row);
    if (row >= this.#count || change === 0) return;
    const index = Math.floor(row / blockRows);
    let block = this.#blocks.get(index);
    if (!block) this.#blocks.set(index, (block = new Uint32Array(blockRows)));
    block[row % blockRows] = height;
    for (let node = index + 1; node < this.#tree.length; node += node & -node)
      this.#tree[node] = (this.#tree[node] ?? 0) + change;
  }

  /** Sum of the heights of the rows before this one. */
  top(row: number): number {
    const rows = Math.min(row, this.#count);
    const index = Math.floor(rows / blockRows);
    let sum = rows * this.#usual;
    for (let node = index; node > 0; node -= node & -node) sum += this.#tree[node] ?? 0;
    const block = this.#blocks.get(index);
    for (let at = 0; block && at < rows % blockRows; at++) {
      const height = block[at] ?? 0;
      if (height !== 0) sum += height - this.#usual;
    }
    return sum;
  }

  get total(): number {
    return this.top(this.#count);
  }

  /** The row that covers this offset; the last one beyond the end. */
  at(offset: number): number {
    const blocks = Math.ceil(this.#count / blockRows);
    let node = 0;
    let rest = offset;
    let step = 1;
    while (step * 2 <= blocks) step *= 2;
    for (; step > 0; step >>= 1) {
      const next = node + step;
      const sum = (this.#tree[next] ?? 0) + step * blockRows * this.#usual;
      if (next <= blocks && sum <= rest) {
        node = next;
        rest -= sum;
      }
    }
    let row = node * blockRows;
    for (; row < this.#count - 1; row++) {
      const height = this.height(row);
      if (rest < height) break;
      rest -= height;
    }
    return Math.max(0, Math.min(row, this.#count - 1));
  }

  /** No row is measured, and there are none. */
  clear(): void {
    this.#count = 0;
    this.#tree.fill(0);
    this.#blocks.clear();
  }
}
