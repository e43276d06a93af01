import { NewTemplate, TemplateId, type Template } from '@vmo/contract';
import type { Database, VmTemplatesTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import type { z } from 'zod';

type Db = Kysely<Database>;

const Definition = NewTemplate.omit({ name: true });

function toTemplate(row: Selectable<VmTemplatesTable>): Template {
  return {
    id: TemplateId.parse(row.id),
    name: row.name,
    ...{ source: 'stored', file: null, reason: null, additionalArguments: [] },
    ...Definition.parse(row.definition),
  };
}

export async function listTemplates(db: Db): Promise<Template[]> {
  const rows = await db
    .selectFrom('vm_templates')
    .selectAll()
    .orderBy(sql`lower(name)`)
    .execute();
  return rows.map(toTemplate);
}

export async function insertTemplate(
  trx: Db,
  id: string,
  { name, ...definition }: z.output<typeof NewTemplate>,
  createdBy: string,
): Promise<Template> {
  const row = await trx
    .insertInto('vm_templates')
    .values({ id, name, definition: JSON.stringify(definition), created_by: createdBy })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toTemplate(row);
}

export async function deleteTemplate(trx: Db, id: string): Promise<boolean> {
  const { numDeletedRows } = await trx.deleteFrom('vm_templates').where('id', '=', id).executeTakeFirst();
  return numDeletedRows > 0n;
}
