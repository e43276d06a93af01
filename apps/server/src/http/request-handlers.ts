import { CodedError, type requestRoutes } from '@vmo/contract';
import type { Handlers } from './handlers.ts';

const notYet = (): never => {
  throw new CodedError('HYPERVISOR_UNAVAILABLE', 'simulation requests are not served by this version yet');
};

/** What happens on each route of simulation requests: one call into their domain. */
export function createRequestHandlers(): Pick<Handlers, keyof typeof requestRoutes> {
  return {
    submitRequest: notYet,
    submitBatch: notYet,
    listRequests: notYet,
    getRequest: notYet,
    listRequestLogs: notYet,
    changeRequestStatus: notYet,
    deleteRequest: notYet,
    rerunRequest: notYet,
    getArtifact: notYet,
  };
}
