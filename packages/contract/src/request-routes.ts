import { z } from 'zod';
import { RequestId } from './ids.ts';
import { NewBatch, NewRequest } from './new-request.ts';
import { maxRequestWait, RequestLogPage, RequestLogsQuery } from './request-logs.ts';
import { RequestStatistics, RequestStatisticsQuery } from './request-statistics.ts';
import {
  BatchAnswer,
  RequestAnswer,
  RequestFilter,
  RequestPage,
  RequestStatusChange,
  SimulationRequest,
} from './requests.ts';
import type { Route } from './route.ts';
import { Vm } from './vms.ts';

const requestParams = z.object({ requestId: RequestId });
/** Files to put in travel as base64 in JSON. */
const maxBodyBytes = 16 * 1024 * 1024;

/** Simulation requests: below the API prefix, and at the root, where their first users expect them. */
export const requestRoutes = {
  submitRequest: {
    method: 'POST',
    path: '/requests',
    alsoAtRoot: true,
    permission: 'jobs:run',
    summary: 'Boot a machine, run commands in it, keep the output',
    body: NewRequest,
    maxBodyBytes,
    response: RequestAnswer,
    status: 201,
  },
  submitBatch: {
    method: 'POST',
    path: '/requests/batch',
    alsoAtRoot: true,
    permission: 'jobs:run',
    summary: 'Every machine with every one of the commands',
    body: NewBatch,
    maxBodyBytes,
    response: BatchAnswer,
    status: 201,
  },
  listRequests: {
    method: 'GET',
    path: '/requests',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'Requests, newest first',
    query: RequestFilter,
    response: RequestPage,
  },
  // Before what takes any word for an id.
  getRunner: {
    method: 'GET',
    path: '/requests/runner',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'The script that runs the commands of requests in a guest, for images of yours',
    raw: 'text/x-shellscript',
  },
  getRequestStatistics: {
    method: 'GET',
    path: '/requests/statistics',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'Requests by day: how they ended, how long they waited and booted, how much they wrote',
    query: RequestStatisticsQuery,
    response: RequestStatistics,
  },
  getRequest: {
    method: 'GET',
    path: '/requests/:requestId',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'One request; with `wait` it is answered when it has ended, or after so many seconds',
    params: requestParams,
    query: z.strictObject({
      wait: z.coerce.number().min(0).max(maxRequestWait).default(0).describe('Seconds'),
    }),
    response: SimulationRequest,
  },
  listRequestLogs: {
    method: 'GET',
    path: '/requests/:requestId/logs',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'Its log, entry by entry: boot, command, stdout, stderr, system',
    params: requestParams,
    query: RequestLogsQuery,
    response: RequestLogPage,
  },
  changeRequestStatus: {
    method: 'PUT',
    path: '/requests/:requestId/status',
    alsoAtRoot: true,
    permission: 'jobs:cancel',
    summary: 'Hold, release (pending) or cancel; 409 names the state and what it allows',
    params: requestParams,
    body: RequestStatusChange,
    response: RequestAnswer,
  },
  deleteRequest: {
    method: 'DELETE',
    path: '/requests/:requestId',
    alsoAtRoot: true,
    permission: 'jobs:cancel',
    summary: 'Cancel a request that goes on; delete one that has ended, with its log and artifacts',
    params: requestParams,
    response: RequestAnswer.extend({ deleted: z.boolean() }),
  },
  rerunRequest: {
    method: 'POST',
    path: '/requests/:requestId/rerun',
    alsoAtRoot: true,
    permission: 'jobs:run',
    summary: 'Run the same again, as a new request',
    params: requestParams,
    response: RequestAnswer,
    status: 201,
  },
  bringRequest: {
    method: 'POST',
    path: '/requests/:requestId/bring',
    alsoAtRoot: true,
    permission: 'vms:write',
    summary:
      'Bring the disk that was kept of a failed request from the machine of its agent, so that it can be opened; goes on where it was cut',
    params: requestParams,
    response: SimulationRequest,
    status: 202,
  },
  openRequest: {
    method: 'POST',
    path: '/requests/:requestId/open',
    alsoAtRoot: true,
    permission: 'vms:write',
    summary:
      'Make a machine of the disk that was kept of a failed request, and start it; when it is there, it is answered again',
    params: requestParams,
    query: z.strictObject({
      start: z.enum(['true', 'false']).default('true').describe('`false`: leave the machine stopped'),
    }),
    response: z.object({ vm: Vm, message: z.string() }),
    status: 202,
  },
  getArtifact: {
    method: 'GET',
    path: '/requests/:requestId/artifacts/:index',
    alsoAtRoot: true,
    permission: 'jobs:read',
    summary: 'The bytes of an artifact, as a download',
    params: requestParams.extend({ index: z.coerce.number().int().min(0).max(1000) }),
    raw: 'application/octet-stream',
  },
} as const satisfies Record<string, Route>;
