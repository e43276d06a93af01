import { goto } from '$app/navigation';
import { page } from '$app/state';
import {
  allowedRequestChanges,
  CodedError,
  isFinal,
  type Job,
  type JobStatus,
  type RequestId,
} from '@vmo/contract';
import type { SimulationRequest } from '@vmo/contract';
import { api, connection } from './api.ts';
import { jobs } from './jobs.svelte.ts';
import { createNewest } from './newest.ts';
import { asError } from './session.svelte.ts';
import { toasts } from './toasts.svelte.ts';

/** Facts come in groups: one reading (after this many milliseconds) answers them all. */
const readPause = 120;
/** A command that begins or ends need not change the job: while the request goes on, or its disk is on its way, it is read this often, in milliseconds. */
const readEvery = 1_500;
/** Lines that say what is run, of all commands. */
const placesRead = 2_000;

/** One request in a page: what it is, how far it has come, what is done with it. */
export class OpenRequest {
  readonly id: RequestId;
  request: SimulationRequest | null = $state.raw(null);
  /** Why it cannot be shown, or shown anew. */
  error: Error | null = $state.raw(null);
  deleted = $state(false);
  busy = $state(false);
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #newest = createNewest();

  constructor(id: RequestId) {
    this.id = id;
  }

  /** Its row among the jobs, for the log. */
  get job(): Job | undefined {
    return jobs.get(this.id);
  }

  /** Follows the request until stopped. */
  start(): () => void {
    const stop = connection.watchJobs(
      (job) => {
        if (job.id === this.id) this.#readSoon();
      },
      () => this.#readSoon(),
    );
    const timer = setInterval(() => {
      if (!document.hidden && this.#changes) void this.read();
    }, readEvery);
    void this.read();
    void jobs.load(this.id);
    return () => {
      stop();
      clearInterval(timer);
      clearTimeout(this.#timer);
    };
  }

  async read(): Promise<void> {
    const isNews = this.#newest.ask();
    try {
      const request = await api.call('getRequest', { params: { requestId: this.id } });
      if (!isNews()) return;
      this.request = request;
      this.error = null;
    } catch (error) {
      if (!isNews()) return;
      if (error instanceof CodedError && error.code === 'REQUEST_NOT_FOUND' && this.request)
        this.deleted = true;
      else this.error = asError(error);
    }
  }

  /** Without its job telling of it. */
  get #changes(): boolean {
    const { request } = this;
    if (!request) return false;
    const isComing = request.bringing !== null && !['failed', 'here'].includes(request.bringing.state);
    return isComing || !isFinal(request.status);
  }

  can(status: JobStatus): boolean {
    const { request } = this;
    if (!request || (status === 'cancelled' && request.cancel_requested)) return false;
    return allowedRequestChanges[request.status].includes(status);
  }

  get isOver(): boolean {
    return this.request !== null && isFinal(this.request.status);
  }

  async cancel(): Promise<void> {
    await this.#change('cancelled', 'The request could not be cancelled');
  }

  /** Keeps it from being run, or lets it. */
  async holdOrRelease(): Promise<void> {
    if (this.can('hold')) await this.#change('hold', 'The request could not be held');
    else if (this.can('pending')) await this.#change('pending', 'The request could not be released');
  }

  async #change(status: JobStatus, failed: string): Promise<void> {
    await this.#do(failed, async () => {
      await api.call('changeRequestStatus', { params: { requestId: this.id }, body: { status } });
      await this.read();
    });
  }

  /** The same again, as a new request, which is shown. */
  async rerun(): Promise<void> {
    await this.#do('The request was not submitted again', async () => {
      const { uuid } = await api.call('rerunRequest', { params: { requestId: this.id } });
      await goto(`/requests/${uuid}`);
    });
  }

  /** The machine of the disk that it left, which is shown with its console. */
  async openMachine(): Promise<void> {
    await this.#do('The machine was not opened', async () => {
      const { vm } = await api.call('openRequest', { params: { requestId: this.id } });
      await goto(`/vms/${vm.id}?tab=console`);
    });
    // What it was refused for changes what is offered.
    if (page.url.pathname === `/requests/${this.id}`) await this.read();
  }

  /** Its disk comes from the machine of its agent. */
  async bring(): Promise<void> {
    await this.#do('The disk was not asked for', async () => {
      this.request = await api.call('bringRequest', { params: { requestId: this.id } });
    });
  }

  /** A machine can be made of what it left, or has been. */
  get canOpen(): boolean {
    const { request } = this;
    return request !== null && (request.opened_vm !== null || request.cannot_open === null);
  }

  async remove(): Promise<void> {
    await this.#do('The request was not deleted', async () => {
      await api.call('deleteRequest', { params: { requestId: this.id } });
      toasts.info('The request is deleted, with its log');
      await goto('/requests');
    });
  }

  /** Shows in the log where a command begins. */
  async showCommand(index: number): Promise<void> {
    await this.#do('The place was not found', async () => {
      const { lines } = await api.call('listLines', {
        params: { jobId: this.id },
        query: { streams: 'command', limit: placesRead, lineBytes: 16 },
      });
      // As a shell shows it: `$ ` before the first line of each, `> ` before its further ones.
      const line = lines.filter(({ text }) => text.startsWith('$ '))[index];
      if (line) this.setLine(line.number);
      else toasts.info('Its place is not in the log', 'The older part of this log may have been removed.');
    });
  }

  setLine(line: number | null): void {
    const params = new URLSearchParams(page.url.search);
    if (line === null) params.delete('line');
    else {
      params.set('line', String(line));
      params.set('show', 'log');
    }
    const search = params.toString();
    void goto(search ? `${page.url.pathname}?${search}` : page.url.pathname, { replace: true, reset: false });
  }

  async #do(failed: string, act: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      await act();
    } catch (error) {
      toasts.error(failed, error);
    } finally {
      this.busy = false;
    }
  }

  #readSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.read(), readPause);
  }
}

/** What of requests is shown: what keys and the palette act on. */
class RequestsPage {
  /** The dialog for a new request is open. */
  creating = $state(false);
  current: OpenRequest | null = $state.raw(null);
}

export const requestsPage = new RequestsPage();
