import { goto } from '$app/navigation';
import { page } from '$app/state';
import { JobId, JobStatus, JobType, WorkspaceId, type JobFilter } from '@vmo/contract';

export type HistoryFilter = Pick<JobFilter, 'status' | 'type' | 'workspaceId' | 'q'>;

function address(search: string): string {
  return search ? `/?${search}` : '/';
}

const isJobsPage = (pathname: string): boolean => pathname === '/';

/**
 * The view is the address: open tabs, the job shown, its line, the filters of the history. What a person does is shown at
 * once, and the address follows: the router takes its time.
 */
class View {
  /** The part of the address that the jobs page made, also while another page is shown. */
  #search = $state(isJobsPage(location.pathname) ? location.search.slice(1) : '');
  /** Addresses on their way into the router. */
  #going = 0;

  get #params(): Pick<URLSearchParams, 'get' | 'toString'> {
    return new URLSearchParams(this.#search);
  }

  /** The way back to the jobs page as it was. */
  get jobsHref(): string {
    return address(this.#changed({}));
  }

  tabs: JobId[] = $derived.by(() => {
    const ids = (this.#params.get('tabs') ?? '').split(',').map((id) => JobId.safeParse(id).data);
    const known = ids.filter((id) => id !== undefined);
    const shown = this.job;
    return [...new Set(shown && !known.includes(shown) ? [...known, shown] : known)];
  });

  get job(): JobId | undefined {
    return JobId.safeParse(this.#params.get('job')).data;
  }

  get line(): number | undefined {
    const line = Number(this.#params.get('line'));
    return Number.isInteger(line) && line > 0 ? line : undefined;
  }

  filter: HistoryFilter = $derived.by(() => {
    const filter: HistoryFilter = {};
    const status = JobStatus.safeParse(this.#params.get('status')).data;
    const type = JobType.safeParse(this.#params.get('type')).data;
    const workspaceId = WorkspaceId.safeParse(this.#params.get('workspace')).data;
    const q = this.#params.get('q')?.slice(0, 200);
    if (status) filter.status = status;
    if (type) filter.type = type;
    if (workspaceId) filter.workspaceId = workspaceId;
    if (q) filter.q = q;
    return filter;
  });

  open(id: JobId): void {
    if (id === this.job && isJobsPage(page.url.pathname)) return;
    this.#go(this.#opened(id), 'push');
  }

  /** The address of this view with that job in front, for real links. */
  hrefOf(id: JobId): string {
    return address(this.#changed(this.#opened(id)));
  }

  #opened(id: JobId): Record<string, string | null> {
    return { tabs: [...new Set([...this.tabs, id])].join(','), job: id, line: null };
  }

  close(id: JobId): void {
    const at = this.tabs.indexOf(id);
    const left = this.tabs.filter((tab) => tab !== id);
    const job = this.job === id ? (left[Math.min(at, left.length - 1)] ?? null) : (this.job ?? null);
    this.#go({ tabs: left.join(',') || null, job, ...(this.job === id ? { line: null } : {}) }, 'push');
  }

  closeOthers(id: JobId): void {
    this.#go({ tabs: id, job: id, ...(this.job === id ? {} : { line: null }) }, 'push');
  }

  /** The neighbour of the tab shown; wraps around. */
  step(by: 1 | -1): void {
    const at = this.job ? this.tabs.indexOf(this.job) : 0;
    const next = this.tabs[(at + by + this.tabs.length) % this.tabs.length];
    if (next && next !== this.job) this.open(next);
  }

  setLine(line: number | null): void {
    if ((this.line ?? null) !== line) this.#go({ line: line === null ? null : String(line) }, 'replace');
  }

  setFilter(change: Partial<Record<'status' | 'type' | 'workspace' | 'q', string | null>>): void {
    this.#go(change, 'replace');
  }

  #changed(change: Record<string, string | null>): string {
    const params = new URLSearchParams(this.#params.toString());
    for (const [key, value] of Object.entries(change)) {
      if (value) params.set(key, value);
      else params.delete(key);
    }
    // Commas stay commas: the address is read and shared by people.
    return params.toString().replaceAll('%2C', ',');
  }

  #go(change: Record<string, string | null>, how: 'push' | 'replace'): void {
    this.#search = this.#changed(change);
    const replace = how === 'replace' && isJobsPage(page.url.pathname);
    this.#going++;
    const arrived = (): void => void this.#going--;
    goto(address(this.#search), { replace, reset: false }).then(arrived, arrived);
  }

  /** The router has arrived somewhere: by a link, or back and forth. */
  navigated(): void {
    if (this.#going === 0 && isJobsPage(page.url.pathname)) this.#search = page.url.search.slice(1);
  }
}

export const view = new View();
