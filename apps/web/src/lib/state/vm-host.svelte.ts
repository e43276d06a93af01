import type { Vm, VmHost } from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';
import { vms } from './vms.svelte.ts';

/** The server tries it out after its start; until then it is asked again after this, in milliseconds. */
const askAgainMs = 2_000;

/** What the server's machine can do for guests. */
class VmHostState {
  host: VmHost | null = $state.raw(null);
  error: Error | null = $state.raw(null);
  probing = $state(false);
  trying = $state(false);
  tryError: Error | null = $state.raw(null);
  #again: ReturnType<typeof setTimeout> | undefined;

  /** Asks, and goes on asking while the server is still trying it out. */
  async load(): Promise<void> {
    clearTimeout(this.#again);
    try {
      this.host = (await api.call('getVmHost')).host;
      this.error = null;
      if (this.host.probedAt === null) this.#again = setTimeout(() => void this.load(), askAgainMs);
    } catch (error) {
      this.error = asError(error);
    }
  }

  /** By booting a guest: takes some seconds. */
  async probe(): Promise<void> {
    this.probing = true;
    try {
      this.host = (await api.call('probeVmHost')).host;
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
    this.probing = false;
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
