import type { Host, HostChange, HostId, HostTest, NewHost } from '@vmo/contract';
import { SvelteMap } from 'svelte/reactivity';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';

export type HostTrial =
  { phase: 'running' } | { phase: 'done'; test: HostTest; at: number } | { phase: 'failed'; error: Error };

/** The SSH inventory and the last connection test of each host. */
class Hosts {
  list: Host[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);
  trials = new SvelteMap<HostId, HostTrial>();

  byId(id: HostId | null): Host | undefined {
    return this.list.find((host) => host.id === id);
  }

  async load(): Promise<void> {
    try {
      this.list = (await api.call('listHosts')).hosts;
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
    this.loaded = true;
  }

  async add(body: NewHost): Promise<Host> {
    const { host } = await api.call('addHost', { body });
    await this.load();
    return host;
  }

  async change(id: HostId, body: HostChange): Promise<void> {
    await api.call('changeHost', { params: { hostId: id }, body });
    this.trials.delete(id);
    await this.load();
  }

  async remove(id: HostId): Promise<void> {
    await api.call('removeHost', { params: { hostId: id } });
    this.trials.delete(id);
    await this.load();
  }

  async test(id: HostId): Promise<void> {
    await this.#try(id, () => api.call('testHost', { params: { hostId: id } }));
  }

  async trust(id: HostId, fingerprint: string): Promise<void> {
    await this.#try(id, () => api.call('trustHost', { params: { hostId: id }, body: { fingerprint } }));
  }

  async #try(id: HostId, call: () => Promise<{ test: HostTest }>): Promise<void> {
    this.trials.set(id, { phase: 'running' });
    try {
      const { test } = await call();
      this.trials.set(id, { phase: 'done', test, at: Date.now() });
    } catch (error) {
      this.trials.set(id, { phase: 'failed', error: asError(error) });
    }
  }
}

export const hosts = new Hosts();
