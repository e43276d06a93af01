import type { VmAction, VmId, VmOperation, VmSummary } from '@vmo/contract';
import { SvelteMap } from 'svelte/reactivity';
import { kindDoing } from '../vm-status.ts';
import { api, vmsConnection } from './api.ts';
import { asError } from './session.svelte.ts';
import { toasts } from './toasts.svelte.ts';

const pageSize = 1000;

/** Every machine, each once, live. Tables and pages hold ids, or watch `members`. */
class Vms {
  /** For whoever shows one: only its readers are told of a change. */
  #rows = new SvelteMap<VmId, VmSummary>();
  /** For whoever goes through all of them. */
  #all = new Map<VmId, VmSummary>();
  /** Grows when machines come, go or are renamed. */
  members = $state(0);
  loaded = $state(false);
  /** All pages are here. */
  complete = $state(false);
  /** As the server counts them, while pages are still coming. */
  total = $state(0);
  error: Error | null = $state.raw(null);
  #isUsed = false;
  #round = 0;
  /** What facts told while a list was under way: an answer is older than they. */
  #touched = new Set<VmId>();
  /** Operations that were asked for here: their failure is told. */
  #mine = new Set<string>();
  #operations = new Set<(operation: VmOperation) => void>();
  #deleted = new Set<(id: VmId) => void>();

  /** Begins to follow, once: called by whatever shows machines. */
  use(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    vmsConnection.on('vm:status', (vm) => this.#arrive(vm));
    vmsConnection.on('vm:event', (event) => {
      if (event.type === 'deleted') {
        this.#touched.add(event.vmId);
        this.#forget(event.vmId);
      } else if (event.type === 'operation') this.#operation(event.operation);
    });
    // What was told before, nobody here has heard.
    vmsConnection.onLive(() => void this.load());
    vmsConnection.connect();
    if (!vmsConnection.isLive) void this.load();
  }

  get(id: VmId): VmSummary | undefined {
    return this.#rows.get(id);
  }

  /** All of them now; read `members` to hear of others. */
  values(): Iterable<VmSummary> {
    return this.#all.values();
  }

  get count(): number {
    void this.members;
    return this.#all.size;
  }

  /** Reads all pages; what is shown stays meanwhile. */
  async load(): Promise<void> {
    const round = ++this.#round;
    this.#touched.clear();
    const seen = new Set<VmId>();
    try {
      let after: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof readPage>> = await readPage(after);
        if (round !== this.#round) return;
        let changed = false;
        for (const vm of page.vms) {
          seen.add(vm.id);
          if (!this.#touched.has(vm.id)) changed = this.#put(vm) || changed;
        }
        this.total = page.total;
        this.loaded = true;
        this.error = null;
        if (changed) this.members += 1;
        after = page.nextAfter;
      } while (after !== null);
      const gone = [...this.#all.keys()].filter((id) => !seen.has(id) && !this.#touched.has(id));
      gone.forEach((id) => this.#forget(id));
      this.complete = true;
    } catch (error) {
      if (round !== this.#round) return;
      this.error = asError(error);
      this.loaded = true;
    }
  }

  /** A machine out of an answer. */
  put(vm: VmSummary): void {
    this.#arrive(vm);
  }

  /** Remembers that it was asked for here. */
  note(operation: VmOperation): void {
    this.#mine.add(operation.id);
    this.#operation(operation);
  }

  onOperation(tell: (operation: VmOperation) => void): () => void {
    this.#operations.add(tell);
    return () => void this.#operations.delete(tell);
  }

  onDeleted(tell: (id: VmId) => void): () => void {
    this.#deleted.add(tell);
    return () => void this.#deleted.delete(tell);
  }

  /** One or many; what was refused is told, the others go their way. */
  async act(vmIds: VmId[], action: VmAction): Promise<void> {
    const [only] = vmIds;
    if (!only) return;
    try {
      if (vmIds.length === 1) {
        const { operation } = await api.call('actOnVm', { params: { vmId: only }, body: { action } });
        this.note(operation);
        return;
      }
      const { operations, refused } = await api.call('actOnVms', { body: { vmIds, action } });
      operations.forEach((operation) => this.note(operation));
      if (refused.length > 0) {
        const lines = refused.slice(0, 8).map(({ vmId, reason }) => `${this.#nameOf(vmId)}: ${reason}`);
        if (refused.length > 8) lines.push(`… and ${String(refused.length - 8)} more`);
        toasts.error(
          `${String(refused.length)} of ${String(vmIds.length)} could not be asked to ${action}`,
          lines.join('\n'),
        );
      }
    } catch (error) {
      toasts.error(`Not done: ${action} ${vmIds.length === 1 ? this.#nameOf(only) : ''}`, error);
    }
  }

  /** @throws as the server said it */
  async remove(vmId: VmId, disks: boolean): Promise<void> {
    const query = disks ? { disks: 'true' } : {};
    const { operation } = await api.call('deleteVm', { params: { vmId }, query });
    this.note(operation);
  }

  #nameOf(id: VmId): string {
    return this.#all.get(id)?.name ?? id;
  }

  #operation(operation: VmOperation): void {
    for (const tell of this.#operations) tell(operation);
    if (operation.status === 'failed' && this.#mine.delete(operation.id))
      toasts.error(
        `${operation.vmName}: ${kindDoing[operation.kind]} failed`,
        operation.result ?? 'no reason given',
      );
    else if (operation.status === 'done') this.#mine.delete(operation.id);
  }

  #arrive(vm: VmSummary): void {
    this.#touched.add(vm.id);
    if (this.#put(vm)) this.members += 1;
  }

  /** @returns whether lists have to be made anew */
  #put(vm: VmSummary): boolean {
    const known = this.#all.get(vm.id);
    this.#all.set(vm.id, vm);
    this.#rows.set(vm.id, vm);
    return known?.name !== vm.name;
  }

  #forget(id: VmId): void {
    if (!this.#all.delete(id)) return;
    this.#rows.delete(id);
    this.members += 1;
    for (const tell of this.#deleted) tell(id);
  }
}

function readPage(after: string | null) {
  return api.call('listVms', { query: { limit: pageSize, ...(after === null ? {} : { after }) } });
}

export const vms = new Vms();
