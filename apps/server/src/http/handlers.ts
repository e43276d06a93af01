import { Readable } from 'node:stream';
import {
  LogStream,
  type Readiness,
  type RouteInput,
  type RouteName,
  type RouteOutput,
  type ServerInfo,
  type Setting,
  writtenStreams,
} from '@vmo/contract';
import type { CookieOptions, Request, Response } from 'express';
import type { Agents } from '../agents/index.ts';
import { sessionCookie, type Auth, type Principal } from '../auth/index.ts';
import type { Hosts } from '../hosts/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Requests } from '../requests/index.ts';
import type { Vms } from '../vms/index.ts';
import type { Workspaces } from '../workspaces/index.ts';
import { createRequestHandlers } from './request-handlers.ts';
import { createAgentHandlers, type AgentNewsBoard } from './agent-handlers.ts';
import { sendBytes } from './send-bytes.ts';
import { createVmHandlers } from './vm-handlers.ts';

export interface RequestContext {
  /** null only on public routes. */
  principal: Principal | null;
  actor: Actor;
  /** For bodies that are read as they come. */
  request: Request;
  /** For cookies, statuses and raw bytes; everything else is the handler's return value. */
  response: Response;
}

export type Handlers = {
  [N in RouteName]: (
    input: RouteInput<N>,
    context: RequestContext,
  ) => Promise<RouteOutput<N>> | RouteOutput<N>;
};

export interface HandlerDependencies {
  auth: Auth;
  agents: Agents;
  news: AgentNewsBoard;
  jobs: Jobs;
  workspaces: Workspaces;
  hosts: Hosts;
  vms: Vms;
  requests: Requests;
  tls: boolean;
  info: () => ServerInfo;
  settings: () => Setting[];
  readiness: () => Promise<Readiness>;
}

/** What happens on each route: one call into a domain. */
export function createHandlers(dependencies: HandlerDependencies): Handlers {
  const { auth, jobs, workspaces, hosts } = dependencies;
  const cookieOptions: CookieOptions = {
    httpOnly: true,
    sameSite: 'strict',
    secure: dependencies.tls,
    path: '/',
  };

  return {
    health: () => ({ status: 'ok' }),
    readiness: async (_, { response }) => {
      const readiness = await dependencies.readiness();
      if (readiness.status !== 'ready') response.status(503);
      return readiness;
    },

    login: async ({ body }, { actor, response }) => {
      const { principal, secret, maxAgeMs } = await auth.logIn(body, actor.address ?? 'unknown');
      response.cookie(sessionCookie, secret, { ...cookieOptions, maxAge: maxAgeMs });
      return { session: toSession(principal) };
    },
    getSession: (_, { actor, principal }) => ({
      session: principal ? toSession(principal) : { user: actor.name, expiresAt: null },
    }),
    logout: async (_, { actor, response }) => {
      await auth.logOut(actor);
      response.clearCookie(sessionCookie, cookieOptions);
    },
    getInfo: () => dependencies.info(),
    getSettings: () => ({ settings: dependencies.settings() }),

    listJobs: ({ query }) => jobs.list(query),
    submitJob: async ({ body }, { actor, response }) => {
      const { job, created } = await jobs.submit(actor, body);
      if (!created) response.status(200);
      return { job };
    },
    getJob: async ({ params }) => ({ job: await jobs.get(params.jobId) }),
    cancelJob: async ({ body }, { actor }) => ({ job: await jobs.cancel(actor, body.jobId) }),
    rerunJob: async ({ params }, { actor }) => ({ job: await jobs.rerun(actor, params.jobId) }),
    openTerminal: async ({ params }, { actor }) => ({
      job: await jobs.terminal.openExternally(actor, params.jobId),
    }),
    listEvents: async ({ params, query }) => {
      await jobs.get(params.jobId);
      return jobs.readEvents(params.jobId, query.afterSeq, query.limit);
    },
    getLog: async ({ params, query }, { response }) => {
      const log = await jobs.rawLog(params.jobId, logStreams(query.stream));
      const name = `${params.jobId}${query.stream === undefined ? '' : `-${query.stream}`}.log`;
      response.setHeader('Content-Type', 'application/octet-stream');
      response.setHeader(
        'Content-Disposition',
        query.download === undefined ? 'inline' : `attachment; filename="${name}"`,
      );
      await sendBytes(log, response);
    },
    listLines: ({ params, query }) => jobs.lines(params.jobId, query),
    findInLog: async ({ params, query }, { response }) => {
      const rows = await jobs.find(params.jobId, query);
      response.setHeader('Content-Type', 'application/x-ndjson');
      await sendBytes(Readable.from(toJsonLines(rows)), response);
    },
    getLogUsage: () => jobs.logUsage(),
    expireLogs: (_, { actor }) => jobs.expireLogs(actor),
    getMarks: ({ params }) => jobs.marks(params.jobId),

    listWorkspaces: async () => ({ workspaces: await workspaces.list() }),
    addWorkspace: async ({ body }, { actor }) => ({ workspace: await workspaces.add(actor, body) }),
    changeWorkspace: async ({ params, body }, { actor }) => ({
      workspace: await workspaces.change(actor, params.workspaceId, body),
    }),
    removeWorkspace: ({ params }, { actor }) =>
      workspaces.remove(actor, params.workspaceId).then(() => undefined),
    listTargets: ({ params }) => workspaces.targets(params.workspaceId),

    listHosts: async () => ({ hosts: await hosts.list() }),
    addHost: async ({ body }, { actor }) => ({ host: await hosts.add(actor, body) }),
    changeHost: async ({ params, body }, { actor }) => ({
      host: await hosts.change(actor, params.hostId, body),
    }),
    removeHost: ({ params }, { actor }) => hosts.remove(actor, params.hostId).then(() => undefined),
    testHost: async ({ params }) => ({ test: await hosts.test(params.hostId) }),
    trustHost: async ({ params, body }, { actor }) => ({
      test: await hosts.trust(actor, params.hostId, body.fingerprint),
    }),
    ...createVmHandlers(dependencies.vms),
    ...createRequestHandlers(dependencies.requests),
    ...createAgentHandlers(dependencies),
  };
}

function toSession({ actor, expiresAt }: Principal) {
  return { user: actor.name, expiresAt: expiresAt?.toISOString() ?? null };
}

function logStreams(stream: RouteInput<'getLog'>['query']['stream']): readonly LogStream[] {
  if (stream === undefined) return writtenStreams;
  return stream === 'all' ? LogStream.options : [stream];
}

async function* toJsonLines(rows: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const row of rows) yield `${JSON.stringify(row)}\n`;
}
