import type { Job, JobId } from '@vmo/contract';
import { api, connection } from './api.ts';
import { clock } from './clock.svelte.ts';
import { jobs } from './jobs.svelte.ts';
import { asError } from './session.svelte.ts';
import { view, type HistoryFilter } from './view.svelte.ts';

const pageSize = 50;
export const pollEveryMs = 30_000;

/** The list of jobs: newest first, live, and still while somebody reads further down. */
class JobHistoryState {
  rows: JobId[] = $state.raw([]);
  /** New jobs that wait for the reader to come back to the top. */
  held: JobId[] = $state.raw([]);
  loaded = $state(false);
  loading = $state(false);
  loadingOlder = $state(false);
  error: Error | null = $state.raw(null);
  #nextBefore: JobId | null = $state(null);
  #dueAt = $state(0);
  #atTop = true;
  #asked = 0;

  /** Live rows and the poll that catches what they missed, until stopped. */
  start(): () => void {
    const stop = connection.watchJobs(
      (job) => this.#arrive(job),
      () => void this.refresh(),
    );
    const timer = setInterval(() => {
      if (!document.hidden && Date.now() >= this.#dueAt) void this.refresh();
    }, 1000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }

  get hasOlder(): boolean {
    return this.#nextBefore !== null;
  }

  /** Whole seconds until the list is read again. */
  get secondsToPoll(): number {
    return Math.max(0, Math.ceil((this.#dueAt - clock.now) / 1000));
  }

  get isFiltered(): boolean {
    return Object.keys(view.filter).length > 0;
  }

  /** Other filters: another list. */
  async restart(): Promise<void> {
    this.rows = [];
    this.held = [];
    this.loaded = false;
    this.#nextBefore = null;
    await this.refresh();
  }

  /** Reads the first page again; rows further down and rows being read stay where they are. */
  async refresh(): Promise<void> {
    const asked = ++this.#asked;
    this.loading = true;
    this.#dueAt = Date.now() + pollEveryMs;
    try {
      const page = await api.call('listJobs', { query: { limit: pageSize, ...view.filter } });
      if (asked !== this.#asked) return;
      page.jobs.forEach((job) => jobs.put(job));
      this.#merge(page.jobs, page.nextBefore);
      this.error = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = asError(error);
    }
    this.loaded = true;
    this.loading = false;
  }

  async loadOlder(): Promise<void> {
    const before = this.#nextBefore;
    if (!before || this.loadingOlder) return;
    const asked = this.#asked;
    this.loadingOlder = true;
    try {
      const page = await api.call('listJobs', { query: { limit: pageSize, before, ...view.filter } });
      if (before === this.#nextBefore) {
        page.jobs.forEach((job) => jobs.put(job));
        const known = new Set(this.rows);
        this.rows = [...this.rows, ...page.jobs.map(({ id }) => id).filter((id) => !known.has(id))];
        this.#nextBefore = page.nextBefore;
      }
    } catch (error) {
      if (asked === this.#asked) this.error = asError(error);
    }
    this.loadingOlder = false;
  }

  /** Whether the reader sees the first row; away from it, new rows are held back and announced. */
  setAtTop(atTop: boolean): void {
    this.#atTop = atTop;
    if (atTop) this.showHeld();
  }

  showHeld(): void {
    if (this.held.length > 0) {
      this.rows = [...this.held, ...this.rows];
      this.held = [];
    }
  }

  #merge(page: Job[], nextBefore: JobId | null): void {
    const ids = page.map(({ id }) => id);
    const oldest = ids.at(-1);
    const first = this.rows[0];
    if (!first || !oldest || nextBefore === null) {
      this.rows = ids;
      this.held = [];
      this.#nextBefore = nextBefore;
      return;
    }
    // Ids sort by time: what is older than this page was read before and stays.
    const kept = this.rows.filter((id) => id < oldest);
    const touches = this.rows.some((id) => id >= oldest);
    const fresh = touches && !this.#atTop ? ids.filter((id) => id > first) : [];
    this.held = fresh;
    this.rows = [...ids.filter((id) => !fresh.includes(id)), ...(touches ? kept : [])];
    if (!touches || kept.length === 0) this.#nextBefore = nextBefore;
  }

  #arrive(job: Job): void {
    jobs.putLive(job);
    if (!this.loaded || this.rows.includes(job.id) || this.held.includes(job.id)) return;
    if (!matches(job, view.filter)) return;
    const first = this.rows[0];
    // Older than what is shown: it belongs to a page that is not loaded, or one that the next refresh brings.
    if (first && job.id < first) return;
    if (this.#atTop) this.rows = [job.id, ...this.rows];
    else this.held = [job.id, ...this.held].sort().reverse();
  }
}

function matches(job: Job, filter: HistoryFilter): boolean {
  return (
    (!filter.status || job.status === filter.status) &&
    (!filter.type || job.type === filter.type) &&
    (!filter.workspaceId || job.workspaceId === filter.workspaceId) &&
    (!filter.q || job.command.toLowerCase().includes(filter.q.toLowerCase()))
  );
}

export const jobHistory = new JobHistoryState();
