import { maxBatchSize, type BatchId, type Job, type RequestId, type SimulationRequest } from '@vmo/contract';
import { commandsLine } from '../request-words.ts';
import { api, connection } from './api.ts';
import { createNewest } from './newest.ts';
import { asError } from './session.svelte.ts';

/** Many of a batch change at once: it is read again at most this often, in milliseconds. */
const readPause = 500;

export interface Matrix {
  /** Each is the commands of a request, in one line. */
  columns: readonly string[];
  rows: readonly { vmName: string; cells: readonly (SimulationRequest | null)[] }[];
}

/** All requests of a batch, live. */
export class RequestBatch {
  readonly id: BatchId;
  /** In the order in which they were submitted. */
  list: readonly SimulationRequest[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #newest = createNewest();
  #ids = new Set<RequestId>();

  constructor(id: BatchId) {
    this.id = id;
  }

  start(): () => void {
    void this.read();
    const stop = connection.watchJobs(
      (job) => this.#changed(job),
      () => this.#readSoon(),
    );
    return () => {
      stop();
      clearTimeout(this.#timer);
    };
  }

  async read(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const isNews = this.#newest.ask();
    try {
      const { requests } = await api.call('listRequests', { query: { batch: this.id, limit: maxBatchSize } });
      if (!isNews()) return;
      this.list = requests.toReversed();
      this.#ids = new Set(requests.map(({ uuid }) => uuid));
      this.error = null;
    } catch (error) {
      if (!isNews()) return;
      this.error = asError(error);
    }
    this.loaded = true;
  }

  /** Machines × commands. */
  readonly matrix: Matrix = $derived.by(() => {
    const columns = [...new Set(this.list.map(({ commands }) => commandsLine(commands)))];
    const byVm = new Map<string, Map<string, SimulationRequest>>();
    for (const request of this.list) {
      const row = byVm.get(request.vm_name) ?? new Map<string, SimulationRequest>();
      row.set(commandsLine(request.commands), request);
      byVm.set(request.vm_name, row);
    }
    const rows = [...byVm].map(([vmName, cells]) => ({
      vmName,
      cells: columns.map((column) => cells.get(column) ?? null),
    }));
    return { columns, rows };
  });

  #changed(job: Job): void {
    // Before they are known, any may be one of them, and newer than the answer that is on its way.
    if (this.loaded && !this.#ids.has(job.id)) return;
    this.list = this.list.map((one) =>
      one.uuid === job.id
        ? { ...one, status: job.status, message: job.reason, exit_code: job.exitCode }
        : one,
    );
    this.#readSoon();
  }

  #readSoon(): void {
    this.#timer ??= setTimeout(() => void this.read(), readPause);
  }
}
