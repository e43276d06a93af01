import {
  CodedError,
  Problem,
  routes,
  type ErrorCode,
  type Route,
  type RouteName,
  type RouteOutput,
  type RouteRequest,
} from '@vmo/contract';
import { UnreachableError } from './unreachable.ts';

export interface ClientOptions {
  /** Where the server is, for example `http://127.0.0.1:8000`; a path in front of `/api` is kept. */
  baseUrl: string;
  /** Sent as bearer token; a browser with a session cookie needs none. */
  token?: string;
  fetch?: typeof fetch;
  /**
   * Milliseconds until a call is given up; default 30,000. What a call asks the server to wait (`wait`) comes on top.
   * Downloads have no limit.
   */
  timeoutMs?: number;
}

/** Without the parts that a route does not have; those in which nothing is required may be left out. */
type Present<T> = {
  [K in keyof T as T[K] extends undefined ? never : Partial<T[K]> extends T[K] ? never : K]: T[K];
} & {
  [K in keyof T as T[K] extends undefined ? never : Partial<T[K]> extends T[K] ? K : never]?: T[K];
};

/** Parameters, query and body of one route – those that it has – and a signal to give the call up. */
export type CallOptions<N extends RouteName> = Present<RouteRequest<N>> & { signal?: AbortSignal };

/** A route where nothing is required may be called with the name alone. */
type CallArguments<N extends RouteName> =
  Partial<CallOptions<N>> extends CallOptions<N> ? [options?: CallOptions<N>] : [options: CallOptions<N>];

/** Routes whose body is bytes. */
export type UploadRouteName = {
  [N in RouteName]: (typeof routes)[N] extends { rawBody: string } ? N : never;
}[RouteName];

interface RawOptions {
  params?: unknown;
  query?: unknown;
  body?: unknown;
  bytes?: Blob;
  signal?: AbortSignal;
}

export interface Client {
  readonly baseUrl: string;
  /**
   * Calls a route and answers with its parsed JSON (`undefined` where the route has no answer).
   * @throws CodedError as the server said it, {@link UnreachableError} when no answer came.
   */
  call<N extends RouteName>(name: N, ...options: CallArguments<N>): Promise<RouteOutput<N>>;
  /**
   * Calls a route that answers with bytes; read them from the response's body.
   * @throws as {@link call}.
   */
  download<N extends RouteName>(name: N, ...options: CallArguments<N>): Promise<Response>;
  /**
   * Sends bytes to a route that takes them; large ones best in pieces, as there is no limit of time.
   * @throws as {@link call}.
   */
  upload<N extends UploadRouteName>(
    name: N,
    options: CallOptions<N> & { bytes: Blob },
  ): Promise<RouteOutput<N>>;
  /** The address of a route, for links and downloads by the browser itself. */
  url<N extends RouteName>(name: N, ...options: CallArguments<N>): string;
}

/** The typed REST client, made from the route table. Works in the browser and in Node. */
export function createClient(options: ClientOptions): Client {
  const baseUrl = options.baseUrl.replace(/\/+$/, '');
  const timeoutMs = options.timeoutMs ?? 30_000;

  async function request(name: RouteName, raw: RawOptions, limited: boolean): Promise<Response> {
    const route: Route = routes[name];
    const patienceMs = timeoutMs + waitMs(raw.query);
    const signals = [raw.signal, limited ? AbortSignal.timeout(patienceMs) : undefined].filter(
      (s) => s !== undefined,
    );
    const headers: Record<string, string> = {
      accept: route.raw ?? 'application/json, application/problem+json',
    };
    if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
    // Cookies know no ports: another server on the same host would replace the session of the page's own.
    const init: RequestInit = {
      method: route.method,
      headers,
      credentials: 'same-origin',
      redirect: 'error',
    };
    if (signals.length > 0) init.signal = AbortSignal.any(signals);
    if (route.rawBody !== undefined) {
      headers['content-type'] = route.rawBody;
      init.body = raw.bytes ?? null;
    } else if (route.method !== 'GET') {
      // State-changing requests must be JSON, so that no HTML form of another site can send one.
      headers['content-type'] = 'application/json';
      if (route.method !== 'DELETE') init.body = JSON.stringify(raw.body ?? {});
    }
    try {
      return await (options.fetch ?? fetch)(urlOf(baseUrl, name, raw), init);
    } catch (error) {
      if (raw.signal?.aborted) throw error;
      throw new UnreachableError(baseUrl, unreachableWords(baseUrl, error, patienceMs), { cause: error });
    }
  }

  return {
    baseUrl,
    async call<N extends RouteName>(name: N, ...[callOptions]: CallArguments<N>): Promise<RouteOutput<N>> {
      const response = await request(name, callOptions ?? {}, true);
      return (await readAnswer(baseUrl, name, response)) as RouteOutput<N>;
    },
    async download(name, ...[callOptions]) {
      const response = await request(name, callOptions ?? {}, false);
      if (!response.ok) throw await readProblem(baseUrl, response);
      return response;
    },
    async upload<N extends UploadRouteName>(
      name: N,
      uploadOptions: CallOptions<N> & { bytes: Blob },
    ): Promise<RouteOutput<N>> {
      const response = await request(name, uploadOptions, false);
      return (await readAnswer(baseUrl, name, response)) as RouteOutput<N>;
    },
    url(name, ...[callOptions]) {
      return urlOf(baseUrl, name, callOptions ?? {});
    },
  };
}

function urlOf(baseUrl: string, name: RouteName, { params, query }: RawOptions): string {
  const route: Route = routes[name];
  const values = fields(params);
  const path = route.path.replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(textOf(values[key])));
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(fields(query))) {
    if (value !== undefined && value !== null) search.set(key, textOf(value));
  }
  const tail = search.size > 0 ? `?${search.toString()}` : '';
  return `${baseUrl}${route.atRoot ? '' : '/api/v1'}${path}${tail}`;
}

/** How long the server is asked to take its time. */
function waitMs(query: unknown): number {
  const { wait } = fields(query);
  return typeof wait === 'number' ? wait * 1000 : 0;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

async function readAnswer(baseUrl: string, name: RouteName, response: Response): Promise<unknown> {
  const route: Route = routes[name];
  if (!route.response && response.ok) return undefined;
  const plainJson = isPlainJson(response);
  // /readyz answers 503 with its ordinary body: what is down is the answer, not an error of the call.
  if (!response.ok && !(plainJson && route.atRoot)) throw await readProblem(baseUrl, response);
  const parsed = plainJson ? route.response?.safeParse(await readJson(response)) : undefined;
  if (parsed?.success) return parsed.data;
  throw new UnreachableError(
    baseUrl,
    `${response.url || baseUrl} answered, but not as a VM-Orchestrator server does. Is the address right, and the server of the same version?`,
    { cause: parsed?.error },
  );
}

async function readProblem(baseUrl: string, response: Response): Promise<Error> {
  const problem = Problem.safeParse(await readJson(response));
  if (problem.success) {
    return new CodedError(problem.data.code, problem.data.detail, { issues: problem.data.issues ?? [] });
  }
  // A proxy in between answers in its own words.
  const code = codeOfForeignStatus(response.status);
  const words = `${baseUrl} answered ${String(response.status)} ${response.statusText}`.trim();
  return code ? new CodedError(code, words) : new UnreachableError(baseUrl, words);
}

function codeOfForeignStatus(status: number): ErrorCode | null {
  if (status === 401) return 'UNAUTHENTICATED';
  if (status === 403) return 'FORBIDDEN';
  if (status === 404) return 'NOT_FOUND';
  if (status === 413) return 'BODY_TOO_LARGE';
  return null;
}

function isPlainJson(response: Response): boolean {
  return /^application\/json\b/.test(response.headers.get('content-type') ?? '');
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return undefined;
  }
}

function unreachableWords(baseUrl: string, error: unknown, timeoutMs: number): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return `${baseUrl} did not answer within ${String(timeoutMs / 1000)} s. It may be busy or the network slow; try again.`;
  }
  return `${baseUrl} cannot be reached. Check that the server runs and that the network lets you through; then try again.`;
}
