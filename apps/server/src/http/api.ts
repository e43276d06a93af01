import { CodedError, parseInput, routes, type ErrorCode, type Route, type RouteName } from '@vmo/contract';
import { json, Router, type Request, type RequestHandler } from 'express';
import { permit, type Auth, type Principal } from '../auth/index.ts';
import { readAddress, readCredentials } from './credentials.ts';
import type { Handlers, RequestContext } from './handlers.ts';
import { allowLongBody } from './listener.ts';

export const apiPrefixes = ['/api/v1', '/api'] as const;
const maxBodyBytes = 256 * 1024;

/** An id that is not even an id names nothing: the same answer as for an unknown one. */
const unknownThing: Readonly<Record<string, ErrorCode>> = {
  jobId: 'JOB_NOT_FOUND',
  workspaceId: 'WORKSPACE_NOT_FOUND',
  hostId: 'HOST_NOT_FOUND',
  vmId: 'VM_NOT_FOUND',
  diskId: 'DISK_NOT_FOUND',
  imageName: 'IMAGE_NOT_FOUND',
  snapshotId: 'SNAPSHOT_NOT_FOUND',
  templateId: 'TEMPLATE_NOT_FOUND',
  operationId: 'OPERATION_NOT_FOUND',
  requestId: 'REQUEST_NOT_FOUND',
  index: 'ARTIFACT_NOT_FOUND',
  agentId: 'AGENT_NOT_FOUND',
};

function parseParams(route: Route, params: Request['params']): unknown {
  if (!route.params) return undefined;
  const result = route.params.safeParse(params);
  if (result.success) return result.data;
  const wrong = result.error.issues[0]?.path[0];
  const name = typeof wrong === 'string' ? wrong : '';
  const thing = name.replace(/(Id|Name)$/, '').replace(/^vm$/, 'machine');
  const what = name.endsWith('Name') ? 'name' : 'id';
  throw new CodedError(unknownThing[name] ?? 'NOT_FOUND', `there is no ${thing} with this ${what}`);
}

function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function requireJson(route: Route, request: Request): void {
  if (
    (route.body !== undefined || hasBody(request)) &&
    request.is('application/json') !== 'application/json'
  ) {
    throw new CodedError('NOT_JSON', 'send the body as JSON, with Content-Type: application/json');
  }
}

function requireBytes(type: string, request: Request): void {
  // Without a body there is nothing to be of any type: then no more bytes are coming.
  if (hasBody(request) && request.is(type) !== type) {
    throw new CodedError('NOT_BYTES', `send the bytes as they are, with Content-Type: ${type}`);
  }
}

/**
 * A browser sends the cookie by itself, so a change that rests on it must also come from one of our pages, and a
 * browser says so by Origin. Whether the Origin is allowed has been checked for every request.
 */
function requireOrigin(request: Request): void {
  const { bearer, cookie } = readCredentials(request);
  if (bearer === null && cookie !== null && request.headers.origin === undefined) {
    throw new CodedError(
      'ORIGIN_REFUSED',
      'a change with the session cookie needs an Origin: use the token instead',
    );
  }
}

type ParseJson = ReturnType<typeof json>;

function readBody(parseJson: ParseJson, request: Request, context: RequestContext): Promise<unknown> {
  return new Promise((resolve, reject) => {
    parseJson(request, context.response, (error?: unknown) => {
      if (error === undefined) resolve(request.body);
      else reject(error instanceof Error ? error : new Error('the body could not be read', { cause: error }));
    });
  });
}

/** One route of the table: origin, credential, permission, body, schema, handler, answer. */
function serve(name: RouteName, auth: Auth, handlers: Handlers): RequestHandler {
  const route: Route = routes[name];
  // The table ties each handler to the schemas that parsed its input; that tie cannot be told to the compiler here.
  const handle = handlers[name] as (input: unknown, context: RequestContext) => unknown;
  const parseJson = json({ limit: route.maxBodyBytes ?? maxBodyBytes });

  return async (request, response) => {
    const address = readAddress(request);
    let principal: Principal | null = null;
    if (route.method !== 'GET') requireOrigin(request);
    if (route.permission !== 'public') {
      principal = await auth.identify(readCredentials(request), address);
      permit(principal, route.permission);
    }
    const actor = principal?.actor ?? { name: 'anonymous', sessionId: null, address };
    const context: RequestContext = { principal, actor, request, response };
    let body: unknown;
    if (route.rawBody !== undefined) {
      requireBytes(route.rawBody, request);
      allowLongBody(request);
    } else if (route.method !== 'GET') {
      requireJson(route, request);
      body = await readBody(parseJson, request, context);
    }
    const input = {
      params: parseParams(route, request.params),
      query: route.query && parseInput(route.query, request.query),
      body: route.body && parseInput(route.body, body),
    };
    if (route.status !== undefined) response.status(route.status);
    const answer = await Promise.resolve(handle(input, context)).catch((error: unknown) => {
      // Behind the rest of a body that nobody reads, no other request would be found.
      if (route.rawBody !== undefined && !request.complete) response.setHeader('Connection', 'close');
      throw error;
    });
    if (route.response) response.json(answer);
    else if (route.raw === undefined) response.end();
  };
}

/** At the root the page has views of the same name: a browser that asks for a page gets it. */
const unlessPage: RequestHandler = (request, response, next) => {
  if (request.method === 'GET' && request.accepts(['json', 'html']) === 'html') {
    next('route');
    return;
  }
  response.setHeader('Cache-Control', 'no-store');
  next();
};

/** Every route of the contract's table, under each prefix; what is left below a prefix is answered with 404. */
export function createApi(auth: Auth, handlers: Handlers): Router {
  const router = Router({ caseSensitive: true });
  for (const name of Object.keys(routes) as RouteName[]) {
    const route: Route = routes[name];
    const paths = route.atRoot ? [route.path] : apiPrefixes.map((prefix) => prefix + route.path);
    const method = route.method.toLowerCase() as Lowercase<Route['method']>;
    const answer = serve(name, auth, handlers);
    router[method](paths, answer);
    if (route.alsoAtRoot) router[method](route.path, unlessPage, answer);
  }
  return router;
}

/** Put behind everything that lives below the API prefixes. */
export const answerUnknownApi: RequestHandler = (request) => {
  throw new CodedError(
    'NOT_FOUND',
    `there is no ${request.method} ${request.baseUrl}${request.path}; see /docs`,
  );
};
