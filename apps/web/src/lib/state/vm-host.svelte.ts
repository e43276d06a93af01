import type { Vm, VmHost } from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';
import { vms } from './vms.svelte.ts';

/** While the server tries it out it is asked again after this, in milliseconds. */
const askAgainMs = 2_000;

/** What the server's machine can do for guests. */
class VmHostState {
  host: VmHost | null = $state.raw(null);
  error: Error | null = $state.raw(null);
  trying = $state(false);
  tryError: Error | null = $state.raw(null);
  #again: ReturnType<typeof setTimeout> | undefined;

  /** Asks, and goes on asking while the server is still trying it out. */
  async load(): Promise<void> {
    clearTimeout(this.#again);
    try {
      this.#put((await api.call('getVmHost')).host);
    } catch (error) {
      this.error = asError(error);
    }
  }

  /** By booting a guest, which takes the server some seconds. */
  async probe(): Promise<void> {
    clearTimeout(this.#again);
    try {
      this.#put((await api.call('probeVmHost')).host);
    } catch (error) {
      this.error = asError(error);
    }
  }

  #put(host: VmHost): void {
    this.host = host;
    this.error = null;
    clearTimeout(this.#again);
    if (host.probing) this.#again = setTimeout(() => void this.load(), askAgainMs);
  }

  /** Builds and starts the small guest; null: it did not work, see `tryError`. */
  async tryVm(): Promise<Vm | null> {
    this.trying = true;
    this.tryError = null;
    try {
      const { vm, operation } = await api.call('tryVm');
      vms.put(vm);
      vms.note(operation);
      return vm;
    } catch (error) {
      this.tryError = asError(error);
      return null;
    } finally {
      this.trying = false;
    }
  }
}

export const vmHost = new VmHostState();
