import { NewTemplate, TemplateId, type GuestLogin, type Template } from '@vmo/contract';
import type { Database, VmTemplatesTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';
import type { z } from 'zod';

type Db = Kysely<Database>;

const Definition = NewTemplate.omit({ name: true });

/** With what is only for us. */
export type StoredTemplate = Template & { login: GuestLogin | null };

export function withoutLogin({ login: _login, ...shown }: StoredTemplate): Template {
  return shown;
}

function toTemplate(row: Selectable<VmTemplatesTable>): StoredTemplate {
  const definition = Definition.parse(row.definition);
  return {
    id: TemplateId.parse(row.id),
    name: row.name,
    ...{ source: 'stored', file: null, reason: null, additionalArguments: [] },
    ...definition,
    loginUser: definition.login?.user ?? null,
  };
}

export async function listTemplates(db: Db): Promise<StoredTemplate[]> {
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
): Promise<StoredTemplate> {
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
