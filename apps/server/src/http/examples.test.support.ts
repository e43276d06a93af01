import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { routes, type Route, type RouteName } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import { expect } from 'vitest';
import { Example, Examples, examplesFile } from './examples.ts';

export interface Call {
  params?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  bytes?: Uint8Array<ArrayBuffer>;
  /** Instead of the owner's. */
  token?: string;
  cookie?: string;
}

const maxText = 400;
const maxItems = 2;
const ids = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const moments = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

/** The same words for what differs from run to run, so that a document does not change with every run. */
function createNormaliser(server: TestServer, places: Readonly<Record<string, string>>) {
  const replaced = Object.entries({
    [server.startDirectory]: '/home/me/project',
    [server.dataDirectory]: '/var/lib/vmo',
    [server.url]: 'http://127.0.0.1:8000',
    [server.token]: 'TOKEN',
    [join(import.meta.dirname, '..', '..', '..', '..')]: '/opt/vm-orchestrator',
    ...places,
  });
  const known = new Map<string, string>();
  const rename = (id: string) => {
    if (!known.has(id)) known.set(id, `019b0000-0000-7000-8000-${String(known.size + 1).padStart(12, '0')}`);
    return known.get(id) ?? id;
  };
  const words = (text: string): string =>
    replaced
      .reduce((changed, [from, to]) => changed.replaceAll(from, to), text)
      .replace(/vmo-agent-[\w-]+/g, 'vmo-agent-TOKEN')
      .replace(ids, rename)
      .replace(moments, '2026-11-26T09:00:00.000Z');
  const walk = (value: unknown): unknown => {
    if (typeof value === 'string') {
      const text = words(value);
      return text.length > maxText ? `${text.slice(0, maxText)}…` : text;
    }
    if (Array.isArray(value)) return value.slice(0, maxItems).map(walk);
    if (typeof value !== 'object' || value === null) return value;
    // Machines of others on this computer are nobody's example.
    const shown = Object.entries(value).map(([key, one]) => [
      words(key),
      key === 'strangers' ? [] : walk(one),
    ]);
    return Object.fromEntries(shown) as unknown;
  };
  return walk;
}

/** The names of the fields, all the way down; of a list, those of its first item. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== 'object' || value === null) return null;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, one]) => [key, shapeOf(one)] as const)
      .sort(([a], [b]) => a.localeCompare(b)),
  );
}

/** What is null or empty in one of them says nothing about the other. */
function expectSameShape(now: unknown, written: unknown, where: string): void {
  if (typeof now !== 'object' || typeof written !== 'object' || now === null || written === null) return;
  if (Array.isArray(now) && Array.isArray(written)) {
    if (now.length > 0 && written.length > 0) expectSameShape(now[0], written[0], `${where}[0]`);
    return;
  }
  expect(Object.keys(now).toSorted(), where).toEqual(Object.keys(written).toSorted());
  const other = new Map(Object.entries(written));
  for (const [key, value] of Object.entries(now)) expectSameShape(value, other.get(key), `${where}.${key}`);
}

/** Calls routes of a real server and remembers what was asked and answered. `places`: paths that differ, and their names. */
export function createRecorder(server: TestServer, places: Readonly<Record<string, string>>) {
  const normalise = createNormaliser(server, places);
  const taken = new Map<RouteName, Example>();

  function urlOf(name: RouteName, { params = {}, query = {} }: Call): string {
    const route: Route = routes[name];
    const path = route.path.replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(String(params[key])));
    const search = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
    return `${server.url}${route.atRoot ? '' : '/api/v1'}${path}${search.size > 0 ? `?${search.toString()}` : ''}`;
  }

  return {
    taken,

    /** @returns the answer's JSON, or its text; `headers` beside it */
    async call(name: RouteName, call: Call = {}): Promise<{ answer: unknown; headers: Headers }> {
      const route: Route = routes[name];
      const { params, query, body, bytes, token = server.token, cookie } = call;
      const headers: Record<string, string> = {};
      if (cookie === undefined && route.permission !== 'public') headers.authorization = `Bearer ${token}`;
      if (cookie !== undefined) Object.assign(headers, { cookie, origin: server.url });
      if (route.method !== 'GET') headers['content-type'] = route.rawBody ?? 'application/json';
      const json = route.method === 'GET' || route.method === 'DELETE' ? null : JSON.stringify(body ?? {});
      const response = await fetch(urlOf(name, call), { method: route.method, headers, body: bytes ?? json });
      const isJson = /json$|json;/.test(response.headers.get('content-type') ?? '');
      const text = await response.text();
      const answer: unknown = isJson && !route.raw ? JSON.parse(text) : text;
      expect(response.status, `${name}: ${text.slice(0, 500)}`).toBe(route.status ?? 200);
      if (route.response) route.response.parse(answer);
      const isText = route.raw === undefined || /^text|json/.test(route.raw);
      // Of several calls the last: what is waited for is there.
      taken.set(
        name,
        Example.parse(
          normalise({
            ...{ status: response.status, ...(params && { params }), ...(query && { query }) },
            ...(route.body && { body: body ?? {} }),
            ...(response.status !== 204 && isText && { answer }),
          }),
        ),
      );
      return { answer, headers: response.headers };
    },

    /** Compares with what the documentation shows; with VMO_WRITE_EXAMPLES it is written anew. */
    async settle(): Promise<void> {
      const now = Object.fromEntries([...taken].sort(([a], [b]) => a.localeCompare(b)));
      if (process.env.VMO_WRITE_EXAMPLES) {
        await writeFile(examplesFile, `${JSON.stringify(now, null, 2)}\n`);
        return;
      }
      const written = Examples.parse(JSON.parse(await readFile(examplesFile, 'utf8')));
      expect(Object.keys(written)).toEqual(Object.keys(now));
      for (const [name, { answer, ...asked }] of Object.entries(now)) {
        const { answer: shown, ...told } = written[name] ?? { status: 0 };
        expect(shapeOf(told), `${name}: what is asked`).toEqual(shapeOf(asked));
        expect(told.status, name).toBe(asked.status);
        expectSameShape(answer, shown, name);
      }
    },
  };
}
