import {
  CodedError,
  isFinal,
  type Job,
  type JobDone,
  type JobEvent,
  type JobId,
  type JobSkipped,
  type TerminalScreen,
} from '@vmo/contract';
import type { JobsConnection } from './connection.ts';
import { isPassing } from './unreachable.ts';

export interface FollowOptions {
  jobId: JobId;
  /** The last event that the caller has already; default 0: from the beginning. */
  afterSeq?: number;
  /** Instead of `afterSeq`: begin with about so much of the newest output; `onSubscribed` says what was left out. */
  newestBytes?: number;
  /** Terminal jobs: begin, and begin again after every reconnect, with the screen as it is. */
  screen?: boolean;
  /**
   * Events in order of seq, each exactly once. What it returns is awaited before the next call, and only then are
   * the events acknowledged: a slow reader slows nobody but itself.
   */
  onEvents: (events: readonly JobEvent[]) => void | Promise<void>;
  /** The end, once, after the last event was processed. */
  onDone?: (done: JobDone) => void;
  onStatus?: (job: Job) => void;
  /**
   * Events that the server left out because this reader fell behind; they can be fetched (`listEvents`). Comes in
   * order with onEvents. Without it they are asked for again, and nothing is missing.
   */
  onSkipped?: (skipped: JobSkipped) => void;
  /** Every successful subscription: the first and one per reconnect. `screen` replaces all that was drawn before. */
  onSubscribed?: (answer: {
    job: Job;
    lastSeq: number;
    /** With `newestBytes`: up to this event the log was left out; 0: nothing was. */
    leftOut: number;
    screen: TerminalScreen | null;
    inControl: boolean;
  }) => void;
  /** Terminal jobs: whether this connection may type. */
  onControl?: (inControl: boolean) => void;
  /** Terminal jobs: whoever is in control gave the terminal this size. */
  onResized?: (size: { cols: number; rows: number }) => void;
  /** The subscription was refused (unknown job, no permission), or onEvents threw. Following has ended. */
  onError?: (error: unknown) => void;
}

export interface JobSubscription {
  readonly jobId: JobId;
  /** The last event that was handed over and processed. */
  readonly lastSeq: number;
  close(): void;
}

/**
 * How much is processed before an acknowledgement is sent. Far below the 1 MB that the server lets a browser owe,
 * so that a reader which keeps up is never taken for one that fell behind.
 */
const ackEveryCharacters = 64 * 1024;
const ackAfterMs = 100;

type Item = { kind: 'event'; event: JobEvent } | { kind: 'skipped'; skipped: JobSkipped };

/** Follows one job over one connection. Use {@link JobsConnection.followJob}. */
export function createFollower(
  connection: JobsConnection,
  options: FollowOptions,
  onClose: () => void,
): JobSubscription {
  const { jobId } = options;
  /** The last event taken from the wire (maybe still queued); the next one must be its successor. */
  let received = options.afterSeq ?? 0;
  let { newestBytes } = options;
  let leftOut = 0;
  /** What is drawn began with a screen: output that is missing behind it cannot be passed over. */
  let hasScreen = false;
  let processed = received;
  let acknowledged = received;
  let unacknowledgedCharacters = 0;
  let queue: Item[] = [];
  /**
   * What arrives while a subscription is under way waits for its answer: only that says where a screen ends, and
   * whether something that seems to be missing still belongs to the subscription before.
   */
  let held: (() => void)[] | null = null;
  /** What waited is taken, and nothing of it has fitted yet: it was sent for an older subscription, and comes again. */
  let isStale = false;
  let end: JobDone | null = null;
  /** The end as the row of a finished job tells it: reached when everything up to `seq` is processed. */
  let endAt: { seq: number; done: JobDone } | null = null;
  let ended = false;
  let closed = false;
  let draining = false;
  /** Counts subscriptions, so that the answer to an older one is recognised. */
  let round = 0;
  let gapAt = -1;
  let ackTimer: ReturnType<typeof setTimeout> | undefined;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;

  const isLive = (): boolean => connection.state.phase === 'live';
  /** Asked after every wait: closed meanwhile, or overtaken by a younger subscription. */
  const isOver = (mine: number): boolean => closed || mine !== round;

  async function subscribe(): Promise<void> {
    if (closed || !isLive()) return;
    const mine = ++round;
    held = [];
    try {
      // Once it has begun it goes on from what it has.
      const from = newestBytes === undefined ? { afterSeq: received } : { newestBytes };
      const answer = await connection.command('job:subscribe', {
        ...{ jobId, ...from },
        ...(options.screen ? { screen: true } : {}),
      });
      if (isOver(mine)) return;
      const screen = answer.screen ?? null;
      if (answer.afterSeq !== undefined) {
        newestBytes = undefined;
        leftOut = received = processed = acknowledged = answer.afterSeq;
      }
      hasScreen = screen !== null;
      if (screen) {
        queue = [];
        received = processed = acknowledged = answer.lastSeq;
      }
      options.onSubscribed?.({
        job: answer.job,
        lastSeq: answer.lastSeq,
        leftOut,
        screen,
        inControl: answer.inControl ?? false,
      });
      noteRow(answer.job, answer.lastSeq);
      release();
      settle();
    } catch (error) {
      if (isOver(mine)) return;
      held = null;
      if (error instanceof CodedError && !isPassing(error)) fail(error);
      // No answer: the connection went away, and its return subscribes again; or the server is slow, or without its
      // database.
      else if (isLive()) retry();
    }
  }

  function release(): void {
    const waiting = held ?? [];
    held = null;
    isStale = true;
    for (const act of waiting) whenSubscribed(act);
    isStale = false;
  }

  function whenSubscribed(act: () => void): void {
    if (held) held.push(act);
    else act();
  }

  function retry(): void {
    clearTimeout(retryTimer);
    retryTimer = setTimeout(() => void subscribe(), 1000);
  }

  function take(event: JobEvent): void {
    if (event.seq <= received) return; // a repeat
    if (event.seq > received + 1) {
      if (!isStale) askAgain();
      return;
    }
    isStale = false;
    received = event.seq;
    queue.push({ kind: 'event', event });
    void drain();
  }

  /** Something between `received` and now is missing. */
  function askAgain(): void {
    // The same gap twice: asking at once would only turn in a circle.
    if (gapAt === received) retry();
    else void subscribe();
    gapAt = received;
  }

  function skip(skipped: JobSkipped): void {
    if (skipped.toSeq <= received) return;
    const comesAgain = skipped.expired ? hasScreen : !options.onSkipped;
    if (skipped.fromSeq > received + 1 || comesAgain) {
      askAgain();
      return;
    }
    queue.push({ kind: 'skipped', skipped: { ...skipped, fromSeq: received + 1 } });
    received = skipped.toSeq;
    void drain();
  }

  async function drain(): Promise<void> {
    if (draining) return;
    draining = true;
    try {
      while (queue.length > 0 && !closed) {
        const batch = queue;
        queue = [];
        await deliver(batch);
      }
    } catch (error) {
      fail(error);
    } finally {
      draining = false;
    }
    settle();
  }

  async function deliver(batch: Item[]): Promise<void> {
    let events: JobEvent[] = [];
    for (const item of batch) {
      if (item.kind === 'event') events.push(item.event);
      else {
        if (events.length > 0) await hand(events);
        events = [];
        options.onSkipped?.(item.skipped);
        processed = item.skipped.toSeq;
        acknowledge(ackEveryCharacters);
      }
    }
    if (events.length > 0) await hand(events);
  }

  async function hand(events: JobEvent[]): Promise<void> {
    const mine = round;
    await options.onEvents(events);
    // A screen that arrived meanwhile has moved everything past these events.
    if (closed || (options.screen && mine !== round)) return;
    processed = events.at(-1)?.seq ?? processed;
    acknowledge(events.reduce((sum, event) => sum + event.chunk.length, 0));
  }

  function acknowledge(characters: number): void {
    unacknowledgedCharacters += characters;
    if (unacknowledgedCharacters >= ackEveryCharacters) sendAck();
    else ackTimer ??= setTimeout(sendAck, ackAfterMs);
  }

  function sendAck(): void {
    clearTimeout(ackTimer);
    ackTimer = undefined;
    if (closed || processed <= acknowledged || connection.state.phase !== 'live') return;
    acknowledged = processed;
    unacknowledgedCharacters = 0;
    // A lost acknowledgement is made up for by the next one, or by the subscription after a reconnect.
    connection.command('job:ack', { jobId, seq: processed }).catch(() => undefined);
  }

  /** A final row says where the log ends, so the end is known even when `job:done` was sent to an older connection. */
  function noteRow(job: Job, lastSeq: number): void {
    if (!isFinal(job.status)) return;
    const done = { jobId, status: job.status, exitCode: job.exitCode, signal: job.signal };
    endAt = { seq: lastSeq, done };
  }

  function finish(done: JobDone): void {
    // Something before the end is still missing: the subscription that brings it brings another end.
    if (gapAt === received) return;
    end ??= done;
    settle();
  }

  function settle(): void {
    const done = end ?? (endAt && received >= endAt.seq ? endAt.done : null);
    if (closed || ended || !done || draining || queue.length > 0) return;
    ended = true;
    sendAck();
    options.onDone?.(done);
  }

  function fail(error: unknown): void {
    if (closed) return;
    subscription.close();
    options.onError?.(error);
  }

  const stops = [
    connection.onState(({ phase }) => {
      if (phase === 'live' && !ended) {
        gapAt = -1;
        void subscribe();
      }
    }),
    connection.on('job:log', (event) => {
      if (event.jobId === jobId) whenSubscribed(() => take(event));
    }),
    connection.on('job:skipped', (skipped) => {
      if (skipped.jobId === jobId) whenSubscribed(() => skip(skipped));
    }),
    connection.on('job:done', (done) => {
      if (done.jobId === jobId) whenSubscribed(() => finish(done));
    }),
    connection.on('job:status', (job) => {
      // The row in an answer that is under way may be older than this one: it must not be taken for the newer.
      if (job.id === jobId) whenSubscribed(() => options.onStatus?.(job));
    }),
    connection.on('job:control', (control) => {
      if (control.jobId === jobId) whenSubscribed(() => options.onControl?.(control.inControl));
    }),
    connection.on('job:resized', ({ jobId: resized, cols, rows }) => {
      if (resized === jobId) whenSubscribed(() => options.onResized?.({ cols, rows }));
    }),
  ];

  const subscription: JobSubscription = {
    jobId,
    get lastSeq() {
      return processed;
    },
    close() {
      if (closed) return;
      sendAck();
      closed = true;
      queue = [];
      clearTimeout(ackTimer);
      clearTimeout(retryTimer);
      for (const stop of stops) stop();
      onClose();
    },
  };
  return subscription;
}
