/**
 * Heights of rows in whole steps, with positions by prefix sum (a Fenwick tree): any of a million rows is found, and
 * any height changed, in some 20 steps.
 */
export class RowHeights {
  #tree = new Float64Array(1025);
  #heights = new Uint32Array(1024);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  height(row: number): number {
    return row < this.#count ? (this.#heights[row] ?? 0) : 0;
  }

  push(height: number): void {
    if (this.#count === this.#heights.length) {
      const heights = new Uint32Array(this.#count * 2);
      heights.set(this.#heights);
      this.#heights = heights;
      const tree = new Float64Array(this.#count * 2 + 1);
      tree.set(this.#tree);
      this.#tree = tree;
    }
    this.#heights[this.#count] = height;
    const node = ++this.#count;
    let sum = height;
    const low = node - (node & -node);
    for (let child = node - 1; child > low; child -= child & -child) sum += this.#tree[child] ?? 0;
    this.#tree[node] = sum;
  }

  set(row: number, height: number): void {
    const change = height - this.height(row);
    if (row >= this.#count || change === 0) return;
    this.#heights[row] = height;
    for (let node = row + 1; node <= this.#count; node += node & -node)
      this.#tree[node] = (this.#tree[node] ?? 0) + change;
  }

  /** Sum of the heights of the rows before this one. */
  top(row: number): number {
    let sum = 0;
    for (let node = Math.min(row, this.#count); node > 0; node -= node & -node) sum += this.#tree[node] ?? 0;
    return sum;
  }

  get total(): number {
    return this.top(this.#count);
  }

  /** The row that covers this offset; the last one beyond the end. */
  at(offset: number): number {
    let node = 0;
    let rest = offset;
    let step = 1;
    while (step * 2 <= this.#count) step *= 2;
    for (; step > 0; step >>= 1) {
      const next = node + step;
      const sum = this.#tree[next] ?? 0;
      if (next <= this.#count && sum <= rest) {
        node = next;
        rest -= sum;
      }
    }
    return Math.min(node, Math.max(0, this.#count - 1));
  }

  clear(): void {
    this.#count = 0;
  }
}
