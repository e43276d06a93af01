import { SvelteSet } from 'svelte/reactivity';

/** The rows from one to the other, both included, whichever comes first. */
function rangeOf<T>(order: readonly T[], from: T, to: T): readonly T[] {
  const a = order.indexOf(from);
  const b = order.indexOf(to);
  if (b < 0) return [];
  if (a < 0) return [to];
  return order.slice(Math.min(a, b), Math.max(a, b) + 1);
}

/** Which rows of a list are chosen, and which one the keyboard is on. */
export class RowSelection<T> {
  readonly selected = new SvelteSet<T>();
  active: T | null = $state.raw(null);
  /** Where a range begins. */
  #anchor: T | null = null;
  readonly #order: () => readonly T[];

  constructor(order: () => readonly T[]) {
    this.#order = order;
  }

  /** Moves the active row, with `extend` choosing all on the way. @returns its index; -1: there is none */
  move(by: number, extend: boolean): number {
    const order = this.#order();
    if (order.length === 0) return -1;
    const at = this.active === null ? -1 : order.indexOf(this.active);
    const first = by < 0 ? order.length - 1 : 0;
    const next = at < 0 ? first : Math.max(0, Math.min(order.length - 1, at + by));
    const row = order[next];
    if (row === undefined) return -1;
    if (extend) this.extendTo(row);
    this.active = row;
    return next;
  }

  toggle(row: T): void {
    if (!this.selected.delete(row)) this.selected.add(row);
    this.#anchor = row;
    this.active = row;
  }

  /** From the row chosen last to this one. */
  extendTo(row: T): void {
    const from = this.#anchor ?? this.active ?? row;
    for (const one of rangeOf(this.#order(), from, row)) this.selected.add(one);
    this.#anchor = from;
    this.active = row;
  }

  get isAll(): boolean {
    return this.selected.size > 0 && this.#order().every((row) => this.selected.has(row));
  }

  /** All rows that are shown, or none at all. */
  selectAll(on: boolean): void {
    this.selected.clear();
    if (on) for (const row of this.#order()) this.selected.add(row);
  }
}
