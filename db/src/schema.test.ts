import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { testDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, it } from 'vitest';

/** Columns per table as schema.ts declares them, with whether they may be null. */
async function readDeclared(): Promise<string[]> {
  const text = await readFile(join(import.meta.dirname, 'schema.ts'), 'utf8');
  const nullable = (type: string) => /\bnull\b/.test(type);
  const interfaces = new Map(
    [...text.matchAll(/interface (\w+) \{\n([\s\S]*?)\n\}/g)].map(([, name = '', body = '']) => [
      name,
      [...body.matchAll(/^ {2}(\w+): ([^;]+);/gm)].map(([, column = '', type = '']) => ({ column, type })),
    ]),
  );
  const tables = interfaces.get('Database') ?? [];
  return tables
    .flatMap(({ column: table, type }) =>
      (interfaces.get(type) ?? []).map(
        (declared) => `${table}.${declared.column}${nullable(declared.type) ? '?' : ''}`,
      ),
    )
    .sort();
}

it('the declared tables and columns are those of the migrated database', async () => {
  await using database = await testDatabase();
  const { rows } = await sql<{ name: string }>`
    select c.table_name || '.' || c.column_name || case c.is_nullable when 'YES' then '?' else '' end as name
    from information_schema.columns c
    where c.table_schema = 'public'
      and c.table_name not like 'kysely_%' and c.table_name not similar to '%[_][0-9]+'`.execute(database.db);
  const declared = await readDeclared();
  expect(declared.length).toBeGreaterThan(40);
  expect(declared).toEqual(rows.map((row) => row.name).sort());
});
