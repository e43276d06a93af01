import { z } from 'zod';
import { agentRoutes } from './agent-routes.ts';
import { Host, HostChange, HostTest, HostTrust, NewHost } from './hosts.ts';
import { HostId, JobId, WorkspaceId } from './ids.ts';
import { Job, JobFilter, JobPage, JobSubmission } from './jobs.ts';
import {
  EventPage,
  EventsQuery,
  FindQuery,
  LinePage,
  LinesQuery,
  LogMarks,
  LogQuery,
  LogUsage,
  ExpiredLogs,
} from './log.ts';
import { requestRoutes } from './request-routes.ts';
import type { Route } from './route.ts';
import { Health, Login, Readiness, ServerInfo, Session } from './session.ts';
import { SettingList } from './settings.ts';
import { vmRoutes } from './vm-routes.ts';
import { NewWorkspace, TargetList, Workspace, WorkspaceChange } from './workspaces.ts';

const jobParams = z.object({ jobId: JobId });
const workspaceParams = z.object({ workspaceId: WorkspaceId });
const hostParams = z.object({ hostId: HostId });
const oneJob = z.object({ job: Job });
const oneWorkspace = z.object({ workspace: Workspace });
const oneHost = z.object({ host: Host });

/** Every REST route there is. Express, the OpenAPI document and the typed client are all made from this table. */
export const routes = {
  health: {
    method: 'GET',
    path: '/healthz',
    atRoot: true,
    permission: 'public',
    summary: 'The process is up',
    response: Health,
  },
  readiness: {
    method: 'GET',
    path: '/readyz',
    atRoot: true,
    permission: 'public',
    summary: 'Database and agent are up, and there is room on their disks (503 when not)',
    response: Readiness,
  },
  login: {
    method: 'POST',
    path: '/session',
    permission: 'public',
    summary: 'Log in with a one-time code or the token; sets the session cookie',
    body: Login,
    response: z.object({ session: Session }),
    status: 201,
  },
  getSession: {
    method: 'GET',
    path: '/session',
    permission: 'session:use',
    summary: 'Who am I',
    response: z.object({ session: Session }),
  },
  logout: {
    method: 'DELETE',
    path: '/session',
    permission: 'session:use',
    summary: 'Revoke the session; its sockets end',
    status: 204,
  },
  getInfo: {
    method: 'GET',
    path: '/info',
    permission: 'system:read',
    summary: 'Version and limits of this server',
    response: ServerInfo,
  },
  getSettings: {
    method: 'GET',
    path: '/settings',
    permission: 'system:read',
    summary: 'The settings that this server runs with, without secrets',
    response: SettingList,
  },
  listJobs: {
    method: 'GET',
    path: '/jobs',
    permission: 'jobs:read',
    summary: 'Jobs, newest first',
    query: JobFilter,
    response: JobPage,
  },
  submitJob: {
    method: 'POST',
    path: '/jobs',
    permission: 'jobs:run',
    summary: 'Run a command',
    body: JobSubmission,
    response: oneJob,
    status: 201,
  },
  getJob: {
    method: 'GET',
    path: '/jobs/:jobId',
    permission: 'jobs:read',
    summary: 'One job',
    params: jobParams,
    response: oneJob,
  },
  cancelJob: {
    method: 'POST',
    path: '/jobs/cancel',
    permission: 'jobs:cancel',
    summary: 'Cancel a job: SIGTERM, a grace time, then everything of it is killed',
    body: z.strictObject({ jobId: JobId }),
    response: oneJob,
  },
  rerunJob: {
    method: 'POST',
    path: '/jobs/:jobId/rerun',
    permission: 'jobs:run',
    summary: 'Run the same again, as a new job',
    params: jobParams,
    response: oneJob,
    status: 201,
  },
  openTerminal: {
    method: 'POST',
    path: '/jobs/:jobId/open-terminal',
    permission: 'jobs:run',
    summary: 'Open a terminal job in the external terminal (VMO_TERM_CMD) on the server’s desktop',
    params: jobParams,
    response: oneJob,
  },
  listEvents: {
    method: 'GET',
    path: '/jobs/:jobId/events',
    permission: 'jobs:read',
    summary: 'Stored output in order of seq',
    params: jobParams,
    query: EventsQuery,
    response: EventPage,
  },
  getLog: {
    method: 'GET',
    path: '/jobs/:jobId/log',
    permission: 'jobs:read',
    summary: 'The bytes that the job wrote',
    params: jobParams,
    query: LogQuery,
    raw: 'application/octet-stream',
  },
  listLines: {
    method: 'GET',
    path: '/jobs/:jobId/lines',
    permission: 'jobs:read',
    summary: 'Lines of the log by position, number, or from its end',
    params: jobParams,
    query: LinesQuery,
    response: LinePage,
  },
  findInLog: {
    method: 'GET',
    path: '/jobs/:jobId/find',
    permission: 'jobs:read',
    summary:
      'Search the whole stored log; answers row by row, as it finds (one JSON object a line, `FindRow`)',
    params: jobParams,
    query: FindQuery,
    raw: 'application/x-ndjson',
  },
  getMarks: {
    method: 'GET',
    path: '/jobs/:jobId/marks',
    permission: 'jobs:read',
    summary: 'Groups that fold, and errors and warnings, in the log so far',
    params: jobParams,
    response: LogMarks,
  },
  getLogUsage: {
    method: 'GET',
    path: '/logs/usage',
    permission: 'system:read',
    summary: 'What the logs take on the disk, by day',
    response: LogUsage,
  },
  expireLogs: {
    method: 'POST',
    path: '/logs/expire',
    permission: 'system:write',
    summary: 'Remove the logs that are older than the retention time now; it happens every hour by itself',
    response: ExpiredLogs,
  },
  listWorkspaces: {
    method: 'GET',
    path: '/workspaces',
    permission: 'workspaces:read',
    summary: 'Workspaces, by name',
    response: z.object({ workspaces: z.array(Workspace) }),
  },
  addWorkspace: {
    method: 'POST',
    path: '/workspaces',
    permission: 'workspaces:write',
    summary: 'Add a directory, here or on a host',
    body: NewWorkspace,
    response: oneWorkspace,
    status: 201,
  },
  changeWorkspace: {
    method: 'PATCH',
    path: '/workspaces/:workspaceId',
    permission: 'workspaces:write',
    summary: 'Rename or move a workspace',
    params: workspaceParams,
    body: WorkspaceChange,
    response: oneWorkspace,
  },
  removeWorkspace: {
    method: 'DELETE',
    path: '/workspaces/:workspaceId',
    permission: 'workspaces:write',
    summary: 'Forget a workspace; its directory and its jobs stay',
    params: workspaceParams,
    status: 204,
  },
  listTargets: {
    method: 'GET',
    path: '/workspaces/:workspaceId/targets',
    permission: 'workspaces:read',
    summary: 'The make targets of a workspace, as make itself sees them',
    params: workspaceParams,
    response: TargetList,
  },
  listHosts: {
    method: 'GET',
    path: '/hosts',
    permission: 'hosts:read',
    summary: 'Hosts reached over SSH, by name',
    response: z.object({ hosts: z.array(Host) }),
  },
  addHost: {
    method: 'POST',
    path: '/hosts',
    permission: 'hosts:write',
    summary: 'Add a host',
    body: NewHost,
    response: oneHost,
    status: 201,
  },
  changeHost: {
    method: 'PATCH',
    path: '/hosts/:hostId',
    permission: 'hosts:write',
    summary: 'Change a host',
    params: hostParams,
    body: HostChange,
    response: oneHost,
  },
  removeHost: {
    method: 'DELETE',
    path: '/hosts/:hostId',
    permission: 'hosts:write',
    summary: 'Remove a host that nothing uses',
    params: hostParams,
    status: 204,
  },
  testHost: {
    method: 'POST',
    path: '/hosts/:hostId/test',
    permission: 'hosts:read',
    summary: 'Try the connection; answers with the keys that the host presents',
    params: hostParams,
    response: z.object({ test: HostTest }),
  },
  trustHost: {
    method: 'POST',
    path: '/hosts/:hostId/trust',
    permission: 'hosts:write',
    summary: 'Trust the key with this fingerprint, which the person has compared',
    params: hostParams,
    body: HostTrust,
    response: z.object({ test: HostTest }),
  },
  ...vmRoutes,
  ...requestRoutes,
  ...agentRoutes,
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;
type RouteTable = typeof routes;

type Parsed<T, K extends string> = T extends Record<K, infer S extends z.ZodType> ? z.output<S> : undefined;
type Sent<T, K extends string> = T extends Record<K, infer S extends z.ZodType> ? z.input<S> : undefined;

/** What a handler of this route gets, after parsing. */
export interface RouteInput<N extends RouteName> {
  params: Parsed<RouteTable[N], 'params'>;
  query: Parsed<RouteTable[N], 'query'>;
  body: Parsed<RouteTable[N], 'body'>;
}

/** What a client of this route sends, before parsing. */
export interface RouteRequest<N extends RouteName> {
  params: Sent<RouteTable[N], 'params'>;
  query: Sent<RouteTable[N], 'query'>;
  body: Sent<RouteTable[N], 'body'>;
}

/** The JSON that this route answers with; `undefined` for raw and empty answers. */
export type RouteOutput<N extends RouteName> = Parsed<RouteTable[N], 'response'>;
