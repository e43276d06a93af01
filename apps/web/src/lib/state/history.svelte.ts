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
  /** Jobs that were told of since the list was asked for: its answer may not have them yet. */
  #told = new Set<JobId>();

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
    this.#told.clear();
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
      this.rows = newestFirst([...this.held, ...this.rows]);
      this.held = [];
    }
  }

  #merge(page: Job[], nextBefore: JobId | null): void {
    const oldest = page.at(-1)?.id;
    const isWhole = oldest === undefined || nextBefore === null;
    const told = [...this.#told].filter((id) => isWhole || id > oldest);
    // What is older than this page was read before and stays, unless jobs in between are not known.
    const touches = oldest !== undefined && this.rows.some((id) => id >= oldest);
    const older = touches && !isWhole ? this.rows.filter((id) => id < oldest) : [];
    const all = newestFirst([...page.map(({ id }) => id), ...told, ...older]);
    const [first] = this.rows;
    const isReading = first !== undefined && touches && !this.#atTop;
    this.held = isReading ? all.filter((id) => id > first) : [];
    this.rows = isReading ? all.filter((id) => id <= first) : all;
    if (older.length === 0) this.#nextBefore = nextBefore;
  }

  #arrive(job: Job): void {
    jobs.putLive(job);
    const { id } = job;
    if (!matches(job, view.filter)) {
      this.#told.delete(id);
      return;
    }
    this.#told.add(id);
    if (!this.loaded || this.rows.includes(id) || this.held.includes(id)) return;
    const last = this.rows.at(-1);
    // Of a page that is not read yet.
    if (last && id < last && this.hasOlder) return;
    if (this.#atTop) this.rows = newestFirst([...this.rows, id]);
    else this.held = newestFirst([...this.held, id]);
  }
}

/** Ids sort by time. */
const newestFirst = (ids: readonly JobId[]): JobId[] => [...new Set(ids)].sort().reverse();

function matches(job: Job, filter: HistoryFilter): boolean {
  return (
    (!filter.status || job.status === filter.status) &&
    (!filter.type || job.type === filter.type) &&
    (!filter.workspaceId || job.workspaceId === filter.workspaceId) &&
    (!filter.q || job.command.toLowerCase().includes(filter.q.toLowerCase()))
  );
}

export const jobHistory = new JobHistoryState();
