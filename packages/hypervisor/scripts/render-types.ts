import type { SchemaEntry, SchemaMember } from './qmp-schema.ts';

export interface Wanted {
  commands: readonly string[];
  events: readonly string[];
  /** Commands that take members besides those of the schema. */
  open: readonly string[];
  /** Better names for types than those made of the way to them; what lies behind is named after them, too. */
  names: Readonly<Record<string, string>>;
}

/**
 * Writes the types of some commands and events and of all that they are made of. In the schema types are numbers that
 * differ from build to build, so each is named after the shortest way to it, from the first command or event that uses it.
 * @throws Error when QEMU has no such command or event
 */
export function renderTypes(schema: readonly SchemaEntry[], wanted: Wanted): string {
  const entries = new Map(schema.map((entry) => [entry.name, entry]));
  const names = new Map<string, string>();
  const taken = new Set(['NoMembers', 'Integer', 'QmpCommands', 'QmpEvents']);
  /** Types that have a name, in the order in which they got it; they are the ones that are written. */
  const queue: SchemaEntry[] = [];

  function entryOf(name: string): SchemaEntry {
    const entry = entries.get(name);
    if (!entry) throw new Error(`the schema has no ${name}`);
    return entry;
  }

  const isEmpty = (entry: SchemaEntry): boolean =>
    entry['meta-type'] === 'object' && entry.members.length === 0 && !entry.variants;

  function nameType(type: string, way: string): void {
    const entry = entryOf(type);
    if (entry['meta-type'] === 'builtin' || names.has(type) || isEmpty(entry)) return;
    if (entry['meta-type'] === 'array') {
      nameType(entry['element-type'], `${way}Item`);
      return;
    }
    const better = wanted.names[way] ?? way;
    let name = better;
    for (let count = 2; taken.has(name); count++) name = `${better}${count}`;
    taken.add(name);
    names.set(type, name);
    queue.push(entry);
  }

  /** Names what a type is made of; `queue` makes it breadth first, which gives the short ways. */
  function nameParts(entry: SchemaEntry): void {
    const own = names.get(entry.name) ?? '';
    if (entry['meta-type'] === 'alternate')
      for (const { type } of entry.members) nameType(type, `${own}${pascal(labelOf(entryOf(type)))}`);
    if (entry['meta-type'] !== 'object') return;
    const { members, tag, variants = [] } = entry;
    for (const { name, type } of members) if (name !== tag) nameType(type, `${own}${pascal(name)}`);
    for (const { case: value, type } of variants) nameType(type, `${own}${pascal(value)}`);
  }

  function use(type: string): string {
    const entry = entryOf(type);
    if (entry['meta-type'] === 'builtin') return builtin(entry['json-type']);
    if (entry['meta-type'] === 'array') return `${use(entry['element-type'])}[]`;
    return isEmpty(entry) ? 'NoMembers' : (names.get(type) ?? 'never');
  }

  const member = ({ name, type, features = [], ...rest }: SchemaMember): string =>
    `${remark(features)}${key(name)}${'default' in rest ? '?' : ''}: ${use(type)};`;

  function body(entry: SchemaEntry): string {
    const name = names.get(entry.name) ?? '';
    if (entry['meta-type'] === 'enum') return `export type ${name} = ${literals(entry.values)};`;
    if (entry['meta-type'] === 'alternate')
      return `export type ${name} = ${entry.members.map(({ type }) => use(type)).join(' | ')};`;
    if (entry['meta-type'] !== 'object') throw new Error(`${entry.name} is no type`);
    const { members, tag, variants } = entry;
    const own = members.filter((one) => one.name !== tag).map(member);
    if (tag === undefined || !variants) {
      const open = commandsOf(entry.name).some((command) => wanted.open.includes(command));
      return `export interface ${name} ${open ? 'extends Record<string, unknown> ' : ''}{ ${own.join('\n')} }`;
    }
    if (members.some((one) => one.name === tag && 'default' in one))
      throw new Error(`${name} may be without its ${tag}`);
    const byType = new Map<string, string[]>();
    for (const { case: value, type } of variants) byType.set(type, [...(byType.get(type) ?? []), value]);
    const cases = [...byType].map(([type, values]) => {
      const tagged = `{ ${key(tag)}: ${literals(values)} }`;
      return isEmpty(entryOf(type)) ? tagged : `(${tagged} & ${use(type)})`;
    });
    const base = own.length > 0 ? `{ ${own.join('\n')} } & ` : '';
    return `export type ${name} = ${base}(${cases.join(' | ')});`;
  }

  const commandsOf = (type: string): string[] =>
    commands.filter((command) => command['arg-type'] === type).map(({ name }) => name);

  const commands = wanted.commands.map((name) => {
    const entry = entryOf(name);
    if (entry['meta-type'] !== 'command') throw new Error(`${name} is no command`);
    nameType(entry['arg-type'], `${pascal(name)}Arguments`);
    nameType(entry['ret-type'], `${pascal(name)}Return`);
    return entry;
  });
  const events = wanted.events.map((name) => {
    const entry = entryOf(name);
    if (entry['meta-type'] !== 'event') throw new Error(`${name} is no event`);
    nameType(entry['arg-type'], `${pascal(name.toLowerCase())}Event`);
    return entry;
  });
  // Grows while it is walked.
  for (const entry of queue) nameParts(entry);

  const commandLines = commands.map(
    ({ name, features = [], ...types }) =>
      `${remark(features)}${key(name)}: { arguments: ${use(types['arg-type'])}; returns: ${use(types['ret-type'])} };`,
  );
  const eventLines = events.map(
    ({ name, features = [], ...types }) => `${remark(features)}${key(name)}: ${use(types['arg-type'])};`,
  );
  return [
    '/** An object without members. */\nexport type NoMembers = Record<string, never>;',
    '/** Up to 64 bits in QEMU, where it is not said how many; beyond 2^53 the last digits are lost here. */\nexport type Integer = number;',
    `export interface QmpCommands { ${commandLines.join('\n')} }`,
    `/** The data of each event. */\nexport interface QmpEvents { ${eventLines.join('\n')} }`,
    ...queue.map(body),
  ].join('\n\n');
}

function builtin(type: string): string {
  switch (type) {
    case 'int':
      return 'Integer';
    case 'value':
      return 'unknown';
    default:
      return type;
  }
}

/** Which of the types of an alternate it is. */
function labelOf(entry: SchemaEntry): string {
  return entry['meta-type'] === 'enum' ? 'word' : entry['meta-type'];
}

const literals = (values: readonly string[]): string => values.map((value) => `'${value}'`).join(' | ');
const key = (name: string): string => (/^[a-zA-Z_]\w*$/.test(name) ? name : `'${name}'`);

function remark(features: readonly string[]): string {
  const said = features.filter((feature) => feature === 'deprecated' || feature === 'unstable');
  return said.length > 0 ? `/** QEMU says: ${said.join(', ')}. */\n` : '';
}

const pascal = (name: string): string =>
  name
    .split(/[^a-zA-Z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
