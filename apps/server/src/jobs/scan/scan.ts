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
/** Searches at once; more wait for their turn. Each takes a thread and its memory. */
const mostSearches = 4;
/** A search whose reader does not read on for this long gives its place to the next one. */
const readerPatienceMs = 30_000;

/** The reader of a search did not read on. */
export class ScanLapsedError extends Error {
  constructor() {
    super('nobody read on for too long: the search has ended');
    this.name = 'ScanLapsedError';
  }
}

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
  #searches = 0;
  readonly #queue: (() => void)[] = [];

  /** @param patienceMs for each page */
  open(task: Task, patienceMs: number): Scan {
    const thread = this.#takeThread();
    return new Scan(thread, task, patienceMs, (isSound) => {
      this.#take(thread, isSound);
    });
  }

  /** As `open`, once it is its turn. Close it: others wait. It closes itself when nobody asks it anything for long. */
  async openInTurn(task: Task, patienceMs: number): Promise<Scan> {
    if (this.#searches < mostSearches) this.#searches++;
    else {
      const turn = Promise.withResolvers<undefined>();
      this.#queue.push(() => {
        turn.resolve(undefined);
      });
      await turn.promise;
    }
    const thread = this.#takeThread();
    const giveBack = (isSound: boolean) => {
      this.#take(thread, isSound);
      // The place goes over to the next one.
      const next = this.#queue.shift();
      if (next) next();
      else this.#searches--;
    };
    return new Scan(thread, task, patienceMs, giveBack, readerPatienceMs);
  }

  #takeThread(): Thread {
    const idle = this.#takeIdle();
    if (idle) return idle;
    const thread = startThread();
    // One that dies while it waits is not given to anybody.
    thread.worker.once('exit', () => {
      if (this.#idle?.thread === thread) this.#takeIdle();
    });
    return thread;
  }

  #take(thread: Thread, isSound: boolean): void {
    if (isSound) this.#keep(thread);
    else void thread.worker.terminate();
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
  readonly #giveBack: (isSound: boolean) => void;
  readonly #lapse: NodeJS.Timeout | null;
  /** In the middle of a page, or ended by one: its thread is of no use to anybody else. */
  #isSound = true;
  #isClosed = false;

  /** @param lapseMs It closes itself when it is asked nothing for so long; absent: never. */
  constructor(
    thread: Thread,
    task: Task,
    patienceMs: number,
    giveBack: (isSound: boolean) => void,
    lapseMs?: number,
  ) {
    this.#thread = thread;
    this.#patienceMs = patienceMs;
    this.#giveBack = giveBack;
    this.#lapse =
      lapseMs === undefined
        ? null
        : setTimeout(() => {
            this.#onQuiet();
          }, lapseMs).unref();
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
    if (this.#isClosed) throw new ScanLapsedError();
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
      this.#lapse?.refresh();
      return reply;
    } finally {
      clearTimeout(timer);
      worker.off('message', resolve).off('error', reject).off('exit', onExit);
    }
  }

  #onQuiet(): void {
    // In the middle of a page it is not the reader who is slow.
    if (this.#isSound) this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#lapse) clearTimeout(this.#lapse);
    this.#giveBack(this.#isSound);
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
