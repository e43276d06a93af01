import type { requestRoutes } from '@vmo/contract';
import type { Response } from 'express';
import type { Requests } from '../requests/index.ts';
import type { Handlers } from './handlers.ts';
import { sendBytes } from './send-bytes.ts';

/** What happens on each route of simulation requests: one call into their domain. */
export function createRequestHandlers(requests: Requests): Pick<Handlers, keyof typeof requestRoutes> {
  return {
    submitRequest: async ({ body }, { actor, response }) => {
      const { created, ...answer } = await requests.submit(actor, body);
      if (!created) response.status(200);
      return answer;
    },
    submitBatch: ({ body }, { actor }) => requests.submitBatch(actor, body),
    listRequests: ({ query }) => requests.list(query),
    getRunner: (_, { response }) => {
      response.attachment('vmo-runner').type('text/x-shellscript').send(requests.runner);
    },
    getRequestStatistics: ({ query }) => requests.statistics(query.days),
    getRequest: ({ params, query }, { response }) =>
      requests.get(params.requestId, query.wait, whileOpen(response)),
    listRequestLogs: ({ params, query }, { response }) =>
      requests.logs(params.requestId, query, whileOpen(response)),
    changeRequestStatus: ({ params, body }, { actor }) =>
      requests.changeStatus(actor, params.requestId, body.status),
    deleteRequest: ({ params }, { actor }) => requests.remove(actor, params.requestId),
    rerunRequest: ({ params }, { actor }) => requests.rerun(actor, params.requestId),
    bringRequest: ({ params }, { actor }) => requests.bring(actor, params.requestId),
    openRequest: ({ params, query }, { actor }) =>
      requests.open(actor, params.requestId, query.start === 'true'),
    getArtifact: async ({ params }, { response }) => {
      const { name, sizeBytes, bytes } = await requests.artifact(params.requestId, params.index);
      response.attachment(name);
      response.setHeader('Content-Type', 'application/octet-stream');
      response.setHeader('Content-Length', sizeBytes);
      await sendBytes(bytes, response);
    },
  };
}

/** Ends when whoever asked has gone. */
function whileOpen(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    gone.abort();
  });
  return gone.signal;
}
