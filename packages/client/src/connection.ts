import {
  CodedError,
  ErrorCode,
  jobsNamespace,
  type Ack,
  type ClientEvents,
  type Job,
  type JobId,
  type ServerEvents,
  type SocketAnswer,
  type SocketCommandName,
  type SocketRequest,
} from '@vmo/contract';
import { io, type Socket } from 'socket.io-client';
import { createFollower, type FollowOptions, type JobSubscription } from './follow-job.ts';
import { isPassing, UnreachableError } from './unreachable.ts';

export interface ConnectionOptions {
  /** As for the REST client. */
  baseUrl: string;
  token?: string;
  /** Milliseconds that a command may wait for the connection and its acknowledgement together; default 15,000. */
  timeoutMs?: number;
  /** False: nothing is tried before {@link JobsConnection.reconnect}; for a page that has to log in first. */
  autoConnect?: boolean;
}

/**
 * connecting: never yet connected · live · lost: was live, tries again by itself, also while the server refuses for a
 * reason that passes, as without its database (`error` says so) · refused: the server does not want us (`error` says
 * why); nothing is tried until {@link JobsConnection.reconnect} · closed: by us, for good.
 */
export type ConnectionPhase = 'connecting' | 'live' | 'lost' | 'refused' | 'closed';

export interface ConnectionState {
  readonly phase: ConnectionPhase;
  /** When this phase began, in milliseconds since the epoch. */
  readonly since: number;
  /** Why the last attempt failed; null when live. */
  readonly error: Error | null;
}

export interface JobsConnection {
  readonly baseUrl: string;
  readonly state: ConnectionState;
  /** Calls the listener now and at every change of state; returns the way to stop. */
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Listens to a server event; returns the way to stop. */
  on<E extends keyof ServerEvents>(event: E, listener: ServerEvents[E]): () => void;
  /**
   * Sends a command, once the connection is live, and resolves with its acknowledgement. It is sent at most once.
   * @throws CodedError as the server said it, {@link UnreachableError} when no answer came in time.
   */
  command<N extends SocketCommandName>(
    name: N,
    payload: SocketRequest<N>,
    options?: { timeoutMs?: number },
  ): Promise<SocketAnswer<N>>;
  /**
   * Gets the row of every job whenever it changes; holds across reconnects; returns the way to stop.
   * @param onBegun called each time the server begins to tell: what changed before that has to be read. Not called
   * where it tells already.
   */
  watchJobs(onJob: (job: Job) => void, onBegun?: () => void): () => void;
  /** The log of one job without gap or repeat; holds across reconnects. */
  followJob(options: FollowOptions): JobSubscription;
  /** Round trip of one acknowledged message in milliseconds. */
  measureLatency(): Promise<number>;
  /** Tries again now, also after a refusal. */
  reconnect(): void;
  close(): void;
}

/** Between attempts; socket.io's own, and ours where the server's refusal is one that passes. */
const firstRetryMs = 200;
const maxRetryMs = 3_000;

type ServerListeners = { [E in keyof ServerEvents]: Set<ServerEvents[E]> };

/** Connects to the `/jobs` namespace, WebSocket only. Works in the browser and in Node. */
export function connectJobs(options: ConnectionOptions): JobsConnection {
  const base = new URL(options.baseUrl);
  const baseUrl = options.baseUrl.replace(/\/+$/, '');
  const timeoutMs = options.timeoutMs ?? 15_000;
  const socket: Socket<ServerEvents, ClientEvents> = io(base.origin + jobsNamespace, {
    path: `${base.pathname.replace(/\/+$/, '')}/socket.io`,
    transports: ['websocket'],
    auth: options.token === undefined ? {} : { token: options.token },
    withCredentials: true,
    // An own engine per connection: closing one must not close another's.
    forceNew: true,
    autoConnect: options.autoConnect ?? true,
    reconnectionDelay: firstRetryMs,
    reconnectionDelayMax: maxRetryMs,
  });

  let state: ConnectionState = { phase: 'connecting', since: Date.now(), error: null };
  const listeners = new Set<(state: ConnectionState) => void>();
  const serverListeners: ServerListeners = {
    'job:log': new Set(),
    'job:done': new Set(),
    'job:status': new Set(),
    'job:skipped': new Set(),
    'job:control': new Set(),
    'job:resized': new Set(),
  };
  /** Followers per job: the server knows one subscription per connection and job, however many read from it. */
  const followers = new Map<JobId, number>();
  let watchers = 0;
  const begunListeners = new Set<() => void>();
  let passingInARow = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;

  function become(phase: ConnectionPhase, error: Error | null): void {
    if (state.phase === 'closed') return;
    const since = phase === state.phase ? state.since : Date.now();
    state = { phase, since, error };
    for (const listener of [...listeners]) listener(state);
  }

  socket.on('job:log', (event) => serverListeners['job:log'].forEach((listener) => listener(event)));
  socket.on('job:done', (done) => serverListeners['job:done'].forEach((listener) => listener(done)));
  socket.on('job:status', (job) => serverListeners['job:status'].forEach((listener) => listener(job)));
  socket.on('job:skipped', (skipped) =>
    serverListeners['job:skipped'].forEach((listener) => listener(skipped)),
  );
  socket.on('job:control', (control) =>
    serverListeners['job:control'].forEach((listener) => listener(control)),
  );
  socket.on('job:resized', (resized) =>
    serverListeners['job:resized'].forEach((listener) => listener(resized)),
  );
  socket.on('connect', () => {
    passingInARow = 0;
    if (watchers > 0) beginWatching();
    become('live', null);
  });
  socket.on('connect_error', (error) => {
    const refusal = readRefusal(error);
    const trying = state.phase === 'connecting' ? 'connecting' : 'lost';
    // Active: socket.io tries again by itself. Else the server answered and said no.
    if (socket.active) become(trying, unreachable());
    else if (refusal && isPassing(refusal)) {
      become(trying, refusal);
      retryLater();
    } else become('refused', refusal ?? new CodedError('UNAUTHENTICATED', error.message));
  });
  socket.on('disconnect', (reason) => {
    if (state.phase === 'closed') return;
    become('lost', unreachable());
    // The server ended it on purpose (session revoked, or shutting down). Ask again: the answer tells which.
    if (reason === 'io server disconnect') socket.connect();
  });

  /** Spread, so that a thousand pages do not all come back to the database in one moment. */
  function retryLater(): void {
    const ms = Math.min(firstRetryMs * 2 ** passingInARow, maxRetryMs) * (0.5 + Math.random());
    passingInARow += 1;
    clearTimeout(retry);
    retry = setTimeout(() => socket.connect(), ms);
  }

  function unreachable(): UnreachableError {
    return new UnreachableError(
      baseUrl,
      `No connection to ${baseUrl}. It is tried again until the server answers.`,
    );
  }

  /** Resolves when live. @throws the refusal, or UnreachableError when it took longer than `ms` or was closed. */
  function untilLive(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let stop = (): void => undefined;
      const end = (act: () => void): void => {
        clearTimeout(timer);
        // The first call of the listener happens inside onState, before `stop` is known.
        queueMicrotask(() => stop());
        act();
      };
      const timer = setTimeout(() => end(() => reject(state.error ?? unreachable())), ms);
      stop = connection.onState(({ phase, error }) => {
        if (phase === 'live') end(resolve);
        else if (phase === 'refused' || phase === 'closed') end(() => reject(error ?? unreachable()));
      });
    });
  }

  function watch(on: boolean): Promise<unknown> {
    return connection.command('jobs:watch', { watch: on });
  }

  function beginWatching(): void {
    const { id } = socket;
    watch(true).then(
      () => [...begunListeners].forEach((tell) => tell()),
      (error: unknown) => {
        // A connection that went away meanwhile: the next one asks again.
        const isStanding = socket.id === id && socket.connected;
        if (isStanding && watchers > 0 && error instanceof UnreachableError) beginWatching();
      },
    );
  }

  const connection: JobsConnection = {
    baseUrl,
    get state() {
      return state;
    },
    onState(listener) {
      listeners.add(listener);
      listener(state);
      return () => void listeners.delete(listener);
    },
    on(event, listener) {
      const set = serverListeners[event];
      set.add(listener);
      return () => void set.delete(listener);
    },
    async command(name, payload, { timeoutMs: limit = timeoutMs } = {}) {
      const deadline = Date.now() + limit;
      if (!socket.connected) await untilLive(limit);
      const untyped: Socket = socket;
      let answer: Ack<SocketAnswer<typeof name>>;
      try {
        const left = Math.max(1, deadline - Date.now());
        answer = (await untyped.timeout(left).emitWithAck(name, payload)) as typeof answer;
      } catch (cause) {
        throw new UnreachableError(
          baseUrl,
          `${baseUrl} did not acknowledge “${name}”; whether it was carried out is not known.`,
          {
            cause,
          },
        );
      }
      if (answer.ok) return answer;
      const { code, message, issues } = answer.error;
      throw new CodedError(code, message, issues ? { issues } : {});
    },
    watchJobs(onJob, onBegun) {
      const stop = connection.on('job:status', onJob);
      // One of its own, so that each can be stopped by itself.
      const begun = (): void => onBegun?.();
      begunListeners.add(begun);
      watchers += 1;
      if (watchers === 1 && socket.connected) beginWatching();
      return () => {
        stop();
        begunListeners.delete(begun);
        watchers -= 1;
        if (watchers === 0 && socket.connected) void watch(false).catch(() => undefined);
      };
    },
    followJob(followOptions) {
      const { jobId } = followOptions;
      followers.set(jobId, (followers.get(jobId) ?? 0) + 1);
      return createFollower(connection, followOptions, () => {
        const left = (followers.get(jobId) ?? 1) - 1;
        if (left > 0) followers.set(jobId, left);
        else followers.delete(jobId);
        if (left === 0 && socket.connected)
          connection.command('job:unsubscribe', { jobId }).catch(() => undefined);
      });
    },
    async measureLatency() {
      const start = performance.now();
      await watch(watchers > 0);
      return performance.now() - start;
    },
    reconnect() {
      if (state.phase === 'closed' || socket.connected) return;
      clearTimeout(retry);
      if (state.phase === 'refused') become('connecting', null);
      socket.disconnect().connect();
    },
    close() {
      become('closed', null);
      clearTimeout(retry);
      socket.disconnect();
      listeners.clear();
    },
  };
  return connection;
}

/** The handshake is refused with `data: {code, message}`, in the words of the acknowledgements. */
function readRefusal(error: Error): CodedError | null {
  const data: unknown = 'data' in error ? error.data : undefined;
  if (typeof data !== 'object' || data === null || !('code' in data)) return null;
  const code = ErrorCode.safeParse(data.code);
  const words = 'message' in data && typeof data.message === 'string' ? data.message : error.message;
  return code.success ? new CodedError(code.data, words) : null;
}
