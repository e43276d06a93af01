import { HostId, WorkspaceId, type Workspace } from '@vmo/contract';
import type { Database, WorkspacesTable } from '@vmo/db';
import type { Kysely, Selectable } from 'kysely';

function toWorkspace(row: Selectable<WorkspacesTable>): Workspace {
  return {
    id: WorkspaceId.parse(row.id),
    name: row.name,
    directory: row.directory,
    hostId: HostId.nullable().parse(row.host_id),
    createdAt: row.created_at.toISOString(),
  };
}

export async function listWorkspaces(db: Kysely<Database>): Promise<Workspace[]> {
  const rows = await db
    .selectFrom('workspaces')
    .selectAll()
    .orderBy((eb) => eb.fn('lower', ['name']))
    .execute();
  return rows.map(toWorkspace);
}

export async function findWorkspace(db: Kysely<Database>, id: WorkspaceId): Promise<Workspace | undefined> {
  const row = await db.selectFrom('workspaces').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toWorkspace(row);
}

export interface WorkspaceFields {
  name: string;
  directory: string;
  hostId: HostId | null;
}

export async function insertWorkspace(
  db: Kysely<Database>,
  id: WorkspaceId,
  { name, directory, hostId }: WorkspaceFields,
  createdBy: string,
): Promise<Workspace> {
  const row = await db
    .insertInto('workspaces')
    .values({ id, name, directory, host_id: hostId, created_by: createdBy })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toWorkspace(row);
}

export async function updateWorkspace(
  db: Kysely<Database>,
  id: WorkspaceId,
  change: Partial<Pick<WorkspaceFields, 'name' | 'directory'>>,
): Promise<Workspace | undefined> {
  const row = await db
    .updateTable('workspaces')
    .set(change)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst();
  return row && toWorkspace(row);
}

export async function deleteWorkspace(db: Kysely<Database>, id: WorkspaceId): Promise<boolean> {
  const result = await db.deleteFrom('workspaces').where('id', '=', id).executeTakeFirst();
  return result.numDeletedRows > 0n;
}

/** Whether a workspace was ever added, also if it was removed since. */
export async function hasEverHadWorkspaces(db: Kysely<Database>): Promise<boolean> {
  const row = await db
    .selectFrom('audit')
    .select('id')
    .where('action', '=', 'workspace.add')
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}
