import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { LogStream } from '@vmo/contract';
import type { StoredEvent } from '../log-repository.ts';
import type { Order, Page, Reply, Task } from './messages.ts';

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

/** An idle thread is kept for this long: its start takes longer than many a search. */
const idleMs = 30_000;

interface Thread {
  worker: Worker;
  /** Its start is not counted: on a busy machine it can take as long as a bad pattern. */
  ready: Promise<unknown>;
}

function startThread(): Thread {
  const worker = new Worker(thread, { resourceLimits: { maxYoungGenerationSizeMb: youngMb } });
  worker.unref();
  // Also while nobody waits for an answer; its exit follows.
  worker.on('error', () => undefined);
  const ready = once(worker, 'message');
  ready.catch(() => undefined);
  return { worker, ready };
}

/** Threads that look through logs. One that has nothing to do waits a while for the next search: who searches, searches again. */
export class ScanThreads {
  #idle: { thread: Thread; timer: NodeJS.Timeout } | null = null;
  #stopped = false;

  /** @param patienceMs for each page */
  open(task: Task, patienceMs: number): Scan {
    const thread = this.#takeIdle() ?? startThread();
    return new Scan(thread, task, patienceMs, () => {
      this.#keep(thread);
    });
  }

  #takeIdle(): Thread | null {
    const idle = this.#idle;
    this.#idle = null;
    if (idle) clearTimeout(idle.timer);
    return idle?.thread ?? null;
  }

  #keep(thread: Thread): void {
    if (this.#idle || this.#stopped) {
      void thread.worker.terminate();
      return;
    }
    const timer = setTimeout(() => void this.#takeIdle()?.worker.terminate(), idleMs);
    timer.unref();
    this.#idle = { thread, timer };
    // One that dies while it waits is not given to anybody.
    thread.worker.once('exit', () => {
      if (this.#idle?.thread === thread) this.#takeIdle();
    });
  }

  stop(): void {
    this.#stopped = true;
    void this.#takeIdle()?.worker.terminate();
  }
}

/**
 * A look through a log, or through several, in a thread of its own: neither a big log nor a bad pattern can hold up the
 * server. Close it.
 */
export class Scan implements Disposable {
  readonly #thread: Thread;
  readonly #patienceMs: number;
  readonly #giveBack: () => void;
  /** In the middle of a page, or ended by one: its thread is of no use to anybody else. */
  #isSound = true;

  constructor(thread: Thread, task: Task, patienceMs: number, giveBack: () => void) {
    this.#thread = thread;
    this.#patienceMs = patienceMs;
    this.#giveBack = giveBack;
    this.#tell({ kind: 'task', task });
  }

  #tell(order: Order, transfer: ArrayBuffer[] = []): void {
    this.#thread.worker.postMessage(order, transfer);
  }

  /** One call at a time. @param last with the last page of the log */
  async look(jobId: string, events: readonly StoredEvent[], last: Page['last']): Promise<Reply> {
    return this.#send(toPage(jobId, events, last));
  }

  /** What comes in front of the first page, of a stream whose line goes on in there. One call at a time. */
  async lookBefore(jobId: string, events: readonly StoredEvent[]): Promise<void> {
    await this.#send({ ...toPage(jobId, events, null), isBefore: true });
  }

  async #send(page: Page): Promise<Reply> {
    const { worker, ready } = this.#thread;
    this.#isSound = false;
    await ready;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const timer = setTimeout(() => {
      reject(new ScanTimeoutError(this.#patienceMs));
    }, this.#patienceMs);
    const onExit = () => {
      reject(new Error('the thread that looks through the log has ended'));
    };
    worker.once('message', resolve).once('error', reject).once('exit', onExit);
    try {
      this.#tell({ kind: 'page', page }, [page.bytes.buffer as ArrayBuffer]);
      const reply = await promise;
      this.#isSound = true;
      return reply;
    } finally {
      clearTimeout(timer);
      worker.off('message', resolve).off('error', reject).off('exit', onExit);
    }
  }

  [Symbol.dispose](): void {
    if (this.#isSound) this.#giveBack();
    else void this.#thread.worker.terminate();
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
    isBefore: false,
    last,
  };
}
