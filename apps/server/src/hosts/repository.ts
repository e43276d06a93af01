import { HostId, isFinal, JobStatus, type Host } from '@vmo/contract';
import type { Database, HostsTable } from '@vmo/db';
import type { Kysely, Selectable, Transaction } from 'kysely';

const openStatuses = JobStatus.options.filter((status) => !isFinal(status));

function toHost(row: Selectable<HostsTable>): Host {
  return {
    id: HostId.parse(row.id),
    name: row.name,
    address: row.address,
    user: row.user,
    port: row.port,
    identityFile: row.identity_file,
    createdAt: row.created_at.toISOString(),
  };
}

export async function listHosts(db: Kysely<Database>): Promise<Host[]> {
  const rows = await db
    .selectFrom('hosts')
    .selectAll()
    .orderBy((eb) => eb.fn('lower', ['name']))
    .execute();
  return rows.map(toHost);
}

export async function findHost(db: Kysely<Database>, id: HostId): Promise<Host | undefined> {
  const row = await db.selectFrom('hosts').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toHost(row);
}

export async function findHostByName(db: Kysely<Database>, name: string): Promise<Host | undefined> {
  const row = await db
    .selectFrom('hosts')
    .selectAll()
    .where((eb) => eb(eb.fn('lower', ['name']), '=', name.toLowerCase()))
    .executeTakeFirst();
  return row && toHost(row);
}

export interface HostFields {
  name: string;
  address: string;
  user: string | null;
  port: number | null;
  identityFile: string | null;
}

export async function insertHost(
  db: Kysely<Database>,
  id: HostId,
  { identityFile, ...fields }: HostFields,
  createdBy: string,
): Promise<Host> {
  const row = await db
    .insertInto('hosts')
    .values({ id, ...fields, identity_file: identityFile, created_by: createdBy })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toHost(row);
}

export async function updateHost(
  db: Kysely<Database>,
  id: HostId,
  { identityFile, ...fields }: Partial<HostFields>,
): Promise<Host | undefined> {
  const row = await db
    .updateTable('hosts')
    .set({ ...fields, ...(identityFile === undefined ? {} : { identity_file: identityFile }) })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst();
  return row && toHost(row);
}

/**
 * Removes a host that no job needs any more. Its row is locked first: a job that is submitted in the meantime waits
 * for the end of the transaction, so none can slip in between the count and the removal.
 * @returns how many jobs on it have not ended, in which case it stays; undefined: there is no such host
 * @throws foreign key violation while a workspace is on it
 */
export async function deleteIdleHost(
  trx: Transaction<Database>,
  id: HostId,
): Promise<{ openJobs: number } | undefined> {
  const host = await trx.selectFrom('hosts').select('id').where('id', '=', id).forUpdate().executeTakeFirst();
  if (!host) return undefined;
  // Expected plan: idx_jobs_open.
  const { openJobs } = await trx
    .selectFrom('jobs')
    .select((eb) => eb.fn.countAll<number>().as('openJobs'))
    .where('status', 'in', openStatuses)
    .where('host_id', '=', id)
    .executeTakeFirstOrThrow();
  if (openJobs === 0) await trx.deleteFrom('hosts').where('id', '=', id).execute();
  return { openJobs };
}
