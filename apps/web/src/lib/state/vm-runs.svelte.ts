import type { Job, VmId } from '@vmo/contract';
import { api, connection } from './api.ts';
import { asError } from './session.svelte.ts';

/** Of all machines' runs so many are looked through for those of one. */
const lookedThrough = 500;

/** The runs of one machine, which are jobs: newest first, live. */
export class VmRuns {
  readonly #id: VmId;
  list: readonly Job[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);

  constructor(id: VmId) {
    this.#id = id;
  }

  start(): () => void {
    void this.load();
    return connection.watchJobs((job) => {
      if (job.vmId !== this.#id) return;
      const known = this.list.some(({ id }) => id === job.id);
      this.list = known ? this.list.map((one) => (one.id === job.id ? job : one)) : [job, ...this.list];
    });
  }

  async load(): Promise<void> {
    try {
      const { jobs } = await api.call('listJobs', { query: { type: 'vm', limit: lookedThrough } });
      this.list = jobs.filter(({ vmId }) => vmId === this.#id);
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
    this.loaded = true;
  }
}
