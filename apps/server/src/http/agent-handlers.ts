import {
  AppendHead,
  CodedError,
  maxAppendBytes,
  maxArtifactPiece,
  maxKeptPiece,
  parseInput,
  type agentRoutes,
  type SpoolChunk,
} from '@vmo/contract';
import type { Request } from 'express';
import type { Agents } from '../agents/index.ts';
import type { AgentPrincipal } from '../auth/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Requests } from '../requests/index.ts';
import type { Vms } from '../vms/index.ts';
import type { AgentNewsBoard } from './agent-news.ts';
import type { Handlers, RequestContext } from './handlers.ts';
import { sendBytes } from './send-bytes.ts';

export type { AgentNewsBoard } from './agent-news.ts';

export interface AgentHandlerDependencies {
  agents: Agents;
  jobs: Jobs;
  vms: Pick<Vms, 'images' | 'host'>;
  requests: Pick<Requests, 'unwanted' | 'kept'>;
  news: AgentNewsBoard;
}

/** A head says what at most a thousand pieces are. */
const maxHeadBytes = 256 * 1024;

/** The owner's token may do everything, but it is no agent. */
function workerOf({ principal }: RequestContext): AgentPrincipal {
  if (principal?.agent) return principal.agent;
  throw new CodedError('FORBIDDEN', 'this is for agents: use the token of one');
}

async function readAll(request: Request, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes)
      throw new CodedError('BODY_TOO_LARGE', `more than ${String(maxBytes)} bytes at once`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function parseHead(line: string): AppendHead {
  let head: unknown;
  try {
    head = JSON.parse(line);
  } catch {
    throw new CodedError('BAD_JSON', 'the first line of the body is not JSON');
  }
  return parseInput(AppendHead, head);
}

/** The pieces of an append: a line of JSON, then their bytes. */
async function readChunks(request: Request): Promise<SpoolChunk[]> {
  const body = await readAll(request, maxAppendBytes + maxHeadBytes);
  const end = body.indexOf(0x0a);
  const { chunks } = parseHead(body.subarray(0, Math.max(end, 0)).toString());
  let at = end + 1;
  const pieces = chunks.map(({ stream, offset, size, ts }) => {
    const bytes = body.subarray(at, at + size);
    at += size;
    return { stream, offset, bytes, ts: new Date(ts) };
  });
  if (at !== body.length)
    throw new CodedError('INVALID_INPUT', 'the body has not as many bytes as its first line says');
  return pieces;
}

/** What agents ask for over HTTP, and what people do with agents. */
export function createAgentHandlers({
  agents,
  jobs,
  vms,
  requests,
  news,
}: AgentHandlerDependencies): Pick<Handlers, keyof typeof agentRoutes> {
  const apiOf = (context: RequestContext) => jobs.agentApi({ ...workerOf(context), isHere: false });

  return {
    listAgents: async () => {
      // What the server's own agent can start machines with is announced when it is known; a person wants to see it.
      vms.host.look();
      return { agents: await agents.list() };
    },
    addAgent: ({ body }, { actor }) => agents.add(actor, body),
    drainAgent: async ({ params }, { actor }) => ({
      agent: await agents.setDraining(actor, params.agentId, true),
    }),
    resumeAgent: async ({ params }, { actor }) => ({
      agent: await agents.setDraining(actor, params.agentId, false),
    }),
    revokeAgent: async ({ params }, { actor }) => ({ agent: await agents.revoke(actor, params.agentId) }),
    removeAgent: ({ params }, { actor }) => agents.remove(actor, params.agentId).then(() => undefined),

    agentHello: ({ body }, context) => agents.hello(workerOf(context).id, body),
    agentRenew: async ({ body }, context) => ({
      ...(await apiOf(context).renew(body)),
      discard: await requests.unwanted(workerOf(context).name, body.left),
      wanted: await requests.kept.wantedOf(workerOf(context).name),
    }),
    agentNews: (_, context) => {
      const gone = new AbortController();
      context.response.once('close', () => {
        gone.abort();
      });
      return news.next(workerOf(context).name, gone.signal);
    },
    agentAssigned: async (_, context) => ({ jobs: await apiOf(context).assigned() }),
    agentClaim: async ({ body }, context) => ({
      jobs: workerOf(context).mayTake ? await apiOf(context).claim(body) : [],
    }),
    agentStarted: async ({ params, body: { fence, startedAt, lines } }, context) => ({
      kept: await apiOf(context).started({ ...params, fence }, new Date(startedAt), lines),
    }),
    agentRelease: async ({ params, body: { fence, reason } }, context) => ({
      kept: await apiOf(context).release({ ...params, fence }, reason),
    }),
    agentAppend: async ({ params, query }, context) => {
      const api = apiOf(context);
      return api.append({ ...params, ...query }, await readChunks(context.request));
    },
    agentNote: ({ params, body: { fence, lines } }, context) =>
      apiOf(context)
        .note({ ...params, fence }, lines)
        .then(() => undefined),
    agentCut: ({ params, body: { fence, from, to, lines } }, context) =>
      apiOf(context).cut({ ...params, fence }, from, to, lines),
    agentKeepNewest: async ({ params, body: { fence, tailBytes, lines } }, context) => ({
      kept: await apiOf(context).keepNewest({ ...params, fence }, tailBytes, lines),
    }),
    agentPlan: async ({ params, body }, context) => ({
      plan: await apiOf(context).plan({ ...params, ...body }),
    }),
    agentProgress: async ({ params, body: { fence, progress } }, context) => ({
      kept: await apiOf(context).progress({ ...params, fence }, progress),
    }),
    agentArtifact: async ({ params: { jobId, index }, query: { fence, offset } }, context) => {
      const api = apiOf(context);
      const bytes = await readAll(context.request, maxArtifactPiece);
      return { kept: await api.artifact({ jobId, fence }, { index, offset, bytes }) };
    },
    agentKept: async ({ params, body }, context) => ({
      offsets: await requests.kept.begin(workerOf(context).name, params.jobId, body),
    }),
    agentKeptPiece: async ({ params: { jobId, index }, query: { offset } }, context) => {
      const { name } = workerOf(context);
      const bytes = await readAll(context.request, maxKeptPiece);
      return { offset: await requests.kept.take(name, jobId, { index, offset, bytes }) };
    },
    agentImage: async ({ params, query }, context) => {
      workerOf(context);
      const { sizeBytes, bytes } = await vms.images.readCopy(params.sha256, query.offset);
      context.response.setHeader('Content-Type', 'application/octet-stream');
      context.response.setHeader('Content-Length', sizeBytes - query.offset);
      await sendBytes(bytes, context.response);
    },
    agentDigest: async ({ params, body: { fence, afterSeq } }, context) => ({
      digest: await apiOf(context).digest({ ...params, fence }, afterSeq),
    }),
    agentFinish: ({ params, body: { fence, outcome, sizes } }, context) =>
      apiOf(context).finish(
        { ...params, fence },
        {
          ...outcome,
          startedAt: outcome.startedAt === null ? null : new Date(outcome.startedAt),
          finishedAt: new Date(outcome.finishedAt),
        },
        sizes,
      ),
  };
}
