import type { RequestId } from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';

/** A guest that needs nothing to be there: it is built from the packages of the server's machine. */
export const smallGuestName = 'small-guest';

/** Enough to see both streams, and that commands come one after another. */
const commands = [
  'uname -a',
  'echo hello from the guest; echo and this is stderr >&2',
  'cat /proc/meminfo | head -3',
];

/** The first request of somebody who has none. */
class TryRequest {
  busy = $state(false);
  error: Error | null = $state.raw(null);

  /** @returns its id; null: see `error` */
  async submit(): Promise<RequestId | null> {
    this.busy = true;
    this.error = null;
    try {
      const { uuid } = await api.call('submitRequest', { body: { vm_name: smallGuestName, commands } });
      return uuid;
    } catch (error) {
      this.error = asError(error);
      return null;
    } finally {
      this.busy = false;
    }
  }
}

export const tryRequest = new TryRequest();
