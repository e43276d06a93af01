import type { Job, JobEvent, JobId } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';

type JobsConnection = ReturnType<TestServer['connect']>;

export interface SeqReader extends Disposable {
  /** Settles when it was told the end of the job. */
  readonly done: Promise<void>;
  readonly events: number;
  /** Events that did not follow the one before: a gap or a repeat. */
  readonly disorder: number;
}

/** Follows a job over whatever happens to the server, and counts what it gets out of turn. */
export function followSeq(server: TestServer, { id: jobId }: Job): SeqReader {
  const connection = server.connect();
  const end = Promise.withResolvers<undefined>();
  let last = 0;
  let events = 0;
  let disorder = 0;
  connection.followJob({
    jobId,
    onEvents: (batch) => {
      for (const { seq } of batch) {
        if (seq !== last + 1) disorder += 1;
        last = seq;
        events += 1;
      }
    },
    onDone: () => {
      end.resolve(undefined);
    },
    onError: end.reject,
  });
  end.promise.catch(() => undefined);
  return {
    done: end.promise,
    get events() {
      return events;
    },
    get disorder() {
      return disorder;
    },
    [Symbol.dispose]: () => {
      connection.close();
    },
  };
}

export interface SomeEvents {
  events: JobEvent[];
  /** enough: as many as were asked for · cut: the connection was lost · done: the job has ended, and this is all */
  end: 'enough' | 'cut' | 'done';
}

/** Reads at least so many events, or what comes before the connection is cut or the log ends, and closes it. */
export async function readSome(
  connection: JobsConnection,
  { jobId, afterSeq, atLeast }: { jobId: JobId; afterSeq: number; atLeast: number },
): Promise<SomeEvents> {
  const events: JobEvent[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<SomeEvents['end']>();
  const subscription = connection.followJob({
    jobId,
    afterSeq,
    onSubscribed: () => {
      if (atLeast === 0) resolve('enough');
    },
    onEvents: (batch) => {
      events.push(...batch);
      if (events.length >= atLeast) resolve('enough');
    },
    onDone: () => {
      resolve('done');
    },
    onError: reject,
  });
  connection.onState(({ phase, error }) => {
    // A handshake that was cut is no connection yet, and nothing was lost by it.
    if (phase === 'lost' || error) resolve('cut');
  });
  try {
    const end = await promise;
    return { events: [...events], end };
  } finally {
    subscription.close();
    connection.close();
  }
}
