import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  JobId,
  type ClientEvents,
  type Job,
  type JobEvent,
  type JobSkipped,
  type ServerEvents,
  type SocketError,
  type TerminalScreen,
} from '@vmo/contract';
import { Server, type Socket } from 'socket.io';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { connectJobs, type JobsConnection } from './connection.ts';
import type { JobSubscription } from './follow-job.ts';

/**
 * The other end of the wire is a real Socket.IO server, told by each test what to send when: a server that
 * behaves cannot be made to repeat, to skip or to drop at will.
 */
type Heard = Pick<ClientEvents, 'job:subscribe' | 'job:cancel'> & {
  'job:ack': (payload: { seq: number }, ack: (answer: { ok: true }) => void) => void;
  'job:unsubscribe': (payload: unknown, ack: (answer: { ok: true }) => void) => void;
};
type ServerSocket = Socket<Heard, ServerEvents>;

const jobId = JobId.parse('019f0000-0000-7000-8000-000000000001');
let http: HttpServer;
let io: Server<Heard, ServerEvents>;
let connection: JobsConnection;
let subscriptions: { afterSeq: number; socket: ServerSocket }[];
let acknowledged: number[];
let row: Job;
/** After which event the newest output comes. */
let newest: number;
/** How a terminal looks. */
let screen: TerminalScreen | null;
/** What the next subscription is refused with. */
let refusal: SocketError | null;
let beforeAnswer: (socket: ServerSocket) => void;
let onSubscribe: (socket: ServerSocket, afterSeq: number) => void;

function event(seq: number, chunk = `line ${String(seq)}\n`): JobEvent {
  return {
    jobId,
    seq,
    stream: 'stdout',
    chunk,
    ts: '2026-01-01T00:00:00.000Z',
    linesBefore: seq - 1,
    continues: null,
    style: '',
  };
}

function jobRow(change: Partial<Job> = {}): Job {
  return {
    id: jobId,
    command: 'make',
    type: 'stream',
    status: 'running',
    reason: null,
    exitCode: null,
    signal: null,
    workspaceId: null,
    hostId: null,
    vmId: null,
    cwd: '/',
    timeout: null,
    cancelRequested: false,
    createdAt: '2026-01-01T00:00:00.000Z',
    startedAt: null,
    finishedAt: null,
    durationMs: null,
    createdBy: 'test',
    agent: null,
    attempt: 1,
    place: null,
    lineCount: 0,
    secretNames: [],
    errors: 0,
    warnings: 0,
    logState: 'growing',
    lastSeq: 0,
    logBytes: 0,
    ...change,
  };
}

beforeEach(async () => {
  subscriptions = [];
  acknowledged = [];
  newest = 0;
  refusal = screen = null;
  row = jobRow();
  onSubscribe = beforeAnswer = () => undefined;
  http = createServer();
  io = new Server(http, { transports: ['websocket'] });
  io.of('/jobs').on('connection', (socket: ServerSocket) => {
    socket.on('job:subscribe', ({ afterSeq: given = 0, newestBytes }, ack) => {
      const afterSeq = newestBytes === undefined ? given : newest;
      if (refusal) {
        ack({ ok: false, error: refusal });
        refusal = null;
        return;
      }
      subscriptions.push({ afterSeq, socket });
      beforeAnswer(socket);
      const begins = newestBytes === undefined ? {} : { afterSeq };
      ack({ ok: true, job: row, lastSeq: row.lastSeq, ...begins, screen });
      onSubscribe(socket, afterSeq);
    });
    socket.on('job:ack', ({ seq }, ack) => {
      acknowledged.push(seq);
      ack({ ok: true });
    });
    socket.on('job:unsubscribe', (_payload, ack) => ack({ ok: true }));
    socket.on('job:cancel', (_payload, ack) =>
      ack({ ok: false, error: { code: 'JOB_NOT_FOUND', message: 'no such job' } }),
    );
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  connection = connectJobs({ baseUrl: `http://127.0.0.1:${String(port)}` });
});

afterEach(async () => {
  connection.close();
  await io.close();
});

function follow(onSkipped?: (skipped: JobSkipped) => void): {
  seqs: number[];
  ends: string[];
  subscription: JobSubscription;
} {
  const seqs: number[] = [];
  const ends: string[] = [];
  const subscription = connection.followJob({
    jobId,
    onEvents: (events) => void seqs.push(...events.map(({ seq }) => seq)),
    onDone: ({ status }) => void ends.push(status),
    ...(onSkipped ? { onSkipped } : {}),
  });
  return { seqs, ends, subscription };
}

function send(socket: ServerSocket, from: number, to: number): void {
  for (let seq = from; seq <= to; seq++) socket.emit('job:log', event(seq));
}

test('events come in order, each once, whatever is repeated on the wire', async () => {
  onSubscribe = (socket) => {
    send(socket, 1, 3);
    send(socket, 2, 5);
  };
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 3, 4, 5]));
  expect(subscriptions).toHaveLength(1);
});

test('of a long log the newest can be had first: what was left out is told, and a reconnect goes on from there', async () => {
  newest = 90;
  onSubscribe = (socket, afterSeq) => send(socket, afterSeq + 1, afterSeq === 90 ? 92 : 94);
  const seqs: number[] = [];
  const leftOut: number[] = [];
  connection.followJob({
    jobId,
    newestBytes: 1000,
    onEvents: (events) => void seqs.push(...events.map(({ seq }) => seq)),
    onSubscribed: (answer) => void leftOut.push(answer.leftOut),
  });
  await vi.waitFor(() => expect(seqs).toEqual([91, 92]));
  subscriptions[0]?.socket.conn.close();
  await vi.waitFor(() => expect(seqs).toEqual([91, 92, 93, 94]), 5000);
  expect(subscriptions.map(({ afterSeq }) => afterSeq)).toEqual([90, 92]);
  expect(leftOut).toEqual([90, 90]);
});

test('a row that overtakes the answer, whose own row is older, has the last word', async () => {
  beforeAnswer = (socket) => socket.emit('job:status', jobRow({ status: 'done' }));
  row = jobRow({ status: 'acknowledged' });
  const statuses: string[] = [];
  connection.followJob({
    jobId,
    onEvents: () => undefined,
    onSubscribed: ({ job }) => statuses.push(job.status),
    onStatus: (job) => statuses.push(job.status),
  });
  await vi.waitFor(() => expect(statuses).toHaveLength(2));
  expect(statuses).toEqual(['acknowledged', 'done']);
});

test('a gap is asked for from the last event that came', async () => {
  onSubscribe = (socket, afterSeq) => {
    if (afterSeq === 0) {
      send(socket, 1, 2);
      send(socket, 5, 6);
    } else send(socket, afterSeq + 1, 6);
  };
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 3, 4, 5, 6]));
  expect(subscriptions.map(({ afterSeq }) => afterSeq)).toEqual([0, 2]);
});

test('what an older subscription had on its way is no gap', async () => {
  beforeAnswer = (socket) => send(socket, 3, 4);
  onSubscribe = (socket) => send(socket, 1, 5);
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 3, 4, 5]));
  expect(subscriptions).toHaveLength(1);
});

test('after a lost connection it goes on from its last event', async () => {
  onSubscribe = (socket, afterSeq) => send(socket, afterSeq + 1, afterSeq === 0 ? 3 : 6);
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toHaveLength(3));
  subscriptions[0]?.socket.conn.close();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 3, 4, 5, 6]), 5000);
  expect(subscriptions.map(({ afterSeq }) => afterSeq)).toEqual([0, 3]);
});

test('what was skipped is told in its place, and the log goes on after it', async () => {
  onSubscribe = (socket) => {
    send(socket, 1, 2);
    socket.emit('job:skipped', { jobId, fromSeq: 3, toSeq: 9 });
    send(socket, 10, 11);
  };
  const skipped: JobSkipped[] = [];
  const { seqs } = follow((one) => skipped.push(one));
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 10, 11]));
  expect(skipped).toEqual([{ jobId, fromSeq: 3, toSeq: 9 }]);
  expect(subscriptions).toHaveLength(1);
});

test('a reader that cannot miss anything asks for what was skipped', async () => {
  onSubscribe = (socket, afterSeq) => {
    if (afterSeq === 0) {
      send(socket, 1, 2);
      socket.emit('job:skipped', { jobId, fromSeq: 3, toSeq: 4 });
    } else send(socket, afterSeq + 1, 5);
  };
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2, 3, 4, 5]));
});

test('the end comes once, after the last event was processed', async () => {
  const order: string[] = [];
  onSubscribe = (socket) => {
    send(socket, 1, 2);
    socket.emit('job:done', { jobId, status: 'failed', exitCode: 2, signal: null });
    socket.emit('job:done', { jobId, status: 'failed', exitCode: 2, signal: null });
  };
  connection.followJob({
    jobId,
    onEvents: async (events) => {
      await new Promise(setImmediate);
      order.push(...events.map(({ seq }) => String(seq)));
    },
    onDone: ({ status, exitCode }) => void order.push(`${status} ${String(exitCode)}`),
  });
  await vi.waitFor(() => expect(order).toEqual(['1', '2', 'failed 2']));
});

test('a job that ended while nobody was connected ends here as well', async () => {
  row = jobRow({ status: 'done', exitCode: 0, lastSeq: 3 });
  onSubscribe = (socket) => send(socket, 1, 3);
  const { ends, seqs } = follow();
  await vi.waitFor(() => expect(ends).toEqual(['done']));
  expect(seqs).toEqual([1, 2, 3]);
});

test('what was processed is acknowledged, and nothing before it', async () => {
  onSubscribe = (socket) => send(socket, 1, 4);
  let release = (): void => undefined;
  const processing = new Promise<void>((resolve) => (release = resolve));
  const begun = vi.fn();
  connection.followJob({
    jobId,
    onEvents: async () => {
      begun();
      await processing;
    },
  });
  await vi.waitFor(() => expect(begun).toHaveBeenCalled());
  expect(acknowledged).toEqual([]);
  release();
  await vi.waitFor(() => expect(acknowledged.at(-1)).toBe(4));
});

test('a closed follower hears nothing more, and its neighbour goes on', async () => {
  let socket: ServerSocket | undefined;
  onSubscribe = (to, afterSeq) => {
    socket = to;
    send(to, afterSeq + 1, 2);
  };
  const first = follow();
  const second = follow();
  await vi.waitFor(() =>
    expect([first.seqs, second.seqs]).toEqual([
      [1, 2],
      [1, 2],
    ]),
  );
  first.subscription.close();
  if (socket) send(socket, 3, 3);
  await vi.waitFor(() => expect(second.seqs).toEqual([1, 2, 3]));
  expect(first.seqs).toEqual([1, 2]);
});

test('output of a terminal that is not kept any more is made up for by its screen, at its end by what is kept', async () => {
  screen = { data: 'a prompt', cols: 80, rows: 24 };
  row = jobRow({ type: 'terminal', lastSeq: 2 });
  const gone = (socket: ServerSocket, fromSeq: number, toSeq: number) => {
    socket.emit('job:skipped', { jobId, fromSeq, toSeq, expired: true });
    send(socket, toSeq + 1, toSeq + 2);
  };
  const told: unknown[] = [];
  onSubscribe = (socket) => {
    if (subscriptions.length === 1) {
      row = jobRow({ type: 'terminal', lastSeq: 50 });
      gone(socket, 3, 49);
    } else if (subscriptions.length === 2) {
      send(socket, 51, 52);
      screen = null;
      row = jobRow({ type: 'terminal', lastSeq: 101, status: 'done', exitCode: 0 });
      gone(socket, 53, 99);
    } else gone(socket, 53, 99);
  };
  const ends: string[] = [];
  connection.followJob({
    jobId,
    screen: true,
    onSubscribed: (answer) => void told.push(answer.screen?.data ?? null),
    onEvents: (events) => void told.push(...events.map(({ seq }) => seq)),
    onDone: ({ status }) => void ends.push(status),
  });
  await vi.waitFor(() => expect(ends).toEqual(['done']), 5000);
  expect(told).toEqual(['a prompt', 'a prompt', 51, 52, null, 100, 101]);
});

test('a refused command is thrown in the words of the server', async () => {
  await expect(connection.command('job:cancel', { jobId })).rejects.toMatchObject({
    code: 'JOB_NOT_FOUND',
    message: 'no such job',
  });
});

test('a refused handshake says why, and nothing is tried again', async () => {
  io.of('/jobs').use((_socket, next) => {
    next(Object.assign(new Error('no'), { data: { code: 'UNAUTHENTICATED', message: 'log in first' } }));
  });
  const refused = connectJobs({ baseUrl: connection.baseUrl });
  await vi.waitFor(() => expect(refused.state.phase).toBe('refused'));
  expect(refused.state.error).toMatchObject({ code: 'UNAUTHENTICATED', message: 'log in first' });
  await expect(refused.command('jobs:watch', { watch: true })).rejects.toMatchObject({
    code: 'UNAUTHENTICATED',
  });
  refused.close();
});

test('a handshake that the database is missing for is tried again, by itself', async () => {
  await vi.waitFor(() => expect(connection.state.phase).toBe('live'));
  let attempts = 0;
  io.of('/jobs').use((_socket, next) => {
    attempts += 1;
    if (attempts > 2) next();
    else next(Object.assign(new Error('no'), { data: { code: 'DATABASE_UNAVAILABLE', message: 'wait' } }));
  });
  const patient = connectJobs({ baseUrl: connection.baseUrl });
  const seen: string[] = [];
  patient.onState(({ phase, error }) => seen.push(error ? `${phase}: ${error.message}` : phase));
  await vi.waitFor(() => expect(patient.state.phase).toBe('live'), 5000);
  expect(seen).toEqual(['connecting', 'connecting: wait', 'connecting: wait', 'live']);
  patient.close();
});

test('a subscription that the database is missing for is tried again, by itself', async () => {
  refusal = { code: 'DATABASE_UNAVAILABLE', message: 'the database does not answer' };
  onSubscribe = (socket) => send(socket, 1, 2);
  const { seqs } = follow();
  await vi.waitFor(() => expect(seqs).toEqual([1, 2]), { timeout: 5_000 });
  expect(refusal).toBeNull();
});

test('a closed connection does not come back for a handshake that was to be tried again', async () => {
  await vi.waitFor(() => expect(connection.state.phase).toBe('live'));
  const attempt = vi.fn();
  io.of('/jobs').use((_socket, next) => {
    attempt();
    next(Object.assign(new Error('no'), { data: { code: 'DATABASE_UNAVAILABLE', message: 'wait' } }));
  });
  const patient = connectJobs({ baseUrl: connection.baseUrl });
  await vi.waitFor(() => expect(patient.state.error?.message).toBe('wait'));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const before = attempt.mock.calls.length;
    patient.close();
    await vi.runAllTimersAsync();
    expect(patient.state.phase).toBe('closed');
    expect(attempt).toHaveBeenCalledTimes(before);
  } finally {
    vi.useRealTimers();
  }
});
