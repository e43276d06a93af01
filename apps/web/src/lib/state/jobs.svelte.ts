import { isFinal, JobId, type Job, type JobStatus, type WorkspaceId } from '@vmo/contract';
import { SvelteMap, SvelteSet } from 'svelte/reactivity';
import { api, connection } from './api.ts';
import { asError } from './session.svelte.ts';
import { toasts } from './toasts.svelte.ts';

const startedHereKey = 'vmo.started-here';

const progress: Readonly<Record<JobStatus, number>> = {
  pending: 0,
  hold: 0,
  acknowledged: 1,
  running: 2,
  done: 3,
  failed: 3,
  cancelled: 3,
  timed_out: 3,
  lost: 3,
};

/** Whether an answer's row may replace the known one: answers can be overtaken by live updates, which come in order. */
function isNewer(known: Job, answer: Job): boolean {
  if (answer.attempt !== known.attempt) return answer.attempt > known.attempt;
  const step = progress[answer.status] - progress[known.status];
  return step > 0 || (step === 0 && answer.lastSeq >= known.lastSeq);
}

/** Every job this page knows of, each once; lists and tabs hold ids only. */
class Jobs {
  #byId = new SvelteMap<JobId, Job>();
  /** Jobs that were started in this browser tab. */
  #startedHere = new SvelteSet<JobId>();
  #missing = new SvelteMap<JobId, Error>();
  #ended = new Set<(job: Job) => void>();

  constructor() {
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(startedHereKey) ?? '[]');
      for (const id of JobId.array().parse(kept)) this.#startedHere.add(id);
    } catch {
      // Not ours or not allowed: then nothing was started here.
    }
  }

  /** Live updates of all jobs, until stopped. */
  start(): () => void {
    return connection.watchJobs(
      (job) => this.putLive(job),
      // Nobody told of what ended before, or came.
      () => [...this.active.map(({ id }) => id), ...this.#missing.keys()].forEach((id) => void this.load(id)),
    );
  }

  get(id: JobId): Job | undefined {
    return this.#byId.get(id);
  }

  /** Why a job that was asked for is not there. */
  missing(id: JobId): Error | undefined {
    return this.#missing.get(id);
  }

  /** A row out of an answer. */
  put(job: Job): void {
    const known = this.#byId.get(job.id);
    if (!known || isNewer(known, job)) this.#set(job, known);
  }

  /** A row as the server announced it. */
  putLive(job: Job): void {
    const known = this.#byId.get(job.id);
    if (!known || !isFinal(known.status)) this.#set(job, known);
  }

  #set(job: Job, known: Job | undefined): void {
    this.#byId.set(job.id, job);
    if (known && !isFinal(known.status) && isFinal(job.status)) for (const tell of this.#ended) tell(job);
  }

  /** Tells of each job that ends while this page watches. */
  onEnded(tell: (job: Job) => void): () => void {
    this.#ended.add(tell);
    return () => void this.#ended.delete(tell);
  }

  /** Makes sure that the row is there, as for a tab that a link named. */
  async load(id: JobId): Promise<void> {
    try {
      const { job } = await api.call('getJob', { params: { jobId: id } });
      this.put(job);
      this.#missing.delete(id);
    } catch (error) {
      this.#missing.set(id, asError(error));
    }
  }

  noteStarted(job: Job): void {
    this.put(job);
    this.#startedHere.add(job.id);
    try {
      sessionStorage.setItem(startedHereKey, JSON.stringify([...this.#startedHere].slice(-50)));
    } catch {
      // Then a reload forgets that they were ours; nothing worse.
    }
  }

  get active(): Job[] {
    return [...this.#byId.values()].filter((job) => !isFinal(job.status));
  }

  /** The job that was started here in this workspace and is still going; an open terminal keeps nobody waiting. */
  busyIn(workspaceId: WorkspaceId): Job | undefined {
    return this.active.find(
      (job) => job.workspaceId === workspaceId && job.type !== 'terminal' && this.#startedHere.has(job.id),
    );
  }

  async cancel(id: JobId): Promise<void> {
    try {
      const { job } = await api.call('cancelJob', { body: { jobId: id } });
      this.put(job);
    } catch (error) {
      toasts.error('The job could not be cancelled', error);
    }
  }

  async rerun(id: JobId): Promise<Job | null> {
    try {
      const { job } = await api.call('rerunJob', { params: { jobId: id } });
      this.noteStarted(job);
      return job;
    } catch (error) {
      toasts.error('The job could not be started again', error);
      return null;
    }
  }
}

export const jobs = new Jobs();
