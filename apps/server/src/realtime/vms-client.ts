import type { VmEvent, VmId, VmMetrics, VmServerEvents, VmSummary } from '@vmo/contract';
import type { Socket } from 'socket.io';
import type { Principal } from '../auth/index.ts';
import { Outlet } from './outlet.ts';

export type VmsSocket = Socket<
  Record<string, never>,
  VmServerEvents,
  Record<string, never>,
  { principal: Principal }
>;

/** What waits for a socket that takes nothing; beyond it all of it is dropped, and the browser told to read anew. */
const maxWaitingRows = 1000;
const maxWaitingEvents = 200;
/** About what a row and an event take. */
const rowCost = 700;
const eventCost = 700;
const metricCost = 250;

/** One browser that looks at machines: it gets the newest of everything, as fast as it takes it. */
export class VmsClient {
  readonly #socket: VmsSocket;
  readonly #outlet: Outlet;
  readonly #rows = new Map<VmId, VmSummary>();
  #events: VmEvent[] = [];
  #metrics: VmMetrics | null = null;
  /** Something was dropped: what is read after this was told has it. */
  #missed = false;

  constructor(socket: VmsSocket) {
    this.#socket = socket;
    this.#outlet = new Outlet(socket.conn);
    this.#outlet.onOpen(() => {
      this.#send();
    });
  }

  changed(vm: VmSummary): void {
    this.#rows.delete(vm.id);
    this.#rows.set(vm.id, vm);
    if (this.#rows.size > maxWaitingRows) this.#dropAll();
    this.#send();
  }

  happened(event: VmEvent): void {
    this.#events.push(event);
    if (this.#events.length > maxWaitingEvents) this.#dropAll();
    // A row that still waits would bring the machine back.
    if (event.type === 'deleted') this.#rows.delete(event.vmId);
    this.#send();
  }

  measured(metrics: VmMetrics): void {
    this.#metrics = metrics;
    this.#send();
  }

  close(): void {
    this.#outlet.close();
  }

  #dropAll(): void {
    this.#rows.clear();
    this.#events = [];
    this.#missed = true;
  }

  #send(): void {
    if (this.#missed && this.#outlet.isOpen) {
      this.#missed = false;
      this.#outlet.account(eventCost);
      this.#socket.emit('vm:missed', {});
    }
    for (const [vmId, vm] of this.#rows) {
      if (!this.#outlet.isOpen) return;
      this.#rows.delete(vmId);
      this.#outlet.account(rowCost);
      this.#socket.emit('vm:status', vm);
    }
    while (this.#outlet.isOpen) {
      const event = this.#events.shift();
      if (!event) break;
      this.#outlet.account(eventCost);
      this.#socket.emit('vm:event', event);
    }
    if (!this.#metrics || !this.#outlet.isOpen) return;
    this.#outlet.account(metricCost * this.#metrics.vms.length);
    this.#socket.emit('vm:metrics', this.#metrics);
    this.#metrics = null;
  }
}
