import type { Job, JobId, VmId } from '@vmo/contract';
import { api, connection } from './api.ts';
import { asError } from './session.svelte.ts';

const pageSize = 50;

/** The runs of one machine, which are jobs: newest first, live, a page at a time. */
export class VmRuns {
  readonly #id: VmId;
  list: readonly Job[] = $state.raw([]);
  loaded = $state(false);
  loadingOlder = $state(false);
  error: Error | null = $state.raw(null);
  #nextBefore: JobId | null = $state(null);

  constructor(id: VmId) {
    this.#id = id;
  }

  start(): () => void {
    void this.load();
    return connection.watchJobs(
      (job) => this.#changed(job),
      () => void this.load(),
    );
  }

  get hasOlder(): boolean {
    return this.#nextBefore !== null;
  }

  async load(): Promise<void> {
    await this.#read(null);
    this.loaded = true;
  }

  async loadOlder(): Promise<void> {
    const before = this.#nextBefore;
    if (!before || this.loadingOlder) return;
    this.loadingOlder = true;
    await this.#read(before);
    this.loadingOlder = false;
  }

  #changed(job: Job): void {
    if (job.vmId !== this.#id) return;
    const known = this.list.some(({ id }) => id === job.id);
    if (known) this.list = this.list.map((one) => (one.id === job.id ? job : one));
    // An old one, of a page that is not read yet, comes with it.
    else if (job.id > (this.list[0]?.id ?? '')) this.list = [job, ...this.list];
  }

  async #read(before: JobId | null): Promise<void> {
    const query = { vmId: this.#id, limit: pageSize, ...(before && { before }) };
    try {
      const { jobs, nextBefore } = await api.call('listJobs', { query });
      const read = new Set(jobs.map(({ id }) => id));
      const [newest = '', oldest = ''] = [jobs[0]?.id, jobs.at(-1)?.id];
      // What was told while the answer was on its way is newer than it.
      const told = this.list.filter(({ id }) => !read.has(id) && (before !== null || id > newest));
      // What was read further down stays, unless runs between it and the answer are not known.
      const touches = before === null && this.list.some(({ id }) => read.has(id));
      const older = touches ? this.list.filter(({ id }) => id < oldest) : [];
      this.list = [...told, ...jobs, ...older];
      if (older.length === 0) this.#nextBefore = nextBefore;
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
  }
}
