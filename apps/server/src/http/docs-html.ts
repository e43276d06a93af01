import { refPrefix, type JsonSchema } from './openapi.ts';

/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escape = (text: string) => text.replace(/[&<>"']/g, (sign) => entities[sign] ?? sign);

type Value = Html | string | number | null | undefined | readonly Value[];

function render(value: Value): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(render).join('');
  return escape(String(value));
}

/** A template whose values are escaped, unless they are `Html`. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Html {
  return new Html(strings.reduce((text, part, index) => text + render(values[index - 1]) + part));
}

/** Text with `code` in backquotes. */
export function prose(text: string): Html {
  return new Html(escape(text).replace(/`([^`]+)`/g, '<code>$1</code>'));
}

function typeOf(schema: JsonSchema): Html {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.slice(refPrefix.length);
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  if (schema.const !== undefined) return html`${JSON.stringify(schema.const)}`;
  if (schema.enum) return html`${schema.enum.map((value) => JSON.stringify(value)).join(' | ')}`;
  if (schema.anyOf) return join(schema.anyOf.map(typeOf), ' | ');
  if (schema.items) return html`${typeOf(schema.items)}[]`;
  if (typeof schema.additionalProperties === 'object' && !schema.properties) {
    return html`{ name: ${typeOf(schema.additionalProperties)} }`;
  }
  const type = Array.isArray(schema.type) ? schema.type.join(' | ') : (schema.type ?? 'any');
  return html`${schema.format === undefined ? type : `${type} (${schema.format})`}`;
}

function join(parts: readonly Html[], separator: string): Html {
  return new Html(parts.map((part) => part.text).join(separator));
}

function range(least: unknown, most: unknown, unit: string): string[] {
  const isLimit = (value: unknown) => typeof value === 'number' && Math.abs(value) < Number.MAX_SAFE_INTEGER;
  const [from, to] = [isLimit(least) ? String(least) : '', isLimit(most) ? String(most) : ''];
  if (from !== '' && to !== '') return [`${from}–${to}${unit}`];
  if (to !== '') return [`at most ${to}${unit}`];
  return from === '' ? [] : [`at least ${from}${unit}`];
}

function limits(schema: JsonSchema): string {
  const { minimum, maximum, minLength, maxLength } = schema;
  return [
    ...range(minimum, maximum, ''),
    ...range(minLength, maxLength, ' characters'),
    ...(schema.default === undefined ? [] : [`default ${JSON.stringify(schema.default)}`]),
  ].join(', ');
}

/** The fields of an object as rows; nested plain objects with dotted names. */
function rows(schema: JsonSchema, prefix = ''): Html[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const required = schema.required?.includes(name) ?? false;
    const own = html`<tr>
      <td><code>${prefix}${name}</code>${required ? '' : html` <span class="optional">optional</span>`}</td>
      <td class="type">${typeOf(field)}</td>
      <td>${prose(field.description ?? '')} <span class="limits">${limits(field)}</span></td>
    </tr>`;
    return field.properties ? [own, ...rows(field, `${prefix}${name}.`)] : [own];
  });
}

/** A schema as a table of fields, or as its type where it is no object. */
export function schemaTable(schema: JsonSchema): Html {
  if (schema.anyOf?.every((one) => one.properties))
    return join(schema.anyOf.map(schemaTable), '<p class="or">or</p>');
  const fields = rows(schema);
  return fields.length > 0
    ? html`<table>
        <tbody>
          ${fields}
        </tbody>
      </table>`
    : html`<p class="type">${typeOf(schema)}</p>`;
}
