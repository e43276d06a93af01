import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { LogStream } from '@vmo/contract';
import type { StoredEvent } from '../log-repository.ts';
import type { Page, Reply, Task } from './messages.ts';

/** Pages are garbage at once: a small nursery keeps the thread small. */
const youngMb = 4;

const thread = join(import.meta.dirname, 'thread.ts');

/** A page was not done in time: the thread has been ended. */
export class ScanTimeoutError extends Error {
  constructor(patienceMs: number) {
    super(`looking through one page of the log took more than ${String(patienceMs)} ms`);
    this.name = 'ScanTimeoutError';
  }
}

/**
 * A look through a log, or through several, in a thread of its own: neither a big log nor a bad pattern can hold up the server. Close it.
 */
export class Scan implements Disposable {
  readonly #worker: Worker;
  /** Its start is not counted: on a busy machine it can take as long as a bad pattern. */
  readonly #ready: Promise<unknown>;
  readonly #patienceMs: number;

  constructor(task: Task, patienceMs: number) {
    this.#worker = new Worker(thread, {
      workerData: task,
      resourceLimits: { maxYoungGenerationSizeMb: youngMb },
    });
    this.#worker.unref();
    this.#ready = once(this.#worker, 'message');
    this.#ready.catch(() => undefined);
    this.#patienceMs = patienceMs;
  }

  /** One call at a time. @param last with the last page of the log */
  async look(jobId: string, events: readonly StoredEvent[], last: Page['last']): Promise<Reply> {
    await this.#ready;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const timer = setTimeout(() => {
      reject(new ScanTimeoutError(this.#patienceMs));
    }, this.#patienceMs);
    const onExit = () => {
      reject(new Error('the thread that looks through the log has ended'));
    };
    this.#worker.once('message', resolve).once('error', reject).once('exit', onExit);
    try {
      const page = toPage(jobId, events, last);
      this.#worker.postMessage(page, [page.bytes.buffer as ArrayBuffer]);
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#worker.off('message', resolve).off('error', reject).off('exit', onExit);
    }
  }

  [Symbol.dispose](): void {
    void this.#worker.terminate();
  }
}

function toPage(jobId: string, events: readonly StoredEvent[], last: Page['last']): Page {
  // Of its own, not from the pool: it is handed over to the thread whole.
  const bytes = Buffer.allocUnsafeSlow(events.reduce((size, { chunk }) => size + chunk.length, 0));
  let at = 0;
  for (const { chunk } of events) at += chunk.copy(bytes, at);
  return {
    jobId,
    bytes,
    events: events.map(({ seq, stream, codec, chunk, lines_before: before, continues }) => ({
      seq,
      stream: LogStream.options.findIndex((name) => name === stream),
      isSystem: stream === 'system',
      codec,
      length: chunk.length,
      linesBefore: before.reduce((sum, count) => sum + count, 0),
      continues,
    })),
    last,
  };
}
