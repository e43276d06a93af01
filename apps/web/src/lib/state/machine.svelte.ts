import {
  allowedActions,
  CodedError,
  type DiskId,
  type NewSnapshot,
  type Snapshot,
  type SnapshotId,
  type Vm,
  type VmAction,
  type VmChange,
  type VmId,
  type VmOperation,
  type VmSummary,
} from '@vmo/contract';
import { api, vmsConnection } from './api.ts';
import { createNewest } from './newest.ts';
import { asError } from './session.svelte.ts';
import { toasts } from './toasts.svelte.ts';
import { vms } from './vms.svelte.ts';

/** Facts come in groups: one reading (after this many milliseconds) answers them all. */
const readPause = 120;

const isOver = ({ status }: VmOperation): boolean => status === 'done' || status === 'failed';

/** One machine in a page: what it is, what was and is being done with it, its snapshots. */
export class Machine {
  readonly id: VmId;
  vm: Vm | null = $state.raw(null);
  /** Why it cannot be shown, or shown anew. */
  error: Error | null = $state.raw(null);
  gone = $state(false);
  /** Newest first. */
  operations: readonly VmOperation[] = $state.raw([]);
  snapshots: readonly Snapshot[] | null = $state.raw(null);
  snapshotError: Error | null = $state.raw(null);
  operationsError: Error | null = $state.raw(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #newest = createNewest();
  readonly #newestSnapshots = createNewest();

  constructor(id: VmId) {
    this.id = id;
  }

  /** Asked for and not over yet, the oldest first: they are carried out in turn. */
  pending: readonly VmOperation[] = $derived(this.operations.filter((one) => !isOver(one)).toReversed());

  /** Follows the machine until stopped. */
  start(): () => void {
    vms.use();
    const stops = [
      vmsConnection.on('vm:status', (summary) => this.#status(summary)),
      vmsConnection.on('vm:event', (event) => {
        if (event.vmId === this.id && event.type === 'hypervisor') this.#readSoon();
      }),
      vms.onOperation((operation) => this.#operation(operation)),
      vms.onDeleted((id) => {
        if (id === this.id) this.gone = true;
      }),
      // What was told before, nobody here has heard.
      vmsConnection.onLive(() => this.#readAll()),
    ];
    if (!vmsConnection.isLive) this.#readAll();
    return () => {
      clearTimeout(this.#timer);
      stops.forEach((stop) => stop());
    };
  }

  #readAll(): void {
    void this.read();
    void this.readOperations();
    void this.readSnapshots();
  }

  async read(): Promise<void> {
    const isNews = this.#newest.ask();
    try {
      const { vm } = await api.call('getVm', { params: { vmId: this.id } });
      if (!isNews()) return;
      this.vm = vm;
      this.error = null;
    } catch (error) {
      if (!isNews()) return;
      if (error instanceof CodedError && error.code === 'VM_NOT_FOUND' && this.vm) this.gone = true;
      else this.error = asError(error);
    }
  }

  async readOperations(): Promise<void> {
    try {
      const { operations } = await api.call('listVmOperations', { params: { vmId: this.id } });
      // What a fact told meanwhile is newer than the answer.
      const known = new Map(this.operations.map((one) => [one.id, one]));
      const newer = (one: VmOperation): VmOperation => {
        const mine = known.get(one.id);
        return mine && isOver(mine) ? mine : one;
      };
      const listed = new Set(operations.map(({ id }) => id));
      this.operations = [...this.operations.filter(({ id }) => !listed.has(id)), ...operations.map(newer)];
      this.operationsError = null;
    } catch (error) {
      this.operationsError = asError(error);
    }
  }

  async readSnapshots(): Promise<void> {
    const isNews = this.#newestSnapshots.ask();
    try {
      const { snapshots } = await api.call('listSnapshots', { params: { vmId: this.id } });
      if (!isNews()) return;
      this.snapshots = snapshots;
      this.snapshotError = null;
    } catch (error) {
      if (!isNews()) return;
      this.snapshotError = asError(error);
    }
  }

  async act(action: VmAction): Promise<void> {
    await vms.act([this.id], action);
  }

  /** @throws as the server said it; so do all below. */
  async change(body: VmChange): Promise<void> {
    const { vm } = await api.call('changeVm', { params: { vmId: this.id }, body });
    this.vm = vm;
  }

  async resize(body: { cpus?: number; memoryMib?: number; balloonMib?: number }): Promise<void> {
    vms.note((await api.call('resizeVm', { params: { vmId: this.id }, body })).operation);
  }

  async clone(name: string): Promise<Vm> {
    const { vm, operation } = await api.call('cloneVm', { params: { vmId: this.id }, body: { name } });
    vms.put(vm);
    vms.note(operation);
    return vm;
  }

  async attach(diskId: DiskId, readOnly: boolean): Promise<void> {
    const body = readOnly ? { diskId, readOnly } : { diskId };
    vms.note((await api.call('attachDisk', { params: { vmId: this.id }, body })).operation);
  }

  async detach(diskId: DiskId): Promise<void> {
    try {
      vms.note((await api.call('detachDisk', { params: { vmId: this.id, diskId } })).operation);
    } catch (error) {
      toasts.error('The disk was not detached', error);
    }
  }

  async resizeDisk(diskId: DiskId, sizeBytes: number): Promise<void> {
    const { operation } = await api.call('resizeDisk', { params: { diskId }, body: { sizeBytes } });
    if (operation) vms.note(operation);
  }

  async takeSnapshot(body: NewSnapshot): Promise<void> {
    const { operation } = await api.call('createSnapshot', { params: { vmId: this.id }, body });
    vms.note(operation);
    void this.readSnapshots();
  }

  async restore(snapshotId: SnapshotId): Promise<void> {
    vms.note((await api.call('restoreSnapshot', { params: { snapshotId } })).operation);
  }

  async deleteSnapshot(snapshotId: SnapshotId): Promise<void> {
    vms.note((await api.call('deleteSnapshot', { params: { snapshotId } })).operation);
    void this.readSnapshots();
  }

  #status(summary: VmSummary): void {
    if (summary.id !== this.id) return;
    if (this.vm) this.vm = { ...this.vm, ...summary, allowed: [...allowedActions[summary.status]] };
    this.#readSoon();
  }

  #operation(operation: VmOperation): void {
    if (operation.vmId !== this.id) return;
    const others = this.operations.filter(({ id }) => id !== operation.id);
    this.operations =
      others.length < this.operations.length
        ? this.operations.map((one) => (one.id === operation.id ? operation : one))
        : [operation, ...this.operations];
    if (isOver(operation)) this.#readSoon();
    if (/snapshot|restore/.test(operation.kind)) void this.readSnapshots();
  }

  #readSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.read(), readPause);
  }
}
