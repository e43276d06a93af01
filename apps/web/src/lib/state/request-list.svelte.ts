import { goto } from '$app/navigation';
import { page } from '$app/state';
import { BatchId, JobStatus, type Job, type RequestId, type SimulationRequest } from '@vmo/contract';
import { SvelteMap } from 'svelte/reactivity';
import { api, connection } from './api.ts';
import { createNewest } from './newest.ts';
import { requestOf } from './request-of.ts';
import { RowSelection } from './row-selection.svelte.ts';
import { asError } from './session.svelte.ts';

const pageSize = 100;
/** Pages overlap by this much: rows that were deleted meanwhile moved those behind them up. */
const overlap = 10;
/** The address and the list follow what is typed after this pause, in milliseconds. */
const typingMs = 250;
/** Many requests change at once: they are read again at most this often, in milliseconds. */
const readPause = 400;

export interface RequestQuery {
  text: string;
  vmName: string;
  status: JobStatus | null;
  batch: BatchId | null;
}

/** The requests that a filter lets through: newest first, live, and still while somebody reads further down. */
export class RequestList {
  text = $state('');
  vmName = $state('');
  status: JobStatus | null = $state(null);
  batch: BatchId | null = $state(null);
  /** Rows in their order. A row that no longer fits keeps its place until something is asked anew. */
  order: readonly RequestId[] = $state.raw([]);
  /** New ones that wait for the reader to come back to the top. */
  held: readonly RequestId[] = $state.raw([]);
  total = $state(0);
  loaded = $state(false);
  loadingMore = $state(false);
  error: Error | null = $state.raw(null);
  readonly rows = new RowSelection<RequestId>(() => this.order);
  readonly #byId = new SvelteMap<RequestId, SimulationRequest>();
  #atTop = true;
  /** Of lists: another filter is another one. */
  #round = 0;
  readonly #newest = createNewest();
  #typing: ReturnType<typeof setTimeout> | undefined;
  /** Addresses on their way into the router. */
  #going = 0;
  #reading: ReturnType<typeof setTimeout> | undefined;

  constructor(search: Pick<URLSearchParams, 'get'>) {
    this.#take(search);
  }

  #take(search: Pick<URLSearchParams, 'get'>): void {
    this.text = search.get('q')?.slice(0, 200) ?? '';
    this.vmName = search.get('vm')?.slice(0, 128) ?? '';
    this.status = JobStatus.safeParse(search.get('status')).data ?? null;
    this.batch = BatchId.safeParse(search.get('batch')).data ?? null;
  }

  /** Follows until stopped. */
  start(): () => void {
    const stop = connection.watchJobs(
      (job) => this.#changed(job),
      () => void this.read(),
    );
    void this.read();
    return () => {
      stop();
      clearTimeout(this.#typing);
      clearTimeout(this.#reading);
    };
  }

  get(id: RequestId): SimulationRequest | undefined {
    return this.#byId.get(id);
  }

  get isFiltered(): boolean {
    return (
      this.text.trim() !== '' || this.vmName.trim() !== '' || this.status !== null || this.batch !== null
    );
  }

  get hasMore(): boolean {
    return this.order.length + this.held.length < this.total;
  }

  /** The address was changed by a link, or by going back. */
  navigated(search: Pick<URLSearchParams, 'get' | 'toString'>): void {
    // What was typed since is newer than the address that is on its way.
    if (this.#going > 0 || this.#typing !== undefined) return;
    if (search.toString() === this.#params().toString()) return;
    this.#take(search);
    void this.restart();
  }

  /** Another filter: another list. */
  ask(change: Partial<RequestQuery>): void {
    if (change.text !== undefined) this.text = change.text;
    if (change.vmName !== undefined) this.vmName = change.vmName;
    if (change.status !== undefined) this.status = change.status;
    if (change.batch !== undefined) this.batch = change.batch;
    const typed = change.text !== undefined || change.vmName !== undefined;
    clearTimeout(this.#typing);
    this.#typing = setTimeout(
      () => {
        this.#typing = undefined;
        this.#tell();
        void this.restart();
      },
      typed ? typingMs : 0,
    );
  }

  clear(): void {
    this.ask({ text: '', vmName: '', status: null, batch: null });
  }

  async restart(): Promise<void> {
    this.loaded = false;
    this.held = [];
    this.order = [];
    this.#round += 1;
    this.#newest.forget();
    await this.read();
  }

  /** Reads what is shown again, from the top; what was read further down stays. */
  async read(): Promise<void> {
    clearTimeout(this.#reading);
    this.#reading = undefined;
    const isNews = this.#newest.ask();
    try {
      const answer = await api.call('listRequests', { query: { ...this.#query(), limit: pageSize } });
      if (!isNews()) return;
      this.total = answer.total;
      this.#put(answer.requests);
      this.#merge(answer.requests.map(({ uuid }) => uuid));
      this.error = null;
    } catch (error) {
      if (!isNews()) return;
      this.error = asError(error);
    }
    this.loaded = true;
  }

  /** The next rows further down. */
  async readMore(): Promise<void> {
    if (this.loadingMore || !this.hasMore) return;
    this.loadingMore = true;
    const round = this.#round;
    try {
      const offset = Math.max(0, this.order.length + this.held.length - overlap);
      const answer = await api.call('listRequests', {
        query: { ...this.#query(), limit: pageSize + overlap, offset },
      });
      if (round === this.#round) {
        this.total = answer.total;
        this.#put(answer.requests);
        const last = this.order.at(-1);
        const older = answer.requests.map(({ uuid }) => uuid).filter((id) => !last || id < last);
        this.order = [...this.order, ...older];
        if (older.length === 0) this.total = this.order.length + this.held.length;
      }
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
    this.loadingMore = false;
  }

  setAtTop(atTop: boolean): void {
    this.#atTop = atTop;
    if (atTop && this.held.length > 0) this.showHeld();
  }

  showHeld(): void {
    this.order = [...this.held, ...this.order];
    this.held = [];
  }

  /** Rows in sight that the status asked for no longer lets through. */
  unfit(shown: readonly SimulationRequest[]): number {
    return this.status === null ? 0 : shown.filter(({ status }) => status !== this.status).length;
  }

  #put(requests: readonly SimulationRequest[]): void {
    for (const request of requests) this.#byId.set(request.uuid, request);
  }

  /** The first page as it is now, into what is shown. */
  #merge(ids: readonly RequestId[]): void {
    const [newest] = this.order;
    if (newest === undefined) {
      this.order = ids;
      return;
    }
    const fresh = ids.filter((id) => id > newest);
    // All of the page is new: what lies between it and the rows shown is not known.
    if (fresh.length === ids.length && ids.length === pageSize) {
      this.order = ids;
      this.held = [];
      return;
    }
    if (this.#atTop) this.order = [...fresh, ...this.order];
    else this.held = fresh;
  }

  #changed(job: Job): void {
    if (!requestOf(job)) return;
    const known = this.#byId.get(job.id);
    // At once what the job tells; its commands and stages come with the reading.
    if (known)
      this.#byId.set(job.id, {
        ...known,
        status: job.status,
        message: job.reason,
        exit_code: job.exitCode,
        agent: job.agent,
        cancel_requested: job.cancelRequested,
        timeline: { ...known.timeline, finished_at: job.finishedAt },
      });
    this.#reading ??= setTimeout(() => void this.read(), readPause);
  }

  #query() {
    const vm = this.vmName.trim();
    const text = this.text.trim();
    return {
      ...(this.status ? { status: this.status } : {}),
      ...(this.batch ? { batch: this.batch } : {}),
      ...(vm ? { vm_name: vm } : {}),
      ...(text ? { text } : {}),
    };
  }

  #params(): URLSearchParams {
    const params = new URLSearchParams();
    if (this.text.trim()) params.set('q', this.text.trim());
    if (this.vmName.trim()) params.set('vm', this.vmName.trim());
    if (this.status) params.set('status', this.status);
    if (this.batch) params.set('batch', this.batch);
    const shape = page.url.searchParams.get('view');
    if (this.batch && shape) params.set('view', shape);
    return params;
  }

  #tell(): void {
    if (page.url.pathname !== '/requests') return;
    const search = this.#params().toString();
    this.#going++;
    const arrived = (): void => void this.#going--;
    goto(search ? `/requests?${search}` : '/requests', { replace: true, reset: false }).then(
      arrived,
      arrived,
    );
  }
}
