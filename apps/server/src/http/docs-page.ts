import {
  errorStatus,
  jobsNamespace,
  routes,
  socketCommands,
  socketFacts,
  vmFacts,
  vmsNamespace,
  type ErrorCode,
  type Route,
} from '@vmo/contract';
import { html, prose, schemaTable, type Html } from './docs-html.ts';
import { readExamples, type Example } from './examples.ts';
import { namedSchemas, tagOf, toParameters, toSchema, type JsonSchema } from './openapi.ts';

/** What each error means and what to do about it; the codes are anchors, and problem documents point to them. */
const errorMeaning: Readonly<Record<ErrorCode, string>> = {
  BAD_JSON: 'The body is not well-formed JSON.',
  UNAUTHENTICATED: 'No credential, or one that is wrong, expired or revoked. Log in, or send the token.',
  AGENT_REVOKED: 'The token of this agent was revoked: make a new agent',
  LOGIN_FAILED: 'The token is wrong, or the start link was used before or is older than ten minutes.',
  FORBIDDEN: 'Logged in, and without the permission that this needs.',
  ORIGIN_REFUSED:
    'The request comes from a page, or under a name, that is not allowed. See `VMO_ALLOWED_ORIGINS`.',
  NOT_FOUND: 'There is nothing under this path, or no such event.',
  JOB_NOT_FOUND: 'There is no job with this id.',
  WORKSPACE_NOT_FOUND: 'There is no workspace with this id.',
  HOST_NOT_FOUND: 'There is no host with this id or name.',
  VM_NOT_FOUND: 'There is no machine with this id.',
  DISK_NOT_FOUND: 'There is no disk with this id, or the machine does not have it.',
  IMAGE_NOT_FOUND: 'There is no image with this name; `detail` names those that are near.',
  SNAPSHOT_NOT_FOUND: 'There is no snapshot with this id.',
  TEMPLATE_NOT_FOUND: 'There is no template with this id.',
  OPERATION_NOT_FOUND: 'There is no operation with this id.',
  REQUEST_NOT_FOUND: 'No simulation request has this uuid.',
  ARTIFACT_NOT_FOUND: 'The request has no such artifact, or it was not there in the guest.',
  JOB_ALREADY_FINISHED: 'The job has ended: a final state never changes.',
  SECRETS_FORGOTTEN:
    'The job had secret variables; they are forgotten when it has ended, so it cannot be run again as it was.',
  JOB_NOT_RUNNING: 'This needs a running job.',
  NOT_IN_CONTROL: 'Another browser types into this terminal. Take control first.',
  INPUT_NOT_READ: 'The program in the terminal has left too much input unread. Try again when it reads.',
  NAME_TAKEN: 'Something else has this name already.',
  HOST_IN_USE: 'A workspace is on this host, or a job on it has not ended.',
  HOST_KEY_UNTRUSTED:
    'The key that the host presents is not trusted. Compare its fingerprint, then trust it.',
  VM_WRONG_STATE:
    'The state of the machine does not allow this; `detail` names the state and what it allows. Nothing was queued.',
  DISK_IN_USE: 'A machine has this disk, or something is being done with it. Detach it first.',
  DISK_NOT_READY: 'Wait until the disk is made or has grown; one that was not made says why.',
  IMAGE_IN_USE: 'Disks lie on this image, or machines boot it. `detail` names some.',
  IMAGE_NOT_READY: 'The image is not complete, or is being sent or checked by somebody else.',
  REQUEST_WRONG_STATE:
    'A simulation request in this state does not allow this; the message names what it does allow.',
  WRONG_OFFSET:
    'The upload does not go on at this byte: `issues` holds the right one, as does `receivedBytes` of the image.',
  AGENT_NOT_FOUND: 'There is no such agent',
  AGENT_BUSY: 'The agent has jobs, or is the server’s own',
  AGENT_ELSEWHERE: 'The token is used by an agent in another data directory',
  AGENT_INCOMPATIBLE: 'Agent and server speak different versions: update the older one',
  BODY_TOO_LARGE: 'The body is larger than 256 KiB.',
  NOT_JSON: 'The body must be JSON, with `Content-Type: application/json`.',
  NOT_BYTES: 'The body must be bytes, with `Content-Type: application/octet-stream`.',
  INVALID_INPUT: 'Fields are missing, wrong or unknown; `issues` names each with its path.',
  DIRECTORY_UNUSABLE: 'The directory does not exist, is none, or cannot be read by the server.',
  MAKE_FAILED: 'make could not read the Makefile; `detail` holds its own words, with file and line.',
  HOST_UNREACHABLE: 'The host does not answer over SSH; `detail` says why.',
  NOT_A_TERMINAL: 'Only jobs of type `terminal` have a screen and take input.',
  NO_EXTERNAL_TERMINAL: 'The server has no external terminal. See `VMO_TERM_CMD`.',
  IMAGE_REFUSED:
    'The image is not what it is said to be, or asks for other files; `detail` says what is right.',
  VM_IMPOSSIBLE:
    'The host, the guest or the hypervisor cannot do this; `detail` says why, and what would help.',
  TOO_MANY_ATTEMPTS: 'Too many wrong credentials from this address. `Retry-After` says when to try again.',
  INTERNAL: 'A bug. The server log has the details.',
  DATABASE_UNAVAILABLE: 'The database does not answer. Running jobs go on; try again in a moment.',
  HYPERVISOR_UNAVAILABLE: 'QEMU is missing on the server; `detail` says what to install.',
  STORAGE_FULL: 'The disk of the storage is full. Make room, then try again: an upload goes on where it was.',
};

const examples = readExamples();

const json = (value: unknown) => JSON.stringify(value, null, 2);

function details(title: string, schema: JsonSchema): Html {
  return html`<details>
    <summary>${title}</summary>
    ${schemaTable(schema)}
  </details>`;
}

/** As it was asked of a real server, with a shell's variables for where and who. */
function curl(route: Route, { params = {}, query = {}, body }: Example): string {
  const path = route.path.replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(String(params[key])));
  const search = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
  const tail = search.size > 0 ? `?${search.toString()}` : '';
  const address = `$VMO_URL${route.atRoot ? '' : '/api/v1'}${path}${tail}`;
  const lines = [`curl -s${route.method === 'GET' ? '' : ` -X ${route.method}`} "${address}"`];
  if (route.permission !== 'public') lines.push('-H "Authorization: Bearer $VMO_TOKEN"');
  if (route.rawBody !== undefined) lines.push(`-H 'Content-Type: ${route.rawBody}'`, '--data-binary @FILE');
  else if (route.method !== 'GET') lines.push("-H 'Content-Type: application/json'");
  if (body !== undefined) lines.push(`-d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`);
  return lines.join(' \\\n  ');
}

/** What came back, where it is text. */
function answerOf({ status, answer }: Example): Html {
  const words = typeof answer === 'string' ? answer : json(answer);
  return answer === undefined
    ? html``
    : html`<h4>Its answer, ${String(status)}</h4>
        <pre>${words}</pre>`;
}

function routeSection(name: string, route: Route): Html {
  const example = examples[name];
  const parameters = toParameters(route);
  const fields: JsonSchema = {
    properties: Object.fromEntries(
      parameters.map(({ name: field, schema, description }) => [
        field,
        { ...schema, ...(description === undefined ? {} : { description }) },
      ]),
    ),
    required: parameters.filter(({ required }) => required).map(({ name: field }) => field),
  };
  return html`<article id="${name}">
    <h3>
      <span class="method ${route.method.toLowerCase()}">${route.method}</span>
      <a href="#${name}"><code>${route.atRoot ? '' : '/api/v1'}${route.path}</code></a>
    </h3>
    <p>${prose(route.summary)}. <span class="permission">${route.permission}</span></p>
    ${
      parameters.length > 0
        ? html`<h4>Parameters</h4>
            ${schemaTable(fields)}`
        : ''
    }
    ${
      route.body
        ? html`<h4>Body</h4>
            ${schemaTable(bodySchema(route.body))}`
        : ''
    }
    ${
      example
        ? html`<h4>Example</h4>
            <pre>${curl(route, example)}</pre>
            ${answerOf(example)}`
        : ''
    }
    ${route.response ? details(`Answer ${String(route.status ?? 200)}`, toSchema(route.response, 'output')) : ''}
    ${route.raw === undefined ? '' : html`<p>Answers with <code>${route.raw}</code>.</p>`}
    ${route.status === 204 ? html`<p>Answers with 204 and no body.</p>` : ''}
  </article>`;
}

/** A body that is a named schema is shown in full where it is sent. */
function bodySchema(body: NonNullable<Route['body']>): JsonSchema {
  const schema = toSchema(body, 'input');
  const name = schema.$ref?.split('/').at(-1);
  return name === undefined ? schema : (namedSchemas[name] ?? schema);
}

/** The API for people, made from its tables. @returns a whole HTML document */
export function createDocsPage(version: string): string {
  const groups = Map.groupBy(Object.entries<Route>(routes), ([, route]) => tagOf(route));
  const tags = [...groups.keys()].sort((a, b) => Number(a === 'system') - Number(b === 'system'));
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="dark light" />
        <title>API · VM-Orchestrator</title>
        <link rel="stylesheet" href="/docs/docs.css" />
      </head>
      <body>
        <nav aria-label="Contents">
          <a class="home" href="/">VM-Orchestrator</a>
          <a href="#start">Start here</a>
          ${tags.map((tag) => html`<a href="#tag-${tag}">${tag}</a>`)}
          <a href="#sockets">Socket events</a>
          <a href="#schemas">Schemas</a>
          <a href="#errors">Errors</a>
        </nav>
        <main>
          <h1>API</h1>
          <p class="lead">
            Version ${version}. The same as a document for programs:
            <a href="/api/v1/openapi.json">OpenAPI 3.1</a>.
          </p>
          <section id="start">
            <h2>Start here</h2>
            <p>
              Programs send the token of the server, which stands in the file <code>token</code> of its data
              directory unless <code>VMO_TOKEN</code> sets it. Browsers have a session cookie instead; a
              change with the cookie needs an allowed <code>Origin</code>.
            </p>
            <pre>
export VMO_URL=http://127.0.0.1:8000 VMO_TOKEN=…
curl -s "$VMO_URL/api/v1/jobs" -H "Authorization: Bearer $VMO_TOKEN" \\
  -H 'Content-Type: application/json' -d '{"command":"make build","cwd":"/home/me/project"}'</pre>
            <p>
              Errors are <code>application/problem+json</code> with a stable
              <a href="#errors"><code>code</code></a
              >.
            </p>
          </section>
          ${tags.map(
            (tag) =>
              html`<section id="tag-${tag}">
                <h2>${tag}</h2>
                ${(groups.get(tag) ?? []).map(([name, route]) => routeSection(name, route))}
              </section>`,
          )}
          <section id="sockets">
            <h2>Socket events</h2>
            <p>
              Socket.IO 4, namespace <code>${jobsNamespace}</code>. The credential is the session cookie or
              <code>auth.token</code>. Every command is acknowledged with <code>{ok: true, …}</code> or
              <code>{ok: false, error: {code, message, issues}}</code>.
            </p>
            <h3>Commands</h3>
            ${Object.entries(socketCommands).map(
              ([name, { summary, permission, payload, answer }]) =>
                html`<article id="event-${name}">
                  <h3>
                    <a href="#event-${name}"><code>${name}</code></a>
                  </h3>
                  <p>${prose(summary)}. <span class="permission">${permission}</span></p>
                  <h4>Payload</h4>
                  ${schemaTable(bodySchema(payload))}
                  ${details('Acknowledgement', toSchema(answer, 'output'))}
                </article>`,
            )}
            <h3>Facts, sent by the server</h3>
            ${Object.entries(socketFacts).map(
              ([name, { summary, payload }]) =>
                html`<article id="event-${name}">
                  <h3>
                    <a href="#event-${name}"><code>${name}</code></a>
                  </h3>
                  <p>${prose(summary)}.</p>
                  ${schemaTable(toSchema(payload, 'output'))}
                </article>`,
            )}
            <h3>Facts of machines</h3>
            <p>Namespace <code>${vmsNamespace}</code>: whoever is connected gets them.</p>
            ${Object.entries(vmFacts).map(
              ([name, { summary, payload }]) =>
                html`<article id="event-${name}">
                  <h3>
                    <a href="#event-${name}"><code>${name}</code></a>
                  </h3>
                  <p>${prose(summary)}.</p>
                  ${details('Payload', toSchema(payload, 'output'))}
                </article>`,
            )}
          </section>
          <section id="schemas">
            <h2>Schemas</h2>
            ${Object.entries(namedSchemas).map(
              ([name, schema]) =>
                html`<article id="schema-${name}">
                  <h3><a href="#schema-${name}">${name}</a></h3>
                  ${schemaTable(schema)}
                </article>`,
            )}
          </section>
          <section id="errors">
            <h2>Errors</h2>
            <table>
              <tbody>
                ${Object.entries(errorMeaning).map(
                  ([code, meaning]) =>
                    html`<tr id="${code}">
                      <td><code>${code}</code></td>
                      <td>${errorStatus[code as ErrorCode]}</td>
                      <td>${prose(meaning)}</td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </section>
        </main>
      </body>
    </html>`.text;
}
