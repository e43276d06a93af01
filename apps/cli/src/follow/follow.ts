import { UnreachableError, type JobsConnection } from '@vmo/client';
import type { Job, JobDone, JobId } from '@vmo/contract';
import type { Cli } from '../cli.ts';
import type { Sink } from './sinks.ts';

/** A connection that is away for less is nothing to talk about. */
const quietMs = 1_000;

export interface FollowJobOptions {
  jobId: JobId;
  /** The last event that has been shown; default 0. */
  afterSeq?: number;
  sink: Sink;
  onStatus?: (job: Job) => void;
  /** Nothing more is written before this is over: a question is being asked. */
  gate?: () => Promise<void>;
  /** Seconds for which a server that is away is waited for. */
  patience: number;
  signal?: AbortSignal;
}

/**
 * Shows the log of a job until its end, over restarts of the server and lost connections, without gap or repeat.
 * @throws UnreachableError when the server stays away, CodedError as the server said it
 */
export function followJob(connection: JobsConnection, options: FollowJobOptions): Promise<JobDone> {
  const { jobId, sink, patience } = options;
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = (act: () => void): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
      // The first call of the listener happens inside onState, before `stop` is known.
      queueMicrotask(() => {
        stop();
        subscription.close();
      });
      act();
    };
    const abort = (): void => end(() => reject(new DOMException('given up', 'AbortError')));
    const subscription = connection.followJob({
      jobId,
      ...(options.afterSeq === undefined ? {} : { afterSeq: options.afterSeq }),
      onEvents: async (events) => {
        await options.gate?.();
        await sink.take(events);
      },
      onSubscribed: ({ job }) => options.onStatus?.(job),
      onStatus: (job) => options.onStatus?.(job),
      onDone: (done) => {
        const finish = async (): Promise<void> => {
          await options.gate?.();
          await sink.finish();
        };
        finish().then(
          () => end(() => resolve(done)),
          (error: unknown) => end(() => reject(toError(error))),
        );
      },
      onError: (error) => end(() => reject(toError(error))),
    });
    let stop = (): void => undefined;
    stop = connection.onState(({ phase, error }) => {
      clearTimeout(timer);
      if (phase === 'refused' || phase === 'closed') {
        end(() => reject(error ?? new UnreachableError(connection.baseUrl, 'The connection was closed.')));
      } else if (phase !== 'live') {
        timer = setTimeout(() => {
          const words = `${connection.baseUrl} has been away for ${String(patience)} s.`;
          end(() => reject(new UnreachableError(connection.baseUrl, words, { cause: error })));
        }, patience * 1000);
      }
    });
    options.signal?.addEventListener('abort', abort);
  });
}

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Says when the server is away and when it is back; returns the way to stop. */
export function tellConnection(cli: Cli, connection: JobsConnection): () => void {
  let isTold = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = connection.onState(({ phase }) => {
    if (phase === 'lost') {
      timer ??= setTimeout(() => {
        isTold = true;
        cli.note(cli.errorPaint.warn(`vmo: ${connection.baseUrl} is away; waiting for it`));
      }, quietMs);
      return;
    }
    clearTimeout(timer);
    timer = undefined;
    if (phase === 'live' && isTold) {
      isTold = false;
      cli.note(cli.errorPaint.dim(`vmo: ${connection.baseUrl} is back; going on where it was`));
    }
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}
