import { routes, socketCommands, type Route } from '@vmo/contract';
import { startTestServer, type TestServer } from '@vmo/testkit';
import fc, { type Arbitrary } from 'fast-check';
import { io, type Socket } from 'socket.io-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { namedSchemas, refPrefix, toSchema, type JsonSchema } from './openapi.ts';

/** Generated inputs per route and event; the long run takes 1000. */
const numRuns = Number(process.env.VMO_FUZZ_RUNS ?? 25);
const timeoutMs = 60_000 + numRuns * 500;

let server: TestServer;
let socket: Socket;
beforeAll(async () => {
  // Generated input makes machines by the dozen: none of them has to run.
  server = await startTestServer({ env: { VMO_DRY_RUN: '1' } });
  socket = io(`${server.url}/jobs`, { transports: ['websocket'], auth: { token: server.token } });
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve);
  });
}, 60_000);
afterAll(async () => {
  socket.disconnect();
  await server[Symbol.asyncDispose]();
});

/** Commands are really run: whatever is generated stands behind a comment sign. */
const harmless = (text: string) => `true # ${text.replace(/[\n\r]/g, ' ')}`;

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '\0', '../..', '-oProxyCommand=x', "';--", '$(x)', '%', '\ud800', 'a'.repeat(40_000)),
);

/** Values that mostly fit a schema. */
function fitting(schema: JsonSchema, name = ''): Arbitrary<unknown> {
  if (schema.$ref !== undefined)
    return fitting(namedSchemas[schema.$ref.slice(refPrefix.length)] ?? {}, name);
  if (schema.properties) {
    const fields = Object.entries(schema.properties).map(
      ([field, value]) => [field, input(value, field)] as const,
    );
    const record = Object.fromEntries(fields);
    return fc.record(record, { requiredKeys: schema.required ?? [] });
  }
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((one) => fitting(one, name)));
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (name === 'command') return text.map(harmless);
  if (schema.format === 'uuid') return fc.uuid({ version: 7 });
  switch (schema.type) {
    case 'string':
      return name === 'directory' || name === 'cwd'
        ? fc.oneof(
            fc.constantFrom('/tmp', '~/', '/nowhere'),
            text.map((path) => `/${path}`),
          )
        : text;
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer({ min: 0, max: 100 }), fc.double(), fc.constantFrom(-1, 2 ** 31, 2 ** 53));
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return fc.dictionary(fc.string(), text, { maxKeys: 5 });
  }
}

/** Mostly what fits, sometimes anything at all. A command stays harmless all the same. */
function input(schema: JsonSchema, name = ''): Arbitrary<unknown> {
  const junk = fc
    .jsonValue({ maxDepth: 3 })
    .map((value) => (name === 'command' && typeof value === 'string' ? harmless(value) : value));
  return fc.oneof({ arbitrary: fitting(schema, name), weight: 6 }, { arbitrary: junk, weight: 1 });
}

/** `jsonValue` may happen upon an object with a command as well, but never upon this key with a runnable text. */
const parts = (schema: Route['body']) => (schema ? input(toSchema(schema, 'input')) : fc.constant(undefined));

const asQuery = (value: unknown) =>
  value === undefined || value === null || typeof value !== 'object'
    ? ''
    : `?${Object.entries(value)
        .map(
          ([name, field]) =>
            `${encode(name)}=${encode(typeof field === 'string' ? field : JSON.stringify(field))}`,
        )
        .join('&')}`;
const encode = (part: string) => encodeURIComponent(part.toWellFormed());

describe('generated input', () => {
  it.each(Object.entries<Route>(routes))(
    'never breaks the route %s',
    async (_name, route) => {
      const arbitrary = fc.record({
        params: parts(route.params),
        query: parts(route.query),
        body: parts(route.body),
      });
      await fc.assert(
        fc.asyncProperty(arbitrary, async ({ params, query, body }) => {
          const path = route.path.replace(/:(\w+)/g, (_, name: string) => {
            const value: unknown =
              params !== null && typeof params === 'object' ? Reflect.get(params, name) : params;
            return encode(typeof value === 'string' ? value : JSON.stringify(value ?? 'x')) || 'x';
          });
          const url = `${server.url}${route.atRoot ? '' : '/api/v1'}${path}${asQuery(query)}`;
          // Node itself answers a longer head with 431 and closes: what is sent next on that connection is not heard.
          fc.pre(url.length <= 15 * 1024);
          const answer = await fetch(url, {
            method: route.method,
            headers: {
              authorization: `Bearer ${server.token}`,
              'content-type': route.rawBody ?? 'application/json',
            },
            ...(body === undefined && route.rawBody === undefined
              ? {}
              : { body: JSON.stringify(body ?? path) }),
          });
          await answer.arrayBuffer();
          expect(answer.status, `${route.method} ${path}`).toBeLessThan(500);
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it.each(Object.entries(socketCommands))(
    'never breaks the event %s',
    async (name, { payload }) => {
      await fc.assert(
        fc.asyncProperty(parts(payload), async (sent) => {
          const answer = (await socket.timeout(20_000).emitWithAck(name, sent)) as {
            ok: boolean;
            error?: { code: string };
          };
          expect(typeof answer.ok).toBe('boolean');
          expect(answer.error?.code).not.toBe('INTERNAL');
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it('left the server up, and nothing unexpected in its log', async () => {
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect(server.log).not.toContain('unexpected error');
  });
});
