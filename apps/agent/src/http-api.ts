import { createClient, type Client } from '@vmo/client';
import type {
  AgentApi,
  AgentHello,
  AgentNews,
  AgentWelcome,
  AppendHead,
  ClaimedJob,
  JobId,
  KeptFiles,
  RunProgress,
  SpoolChunk,
} from '@vmo/contract';

/** Clocks that are nearer than this are taken to be the same: the way through the network takes time as well. */
const sameClockMs = 5_000;
/** A piece of a kept disk is large, and the way may be narrow: 4 MiB at 100 kB/s. */
const pieceMs = 60_000;

export interface HttpAgentApi extends AgentApi {
  hello(hello: AgentHello): Promise<AgentWelcome>;
  /** The bytes of an image from `offset` on. */
  image(sha256: string, offset: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Begins to send kept disks. @returns where each goes on; null: they are not wanted */
  kept(jobId: JobId, files: KeptFiles): Promise<number[] | null>;
  /** @returns where it goes on; null: to be begun again */
  keptPiece(
    jobId: JobId,
    index: number,
    offset: number,
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<number | null>;
  /** Waits until there is something to ask for. */
  news(signal: AbortSignal): Promise<AgentNews>;
}

export interface HttpAgentApiOptions {
  /** Where the server is. */
  baseUrl: string;
  token: string;
  /**
   * How long a call may take, in milliseconds: a renewal that hangs must be given up while there is time for another; all
   * the rest is repeated as well, and may be large.
   */
  timeouts: { renewMs: number; callMs: number };
}

/** The bytes of an append as the route takes them: a line that says what they are, then they. */
function packAppend(chunks: readonly SpoolChunk[], toServer: (at: Date) => string): Blob {
  const head: AppendHead = {
    chunks: chunks.map(({ stream, offset, bytes, ts }) => ({
      ...{ stream, offset },
      ...{ size: bytes.length, ts: toServer(ts) },
    })),
  };
  return new Blob([`${JSON.stringify(head)}\n`, ...chunks.map(({ bytes }) => new Uint8Array(bytes))]);
}

/**
 * The agent contract over HTTP. Times of day go to the server by the server's clock, whatever ours says: a job must not have
 * started before it was submitted because the clock of a machine is wrong.
 */
export function createHttpAgentApi({ baseUrl, token, timeouts }: HttpAgentApiOptions): HttpAgentApi {
  const connect = (timeoutMs: number): Client => createClient({ baseUrl, token, timeoutMs });
  const client = connect(timeouts.callMs);
  const renewals = connect(timeouts.renewMs);
  const longPoll = connect(Math.max(timeouts.callMs, 30_000));
  /** What has to be added to our clock. */
  let ahead = 0;

  function compareClocks({ now }: { now: string }): void {
    const difference = Date.parse(now) - Date.now();
    if (Math.abs(difference - ahead) < sameClockMs) return;
    ahead = Math.abs(difference) < sameClockMs ? 0 : difference;
  }

  const toServer = (at: Date) => new Date(at.getTime() + ahead).toISOString();
  const textToServer = (at: string | null) => (at === null ? null : toServer(new Date(at)));
  const progressToServer = (progress: RunProgress): RunProgress => ({
    ...progress,
    readyAt: textToServer(progress.readyAt),
    commands: progress.commands.map((command) => ({
      ...command,
      startedAt: textToServer(command.startedAt),
      finishedAt: textToServer(command.finishedAt),
    })),
  });
  const toOurs = (job: ClaimedJob): ClaimedJob =>
    job.startedAt === null
      ? job
      : { ...job, startedAt: new Date(Date.parse(job.startedAt) - ahead).toISOString() };

  return {
    async hello(hello) {
      const welcome = await client.call('agentHello', { body: hello });
      compareClocks(welcome);
      return welcome;
    },
    news: (signal) => longPoll.call('agentNews', { signal }),
    async image(sha256, offset, signal) {
      const { body } = await client.download('agentImage', {
        ...{ params: { sha256 }, query: { offset }, signal },
      });
      if (!body) throw new Error('the server answered without the bytes of the image');
      return body;
    },
    kept: async (jobId, files) =>
      (await client.call('agentKept', { params: { jobId }, body: files })).offsets,
    async keptPiece(jobId, index, offset, bytes, signal) {
      const { offset: next } = await client.upload('agentKeptPiece', {
        ...{ params: { jobId, index }, query: { offset } },
        bytes: new Blob([new Uint8Array(bytes)]),
        signal: AbortSignal.any([signal, AbortSignal.timeout(pieceMs)]),
      });
      return next;
    },
    async renew(report) {
      const answer = await renewals.call('agentRenew', { body: report });
      compareClocks(answer);
      return answer;
    },
    claim: async (free) => (await client.call('agentClaim', { body: free })).jobs.map(toOurs),
    assigned: async () => (await client.call('agentAssigned')).jobs.map(toOurs),
    async started({ jobId, fence }, startedAt, lines) {
      const body = { fence, startedAt: toServer(startedAt), lines };
      return (await client.call('agentStarted', { params: { jobId }, body })).kept;
    },
    release: async ({ jobId, fence }, reason) =>
      (await client.call('agentRelease', { params: { jobId }, body: { fence, reason } })).kept,
    append: ({ jobId, fence }, chunks) =>
      client.upload('agentAppend', {
        ...{ params: { jobId }, query: { fence } },
        bytes: packAppend(chunks, toServer),
        signal: AbortSignal.timeout(timeouts.callMs),
      }),
    note: ({ jobId, fence }, lines) =>
      client.call('agentNote', { params: { jobId }, body: { fence, lines } }),
    cut: ({ jobId, fence }, from, to, lines) =>
      client.call('agentCut', { params: { jobId }, body: { fence, from, to, lines } }),
    keepNewest: async ({ jobId, fence }, tailBytes, lines) =>
      (await client.call('agentKeepNewest', { params: { jobId }, body: { fence, tailBytes, lines } })).kept,
    plan: async ({ jobId, fence }) =>
      (await client.call('agentPlan', { params: { jobId }, body: { fence } })).plan,
    async progress({ jobId, fence }, progress) {
      const body = { fence, progress: progressToServer(progress) };
      return (await client.call('agentProgress', { params: { jobId }, body })).kept;
    },
    async artifact({ jobId, fence }, { index, offset, bytes }) {
      const { kept } = await client.upload('agentArtifact', {
        ...{ params: { jobId, index }, query: { fence, offset } },
        bytes: new Blob([new Uint8Array(bytes)]),
        signal: AbortSignal.timeout(timeouts.callMs),
      });
      return kept;
    },
    digest: async ({ jobId, fence }, afterSeq) =>
      (
        await client.call('agentDigest', {
          params: { jobId },
          body: { fence, ...(afterSeq !== undefined && { afterSeq }) },
        })
      ).digest,
    finish: ({ jobId, fence }, outcome, sizes) =>
      client.call('agentFinish', {
        params: { jobId },
        body: {
          fence,
          sizes,
          outcome: {
            ...outcome,
            startedAt: outcome.startedAt && toServer(outcome.startedAt),
            finishedAt: toServer(outcome.finishedAt),
          },
        },
      }),
  };
}
