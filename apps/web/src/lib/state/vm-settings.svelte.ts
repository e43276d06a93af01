import { isVmLive, type Vm, type VmChange, type VmNetwork } from '@vmo/contract';
import type { Machine } from './machine.svelte.ts';
import { asError } from './session.svelte.ts';

export const settingFields = [
  'name',
  'cpus',
  'maxCpus',
  'memoryMib',
  'maxMemoryMib',
  'network',
  'boot',
  'display',
];

/** The settings of a machine as somebody is changing them. */
export class VmSettings {
  name = $state('');
  cpus = $state('');
  maxCpus = $state('');
  memory = $state('');
  maxMemory = $state('');
  network: 'user' | 'restricted' | 'none' | 'bridge' = $state('user');
  forward = $state('');
  bridge = $state('');
  append = $state('');
  display: 'vnc' | 'none' = $state('vnc');
  busy = $state(false);
  saved = $state(false);
  error: Error | null = $state.raw(null);
  readonly #machine: Machine;

  constructor(machine: Machine, vm: Vm) {
    this.#machine = machine;
    this.reset(vm);
  }

  reset(vm: Vm): void {
    this.name = vm.name;
    this.cpus = String(vm.cpus);
    this.maxCpus = String(vm.maxCpus);
    this.memory = String(vm.memoryMib);
    this.maxMemory = String(vm.maxMemoryMib);
    const { network } = vm;
    this.network = network.mode === 'user' && network.restrict ? 'restricted' : network.mode;
    this.forward = network.mode === 'user' ? network.forward.join(', ') : '22';
    this.bridge = network.mode === 'bridge' ? network.bridge : '';
    this.append = vm.boot.from === 'kernel' ? vm.boot.append : '';
    this.display = vm.display;
  }

  get #network(): VmNetwork {
    if (this.network === 'none') return { mode: 'none' };
    if (this.network === 'bridge') return { mode: 'bridge', bridge: this.bridge.trim() };
    const forward = this.forward
      .split(/[\s,]+/)
      .filter(Boolean)
      .map(Number);
    return { mode: 'user', restrict: this.network === 'restricted', forward };
  }

  /** What differs from what the machine has. */
  changes(vm: Vm): VmChange {
    const change: VmChange = {};
    if (this.name.trim() !== vm.name) change.name = this.name.trim();
    if (Number(this.cpus) !== vm.cpus) change.cpus = Number(this.cpus);
    if (Number(this.memory) !== vm.memoryMib) change.memoryMib = Number(this.memory);
    // The limits are fixed while it runs.
    if (isVmLive(vm.status)) return change;
    if (Number(this.maxCpus) !== vm.maxCpus) change.maxCpus = Number(this.maxCpus);
    if (Number(this.maxMemory) !== vm.maxMemoryMib) change.maxMemoryMib = Number(this.maxMemory);
    if (JSON.stringify(this.#network) !== JSON.stringify(vm.network)) change.network = this.#network;
    if (vm.boot.from === 'kernel' && this.append !== vm.boot.append)
      change.boot = { ...vm.boot, append: this.append };
    if (this.display !== vm.display) change.display = this.display;
    return change;
  }

  /** A running machine gets CPUs and memory by hot-plugging, which is an operation of its own. */
  async save(vm: Vm): Promise<void> {
    const { cpus, memoryMib, ...rest } = this.changes(vm);
    const size = {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
    };
    this.busy = true;
    this.error = null;
    this.saved = false;
    try {
      if (!isVmLive(vm.status)) await this.#machine.change({ ...rest, ...size });
      else {
        if (Object.keys(rest).length > 0) await this.#machine.change(rest);
        if (Object.keys(size).length > 0) await this.#machine.resize(size);
      }
      this.saved = true;
    } catch (error) {
      this.error = asError(error);
    }
    this.busy = false;
  }
}
