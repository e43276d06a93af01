import { goto } from '$app/navigation';
import { page } from '$app/state';
import { allowedActions, VmStatus, type VmAction, type VmId, type VmSummary } from '@vmo/contract';
import { RowSelection } from './row-selection.svelte.ts';
import { fits, orderVms, sortKeys, wordsOf, type SortKey } from './vm-list.ts';
import { vms } from './vms.svelte.ts';

/** The address follows what is typed after this pause, in milliseconds. */
const addressPause = 250;

/** What of the machines is shown, in which order, and which of them are chosen. */
export class VmTable {
  text = $state('');
  status: VmStatus | null = $state(null);
  sort: SortKey = $state('name');
  descending = $state(false);
  readonly rows = new RowSelection<VmId>(() => this.order);
  /** Grows when the rows shall be arranged anew although nothing was asked: see {@link unfit}. */
  #arranged = $state(0);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(search: Pick<URLSearchParams, 'get'>) {
    this.text = search.get('q')?.slice(0, 200) ?? '';
    this.status = VmStatus.safeParse(search.get('status')).data ?? null;
    const sort = search.get('sort') ?? '';
    this.sort = sortKeys.find((key) => key === sort.replace(/^-/, '')) ?? 'name';
    this.descending = sort.startsWith('-');
  }

  /**
   * Rows in their order. Machines change all the time: a row keeps its place until something is asked anew, so that
   * nothing moves under the pointer.
   */
  order: readonly VmId[] = $derived.by(() => {
    void vms.members;
    void this.#arranged;
    const { text, status, sort, descending } = this;
    return orderVms(vms.values(), { text, status, sort, descending });
  });

  /** Rows in sight that would not be there if it were asked anew. */
  unfit(shown: readonly VmSummary[]): number {
    const words = wordsOf(this.text);
    return shown.filter((vm) => !fits(vm, words, this.status)).length;
  }

  arrange(): void {
    this.#arranged += 1;
  }

  get isFiltered(): boolean {
    return this.text.trim() !== '' || this.status !== null;
  }

  type(text: string): void {
    this.text = text;
    this.#tell();
  }

  filter(status: VmStatus | null): void {
    this.status = status;
    this.#tell();
  }

  clear(): void {
    this.text = '';
    this.status = null;
    this.#tell();
  }

  /** The same column again turns the order round. */
  sortBy(key: SortKey): void {
    this.descending = key === this.sort && !this.descending;
    this.sort = key;
    this.arrange();
    this.#tell();
  }

  /** The machines chosen that still exist. */
  chosen: VmSummary[] = $derived.by(() => {
    const found: VmSummary[] = [];
    for (const id of this.rows.selected) {
      const vm = vms.get(id);
      if (vm) found.push(vm);
    }
    return found;
  });

  /** Those of the chosen that this can be asked of. */
  able(action: VmAction): VmSummary[] {
    return this.chosen.filter((vm) => allowedActions[vm.status].includes(action));
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (page.url.pathname !== '/vms') return;
      const params = new URLSearchParams();
      if (this.text.trim()) params.set('q', this.text.trim());
      if (this.status) params.set('status', this.status);
      if (this.sort !== 'name' || this.descending)
        params.set('sort', `${this.descending ? '-' : ''}${this.sort}`);
      const search = params.toString();
      void goto(search ? `/vms?${search}` : '/vms', { replace: true, reset: false });
    }, addressPause);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
