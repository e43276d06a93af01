import {
  isFinal,
  type ClientEvents,
  type Job,
  type JobEvent,
  type JobId,
  type ServerEvents,
} from '@vmo/contract';
import type { Socket } from 'socket.io';
import type { Principal } from '../auth/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { LiveTails } from './live-tails.ts';
import { LogDelivery } from './log-delivery.ts';
import { Outlet } from './outlet.ts';
import type { Typist } from './terminal-control.ts';

export type JobsSocket = Socket<ClientEvents, ServerEvents, Record<string, never>, { principal: Principal }>;

/** Rows that wait for a socket that does not take them; beyond it the oldest is dropped, and polling shows it. */
const maxWaitingRows = 1000;
const rowCost = 1024;

export interface ClientOptions {
  socket: JobsSocket;
  jobs: Jobs;
  tails: LiveTails;
  onError: (error: unknown) => void;
}

/** One connected socket: what it follows, and how fast it takes it. */
export class Client implements Typist {
  readonly socket: JobsSocket;
  readonly principal: Principal;
  watchesAll = false;
  /** Input and resizing of terminals happen in the order in which they came. */
  inputQueue: Promise<unknown> = Promise.resolve();
  readonly #jobs: Jobs;
  readonly #tails: LiveTails;
  readonly #onError: (error: unknown) => void;
  readonly #outlet: Outlet;
  readonly #deliveries = new Map<JobId, LogDelivery>();
  /** The newest row of each job that changed while the socket took nothing. */
  readonly #waitingRows = new Map<JobId, Job>();

  constructor({ socket, jobs, tails, onError }: ClientOptions) {
    this.socket = socket;
    this.principal = socket.data.principal;
    this.#jobs = jobs;
    this.#tails = tails;
    this.#onError = onError;
    this.#outlet = new Outlet(socket.conn);
    this.#outlet.onOpen(() => {
      this.#sendRows();
      for (const delivery of this.#deliveries.values()) delivery.wake();
    });
  }

  follows(jobId: JobId): boolean {
    return this.#deliveries.has(jobId);
  }

  /** Notes facts of this job from now on; nothing is sent before the delivery is started. */
  follow(jobId: JobId): LogDelivery {
    this.unfollow(jobId);
    const delivery = new LogDelivery({
      read: async (afterSeq, limit, maxBytes) =>
        this.#tails.read(jobId, afterSeq, limit, maxBytes) ??
        this.#jobs.readEvents(jobId, afterSeq, limit, maxBytes),
      room: () => this.#outlet.room,
      send: (event) => {
        this.sendEvent(event);
      },
      skip: (range) => this.socket.emit('job:skipped', { jobId, ...range }),
      done: (done) => {
        this.socket.emit('job:done', done);
        this.unfollow(jobId, delivery);
      },
      onError: this.#onError,
    });
    this.#deliveries.set(jobId, delivery);
    this.#tails.hold(jobId);
    return delivery;
  }

  /** Ends a delivery; with `only`, if it is still that one. */
  unfollow(jobId: JobId, only?: LogDelivery): void {
    const delivery = this.#deliveries.get(jobId);
    if (!delivery || (only && delivery !== only)) return;
    delivery.close();
    this.#deliveries.delete(jobId);
    this.#tails.release(jobId);
  }

  acknowledged(jobId: JobId, seq: number): void {
    this.#deliveries.get(jobId)?.acknowledged(seq);
  }

  sendEvent(event: JobEvent): void {
    this.#outlet.account(event.chunk.length);
    this.socket.emit('job:log', event);
  }

  jobAppended(jobId: JobId, events: readonly JobEvent[]): void {
    this.#deliveries.get(jobId)?.appended(events);
  }

  jobChanged(job: Job): void {
    const delivery = this.#deliveries.get(job.id);
    if (!delivery && !this.watchesAll) return;
    this.#waitingRows.delete(job.id);
    this.#waitingRows.set(job.id, job);
    const [oldest] = this.#waitingRows.keys();
    if (this.#waitingRows.size > maxWaitingRows && oldest !== undefined) this.#waitingRows.delete(oldest);
    this.#sendRows();
    if (delivery) tellEnd(delivery, job);
  }

  tellControl(jobId: JobId, inControl: boolean): void {
    this.socket.emit('job:control', { jobId, inControl });
  }

  tellSize(jobId: JobId, cols: number, rows: number): void {
    this.socket.emit('job:resized', { jobId, cols, rows });
  }

  close(): void {
    for (const jobId of [...this.#deliveries.keys()]) this.unfollow(jobId);
    this.#outlet.close();
  }

  #sendRows(): void {
    for (const [jobId, job] of this.#waitingRows) {
      if (!this.#outlet.isOpen) return;
      this.#waitingRows.delete(jobId);
      this.#outlet.account(rowCost + job.command.length);
      this.socket.emit('job:status', job);
    }
  }
}

/** Tells a delivery that its job is final, if it is. */
export function tellEnd(delivery: LogDelivery, job: Job): void {
  if (!isFinal(job.status)) return;
  const { id: jobId, status, exitCode, signal } = job;
  delivery.finished({ jobId, status, exitCode, signal }, job.lastSeq);
}
