import { z } from 'zod';
import {
  ClaimedJob,
  FreePlaces,
  maxArtifactPiece,
  Offsets,
  RunPlan,
  RunProgress,
  SpoolStream,
} from './agent.ts';
import {
  Agent,
  AgentHello,
  AgentNews,
  AgentReport,
  AgentWelcome,
  KeptFiles,
  LeaseAnswer,
  maxKeptPiece,
  NewAgent,
  StrangeHello,
} from './agents.ts';
import { AgentId, JobId } from './ids.ts';
import { Sha256 } from './images.ts';
import type { Route } from './route.ts';
import { Timestamp } from './text.ts';

const agentParams = z.object({ agentId: AgentId });
const jobParams = z.object({ jobId: JobId });
const oneAgent = z.object({ agent: Agent });
const Fence = z.coerce.number().int().min(0).max(2_147_483_647);
const Lines = z.array(z.string().max(100_000)).max(1000);
const kept = z.object({ kept: z.boolean().describe('false: another attempt has the job') });

export const AppendAnswer = z.discriminatedUnion('status', [
  z.object({ status: z.literal('accepted'), offsets: Offsets }),
  z.object({ status: z.literal('wrong-offset'), offsets: Offsets }),
  z.object({ status: z.literal('lease-lost') }),
]);

/** Bytes of one append, at most. */
export const maxAppendBytes = 8 * 1024 * 1024;

/**
 * The head of an append's body: one line of JSON, behind it the bytes of all pieces, one after another. As base64 in JSON
 * they would be a third more, and ten times the work.
 */
export const AppendHead = z.strictObject({
  chunks: z
    .array(
      z.strictObject({
        stream: SpoolStream,
        offset: z.int().min(0),
        size: z.int().min(1).max(maxAppendBytes),
        ts: Timestamp,
      }),
    )
    .max(1000),
});
export type AppendHead = z.infer<typeof AppendHead>;

const Outcome = z.strictObject({
  status: z.enum(['done', 'failed', 'cancelled', 'timed_out', 'lost']),
  exitCode: z.int().min(0).max(2_147_483_647).nullable(),
  signal: z.string().max(100).nullable(),
  reason: z.string().max(100_000).nullable(),
  startedAt: Timestamp.nullable(),
  finishedAt: Timestamp,
  lines: Lines,
  verified: z.boolean(),
  dead: z.boolean(),
});

/** Agents, as people see them, and what agents themselves ask for. */
export const agentRoutes = {
  listAgents: {
    method: 'GET',
    path: '/agents',
    permission: 'agents:read',
    summary: 'Agents by name: load, version, when they were seen last',
    response: z.object({ agents: z.array(Agent) }),
  },
  addAgent: {
    method: 'POST',
    path: '/agents',
    permission: 'agents:write',
    summary: 'Make a token for an agent on this or another machine; it is shown this once',
    body: NewAgent,
    response: oneAgent.extend({ token: z.string() }),
    status: 201,
  },
  drainAgent: {
    method: 'POST',
    path: '/agents/:agentId/drain',
    permission: 'agents:write',
    summary: 'It takes no more jobs; those that it has go on',
    params: agentParams,
    response: oneAgent,
  },
  resumeAgent: {
    method: 'POST',
    path: '/agents/:agentId/resume',
    permission: 'agents:write',
    summary: 'It takes jobs again',
    params: agentParams,
    response: oneAgent,
  },
  revokeAgent: {
    method: 'POST',
    path: '/agents/:agentId/revoke',
    permission: 'agents:write',
    summary: 'Its token is refused from now on; what it runs ends, and is lost or tried again elsewhere',
    params: agentParams,
    response: oneAgent,
  },
  removeAgent: {
    method: 'DELETE',
    path: '/agents/:agentId',
    permission: 'agents:write',
    summary: 'Forget an agent that has no jobs; its token is refused',
    params: agentParams,
    status: 204,
  },
  agentHello: {
    method: 'POST',
    path: '/agent/hello',
    permission: 'agents:greet',
    summary: 'For agents: begin, with the version of the contract and what you have to offer',
    body: z.union([AgentHello, StrangeHello]),
    response: AgentWelcome,
  },
  agentRenew: {
    method: 'POST',
    path: '/agent/renew',
    permission: 'agents:work',
    summary: 'For agents: renew the lease',
    body: AgentReport,
    response: LeaseAnswer,
  },
  agentNews: {
    method: 'GET',
    path: '/agent/news',
    permission: 'agents:work',
    summary: 'For agents: wait until there is something to ask for, some 20 s at most',
    response: AgentNews,
  },
  agentAssigned: {
    method: 'GET',
    path: '/agent/jobs',
    permission: 'agents:work',
    summary: 'For agents: the jobs that you have',
    response: z.object({ jobs: z.array(ClaimedJob) }),
  },
  agentClaim: {
    method: 'POST',
    path: '/agent/claim',
    permission: 'agents:work',
    summary: 'For agents: take pending jobs that fit',
    body: FreePlaces.strict(),
    response: z.object({ jobs: z.array(ClaimedJob) }),
  },
  agentStarted: {
    method: 'POST',
    path: '/agent/jobs/:jobId/started',
    permission: 'agents:work',
    summary: 'For agents: the job runs',
    params: jobParams,
    body: z.strictObject({ fence: Fence, startedAt: Timestamp, lines: Lines }),
    response: kept,
  },
  agentRelease: {
    method: 'POST',
    path: '/agent/jobs/:jobId/release',
    permission: 'agents:work',
    summary: 'For agents: the job provably never began; it goes back to the queue',
    params: jobParams,
    body: z.strictObject({ fence: Fence, reason: z.string().max(100_000) }),
    response: kept,
  },
  agentAppend: {
    method: 'PUT',
    path: '/agent/jobs/:jobId/output',
    permission: 'agents:work',
    summary: 'For agents: output of the job, a line of JSON that says what it is and then the bytes',
    params: jobParams,
    query: z.strictObject({ fence: Fence }),
    rawBody: 'application/octet-stream',
    response: AppendAnswer,
  },
  agentNote: {
    method: 'POST',
    path: '/agent/jobs/:jobId/note',
    permission: 'agents:work',
    summary: 'For agents: words for the log',
    params: jobParams,
    body: z.strictObject({ fence: Fence, lines: Lines }),
    status: 204,
  },
  agentCut: {
    method: 'POST',
    path: '/agent/jobs/:jobId/cut',
    permission: 'agents:work',
    summary: 'For agents: a part of the output is left out',
    params: jobParams,
    body: z.strictObject({ fence: Fence, from: Offsets, to: Offsets, lines: Lines }),
    response: AppendAnswer,
  },
  agentKeepNewest: {
    method: 'POST',
    path: '/agent/jobs/:jobId/keep-newest',
    permission: 'agents:work',
    summary: 'For agents: of a console that does not end, keep the beginning and the newest part',
    params: jobParams,
    body: z.strictObject({ fence: Fence, tailBytes: z.int().min(0), lines: Lines }),
    response: kept,
  },
  agentPlan: {
    method: 'POST',
    path: '/agent/jobs/:jobId/plan',
    permission: 'agents:work',
    summary: 'For agents: what a simulation request does in its machine',
    params: jobParams,
    body: z.strictObject({ fence: Fence }),
    response: z.object({ plan: RunPlan.nullable().describe('null: another attempt has the job') }),
  },
  agentProgress: {
    method: 'POST',
    path: '/agent/jobs/:jobId/progress',
    permission: 'agents:work',
    summary: 'For agents: how far a simulation request has come',
    params: jobParams,
    body: z.strictObject({ fence: Fence, progress: RunProgress }),
    response: kept,
  },
  agentArtifact: {
    method: 'PUT',
    path: '/agent/jobs/:jobId/artifacts/:index',
    permission: 'agents:work',
    summary: `For agents: the next bytes of an artifact, ${String(maxArtifactPiece)} at most`,
    params: jobParams.extend({ index: z.coerce.number().int().min(0).max(1000) }),
    query: z.strictObject({ fence: Fence, offset: z.coerce.number().int().min(0) }),
    rawBody: 'application/octet-stream',
    response: kept,
  },
  agentKept: {
    method: 'POST',
    path: '/agent/kept/:jobId',
    permission: 'agents:work',
    summary: 'For agents: begin to send the kept disks of a request, or go on with it',
    params: jobParams,
    body: KeptFiles,
    response: z.object({
      offsets: z
        .array(z.int())
        .nullable()
        .describe('Where each goes on; null: nobody wants them, or they cannot be taken'),
    }),
  },
  agentKeptPiece: {
    method: 'PUT',
    path: '/agent/kept/:jobId/:index',
    permission: 'agents:work',
    summary: `For agents: the next bytes of a kept disk, ${String(maxKeptPiece)} at most`,
    params: jobParams.extend({ index: z.coerce.number().int().min(0).max(100) }),
    query: z.strictObject({ offset: z.coerce.number().int().min(0) }),
    rawBody: 'application/octet-stream',
    response: z.object({
      offset: z
        .int()
        .nullable()
        .describe('Where it goes on, which may be elsewhere; null: begin again with `agentKept`'),
    }),
  },
  agentImage: {
    method: 'GET',
    path: '/agent/images/:sha256',
    permission: 'agents:work',
    summary: 'For agents: the bytes of an image from `offset` on, by what is in it',
    params: z.object({ sha256: Sha256 }),
    query: z.strictObject({ offset: z.coerce.number().int().min(0).default(0) }),
    raw: 'application/octet-stream',
  },
  agentDigest: {
    method: 'POST',
    path: '/agent/jobs/:jobId/digest',
    permission: 'agents:work',
    summary: 'For agents: SHA-256 of what is stored',
    params: jobParams,
    body: z.strictObject({ fence: Fence, afterSeq: z.int().min(0).max(2_147_483_647).optional() }),
    response: z.object({
      digest: z
        .object({
          lastSeq: z.int(),
          offsets: Offsets,
          from: Offsets.nullable(),
          sha256: z.object({ stdout: Sha256, stderr: Sha256, boot: Sha256, command: Sha256 }),
        })
        .nullable()
        .describe('null: another attempt has the job'),
    }),
  },
  agentFinish: {
    method: 'POST',
    path: '/agent/jobs/:jobId/finish',
    permission: 'agents:work',
    summary: 'For agents: how the job ended',
    params: jobParams,
    body: z.strictObject({ fence: Fence, outcome: Outcome, sizes: Offsets }),
    response: AppendAnswer,
  },
} as const satisfies Record<string, Route>;
