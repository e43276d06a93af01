import { CodedError } from '@vmo/contract';
import type { RequestHandler } from 'express';
import helmet from 'helmet';
import type { OriginPolicy } from '../auth/index.ts';
import { readCredentials } from './credentials.ts';

const probes = new Set(['/healthz', '/readyz']);

/**
 * Refuses foreign pages and foreign names of this server.
 *
 * An Origin, where there is one, must be allowed. The Host must be one of ours, which stops DNS rebinding; two kinds
 * of requests may come under any name, since no browser page can make them: health probes, which answer
 * everybody, and programs that send a bearer token and no Origin (through a tunnel or a proxy, say).
 */
export function guardOrigin(policy: OriginPolicy): RequestHandler {
  return (request, _response, next) => {
    const { origin, host } = request.headers;
    if (origin !== undefined && !policy.allowsOrigin(origin)) {
      throw new CodedError(
        'ORIGIN_REFUSED',
        `pages of ${origin} may not talk to this server; VMO_ALLOWED_ORIGINS lists those that may`,
      );
    }
    const anyName =
      probes.has(request.path) || (origin === undefined && readCredentials(request).bearer !== null);
    if (!anyName && !policy.allowsHost(host)) {
      throw new CodedError(
        'ORIGIN_REFUSED',
        `this server does not answer to the name ${host ?? '(none)'}; add its origin to VMO_ALLOWED_ORIGINS if it should`,
      );
    }
    next();
  };
}

/** Lets the allowed pages on other origins read the answers. Runs behind `guardOrigin`, so every Origin here is allowed. */
export const cors: RequestHandler = (request, response, next) => {
  const { origin } = request.headers;
  response.vary('Origin');
  if (origin === undefined) {
    next();
    return;
  }
  response.setHeader('Access-Control-Allow-Origin', origin);
  response.setHeader('Access-Control-Allow-Credentials', 'true');
  response.setHeader('Access-Control-Expose-Headers', 'Content-Disposition, Retry-After');
  if (request.method !== 'OPTIONS') {
    next();
    return;
  }
  response.setHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, PATCH, DELETE');
  response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type');
  response.setHeader('Access-Control-Max-Age', '600');
  response.status(204).end();
};

/** helmet's headers; the content security policy of pages is set where the page is made. */
export function securityHeaders(tls: boolean): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    strictTransportSecurity: tls,
    referrerPolicy: { policy: 'no-referrer' },
  });
}
