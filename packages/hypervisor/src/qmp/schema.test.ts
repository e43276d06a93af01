import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { generate, generatedFile, versionLine, wanted } from '../../scripts/generate-qmp-types.ts';
import { readSchema, type SchemaEntry } from '../../scripts/qmp-schema.ts';
import { renderTypes } from '../../scripts/render-types.ts';

describe('the generated types', () => {
  let installed: Awaited<ReturnType<typeof readSchema>>;
  beforeAll(async () => {
    installed = await readSchema('qemu-system-x86_64');
  });

  it('are those of the QEMU they name; any other has at least the commands and events', async () => {
    const text = await readFile(generatedFile, 'utf8');
    const generated = await generate(installed.greeting, installed.schema);
    if (text.includes(versionLine(installed.greeting))) expect(generated).toBe(text);
  });

  it('are the same whatever the numbers and the order in the schema', async () => {
    const renumber = (name: string) => name.replaceAll(/\d+/g, (number) => String(100_000 - Number(number)));
    const text = JSON.stringify(installed.schema, (key, value: unknown) =>
      typeof value === 'string' &&
      /^(name|type|element-type|arg-type|ret-type)$/.test(key) &&
      /^\[*\d+\]*$/.test(value)
        ? renumber(value)
        : value,
    );
    const shuffled = (JSON.parse(text) as SchemaEntry[]).reverse();
    expect(renderTypes(shuffled, wanted)).toBe(renderTypes(installed.schema, wanted));
  });

  it('cannot be made from a QEMU that lacks a command', () => {
    const without = installed.schema.filter(({ name }) => name !== 'query-status');
    expect(() => renderTypes(without, wanted)).toThrow('the schema has no query-status');
  });
});

describe('renderTypes', () => {
  const schema: SchemaEntry[] = [
    { 'meta-type': 'builtin', name: 'int', 'json-type': 'int' },
    { 'meta-type': 'builtin', name: 'any', 'json-type': 'value' },
    { 'meta-type': 'object', name: '0', members: [] },
    {
      'meta-type': 'object',
      name: '1',
      tag: 'kind',
      members: [
        { name: 'kind', type: '2' },
        { name: 'a-size', type: 'int', default: null, features: ['unstable'] },
      ],
      variants: [
        { case: 'x', type: '0' },
        { case: 'y', type: '3' },
        { case: 'z', type: '3' },
      ],
    },
    { 'meta-type': 'enum', name: '2', values: ['x', 'y', 'z'] },
    { 'meta-type': 'object', name: '3', members: [{ name: 'next', type: '[4]' }] },
    { 'meta-type': 'array', name: '[4]', 'element-type': '4' },
    { 'meta-type': 'alternate', name: '4', members: [{ type: '1' }, { type: 'any' }] },
    { 'meta-type': 'command', name: 'do-it', 'arg-type': '1', 'ret-type': '0' },
    { 'meta-type': 'event', name: 'IT_DONE', 'arg-type': '3' },
  ];

  it('writes variants as unions by their tag, optional members as such, and types that contain themselves', () => {
    const text = renderTypes(schema, { commands: ['do-it'], events: ['IT_DONE'], open: [], names: {} });
    const types = text.slice(text.indexOf('export type DoItArguments')).replaceAll(/\s+/g, ' ');
    expect(types).toBe(
      [
        "export type DoItArguments = { /** QEMU says: unstable. */ 'a-size'?: Integer; } & ({ kind: 'x' } | ({ kind: 'y' | 'z' } & ItDoneEvent));",
        'export interface ItDoneEvent { next: ItDoneEventNextItem[]; }',
        'export type ItDoneEventNextItem = DoItArguments | unknown;',
      ].join(' '),
    );
  });

  it('lets a command take more than the schema tells where that is known', () => {
    const text = renderTypes(
      [...schema, { 'meta-type': 'command', name: 'add', 'arg-type': '3', 'ret-type': '0' }],
      { commands: ['add'], events: [], open: ['add'], names: { AddArguments: 'Added' } },
    );
    expect(text).toContain('export interface Added extends Record<string, unknown> {');
  });
});
