import {
  ErrorCode,
  Artifact,
  CommandResult,
  Host,
  HostKey,
  HostTest,
  Job,
  JobEvent,
  jobsNamespace,
  JobSubmission,
  MakeTarget,
  MakeVariable,
  Problem,
  routes,
  RequestLogEntry,
  Session,
  SimulationRequest,
  socketCommands,
  socketFacts,
  TerminalScreen,
  Workspace,
  Disk,
  Image,
  Snapshot,
  Template,
  Vm,
  VmHost,
  vmFacts,
  VmMetric,
  VmOperation,
  vmsNamespace,
  VmSummary,
  type Route,
} from '@vmo/contract';
import { z } from 'zod';
import { readExamples } from './examples.ts';

/** The part of JSON Schema that zod writes. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  default?: unknown;
  additionalProperties?: JsonSchema | boolean;
  [keyword: string]: unknown;
}

/** Schemas that stand under their own name, and are referred to by it. */
const named = {
  ...{ Job, JobEvent, JobSubmission, Workspace, Host, HostKey, HostTest, MakeTarget, MakeVariable },
  ...{ Vm, VmSummary, VmOperation, VmMetric, VmHost, Snapshot, Disk, Image, Template },
  ...{ SimulationRequest, CommandResult, Artifact, RequestLogEntry },
  ...{ Problem, Session, TerminalScreen, ErrorCode },
};

export const refPrefix = '#/components/schemas/';

// In zod's own registry, where the descriptions are as well: it takes one registry for both.
for (const [id, schema] of Object.entries(named)) {
  z.globalRegistry.add(schema, { ...z.globalRegistry.get(schema), id });
}

interface Written {
  schema: JsonSchema;
  definitions: Readonly<Record<string, JsonSchema>>;
}

function write(type: z.ZodType, io: 'input' | 'output'): Written {
  const written = z.toJSONSchema(type, { io, unrepresentable: 'any' });
  const text = JSON.stringify(written).replaceAll('"#/$defs/', `"${refPrefix}`);
  const { $defs: definitions = {}, ...schema } = JSON.parse(text) as JsonSchema & {
    $defs?: Written['definitions'];
  };
  delete schema.$schema;
  return { schema, definitions };
}

/** The schema as an OpenAPI document has it: named schemas as references into `components`. */
export const toSchema = (schema: z.ZodType, io: 'input' | 'output') => write(schema, io).schema;

export const namedSchemas: Readonly<Record<string, JsonSchema>> = Object.fromEntries(
  Object.entries(named).map(([id, schema]) => {
    const { definitions } = write(schema, schema === JobSubmission ? 'input' : 'output');
    const definition = definitions[id] ?? {};
    delete definition.id;
    return [id, definition];
  }),
);

/** Each field of an object schema as a parameter of a request. */
export function toParameters(route: Route) {
  return (['path', 'query'] as const).flatMap((place) => {
    const schema = place === 'path' ? route.params : route.query;
    const { properties = {}, required = [] } = schema ? toSchema(schema, 'input') : {};
    return Object.entries(properties).map(([name, { description, ...rest }]) => ({
      name,
      in: place,
      required: place === 'path' || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: rest,
    }));
  });
}

const examples = readExamples();

function toResponse(name: string, route: Route): object {
  const answer = examples[name]?.answer;
  const description = route.status === 204 ? 'Done' : route.summary;
  const example = answer === undefined ? {} : { example: answer };
  if (route.raw !== undefined) {
    return {
      description,
      content: { [route.raw]: { schema: { type: 'string', format: 'binary' }, ...example } },
    };
  }
  if (!route.response) return { description };
  return {
    description,
    content: { 'application/json': { schema: toSchema(route.response, 'output'), ...example } },
  };
}

/** First folder of the path: what the route is about. */
export const tagOf = (route: Route) => (route.atRoot ? 'system' : (route.path.split('/')[1] ?? 'system'));

function toOperation(name: string, route: Route): object {
  const { params, query, body } = examples[name] ?? {};
  const asked = new Map(Object.entries({ ...params, ...query }));
  const parameters = toParameters(route).map((parameter) =>
    asked.has(parameter.name) ? { ...parameter, example: asked.get(parameter.name) } : parameter,
  );
  return {
    operationId: name,
    summary: route.summary,
    tags: [tagOf(route)],
    'x-permission': route.permission,
    ...(route.permission === 'public' ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.rawBody !== undefined
      ? {
          requestBody: {
            required: true,
            content: { [route.rawBody]: { schema: { type: 'string', format: 'binary' } } },
          },
        }
      : {}),
    ...(route.body
      ? {
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: toSchema(route.body, 'input'),
                ...(body !== undefined && { example: body }),
              },
            },
          },
        }
      : {}),
    responses: {
      [String(route.status ?? 200)]: toResponse(name, route),
      default: {
        description: 'An error; `code` is stable',
        content: { 'application/problem+json': { schema: { $ref: `${refPrefix}Problem` } } },
      },
    },
  };
}

/** The OpenAPI 3.1 document, made from the same table as the routes themselves. */
export function createOpenApi(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    const path = (route.atRoot ? '' : '/api/v1') + route.path.replace(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = toOperation(name, route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'VM-Orchestrator',
      version,
      description: 'Run commands, watch every byte, keep the record. `/api` is the same as `/api/v1`.',
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { session: [] }],
    paths,
    components: {
      schemas: namedSchemas,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'vmo_session' },
      },
    },
    'x-socket-events': {
      namespace: jobsNamespace,
      transport:
        'Socket.IO 4 (WebSocket, or polling that upgrades to it), path /socket.io; credential: session cookie or auth.token',
      commands: Object.fromEntries(
        Object.entries(socketCommands).map(([name, { permission, summary, payload, answer }]) => [
          name,
          { permission, summary, payload: toSchema(payload, 'input'), answer: toSchema(answer, 'output') },
        ]),
      ),
      facts: Object.fromEntries(
        Object.entries(socketFacts).map(([name, { summary, payload }]) => [
          name,
          { summary, payload: toSchema(payload, 'output') },
        ]),
      ),
      vms: {
        namespace: vmsNamespace,
        facts: Object.fromEntries(
          Object.entries(vmFacts).map(([name, { summary, payload }]) => [
            name,
            { summary, payload: toSchema(payload, 'output') },
          ]),
        ),
      },
    },
  };
}
