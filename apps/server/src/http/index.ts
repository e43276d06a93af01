import { join } from 'node:path';
import { CodedError } from '@vmo/contract';
import express, { type Express } from 'express';
import type { OriginPolicy } from '../auth/index.ts';
import type { Logger } from '../kernel/logger.ts';
import { answerUnknownApi, apiPrefixes, createApi } from './api.ts';
import { createDocs } from './docs.ts';
import { answerErrors } from './errors.ts';
import { createHandlers, type HandlerDependencies } from './handlers.ts';
import { cors, guardOrigin, securityHeaders } from './security.ts';
import { createUi } from './ui.ts';

export { createNewsBoard } from './agent-news.ts';
export { readAddress, readCredentials } from './credentials.ts';
export { logError, toCodedError } from './errors.ts';
export { createListener, isLoopback } from './listener.ts';

const webBuild = join(import.meta.dirname, '..', '..', '..', 'web', 'build');

export interface HttpOptions extends HandlerDependencies {
  policy: OriginPolicy;
  logger: Logger;
  allowedOrigins: readonly string[];
  version: string;
}

/** The Express application: API, its documentation, and the web interface, on one port. */
export function createHttp(options: HttpOptions): Express {
  const { auth, policy, logger, allowedOrigins, tls, version } = options;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', 'simple');
  app.use(securityHeaders(tls), guardOrigin(policy), cors);
  app.use([...apiPrefixes], (_request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    next();
  });
  app.use(createApi(auth, createHandlers(options)));
  app.use(createDocs({ version, auth }));
  app.use([...apiPrefixes], answerUnknownApi);
  app.use(createUi({ directory: webBuild, allowedOrigins }));
  app.use((request) => {
    throw new CodedError('NOT_FOUND', `there is nothing at ${request.path}`);
  });
  app.use(answerErrors(logger));
  return app;
}
