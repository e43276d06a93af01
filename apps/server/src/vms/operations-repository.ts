import { ErrorCode, OperationId, OperationKind, VmId, VmOperation } from '@vmo/contract';
import type { Database, VmOperationsTable } from '@vmo/db';
import { sql, type Kysely, type Selectable } from 'kysely';

type Db = Kysely<Database>;
type Row = Selectable<VmOperationsTable>;

const Status = VmOperation.shape.status;

export interface StoredOperation extends VmOperation {
  /** What it needs to be carried out; parsed by whoever does. */
  request: unknown;
}

function toOperation(row: Row): StoredOperation {
  return {
    id: OperationId.parse(row.id),
    vmId: VmId.parse(row.vm_id),
    vmName: row.vm_name,
    kind: OperationKind.parse(row.kind),
    status: Status.parse(row.status),
    detail: row.detail,
    result: row.result,
    code: row.error_code === null ? null : ErrorCode.parse(row.error_code),
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    request: row.request,
  };
}

/** As people see it. */
export function withoutRequest({ request: _request, ...operation }: StoredOperation): VmOperation {
  return operation;
}

export interface NewOperation {
  id: string;
  vmId: string;
  vmName: string;
  kind: OperationKind;
  request: object;
  detail: string | null;
  createdBy: string;
}

export async function insertOperation(trx: Db, operation: NewOperation): Promise<StoredOperation> {
  const row = await trx
    .insertInto('vm_operations')
    .values({
      id: operation.id,
      vm_id: operation.vmId,
      vm_name: operation.vmName,
      kind: operation.kind,
      status: 'queued',
      request: JSON.stringify(operation.request),
      detail: operation.detail,
      created_by: operation.createdBy,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return toOperation(row);
}

/** The same for many machines, without a request. In the order in which they are given. */
export async function insertOperations(
  trx: Db,
  kind: OperationKind,
  createdBy: string,
  operations: readonly Pick<NewOperation, 'id' | 'vmId' | 'vmName'>[],
): Promise<StoredOperation[]> {
  const asked = {
    ids: operations.map(({ id }) => id),
    vmIds: operations.map(({ vmId }) => vmId),
    vmNames: operations.map(({ vmName }) => vmName),
  };
  // Arrays: a parameter for each value would be more than the protocol takes.
  const { rows } = await sql<Row>`
    insert into vm_operations (id, vm_id, vm_name, kind, status, created_by)
    select id, vm_id, vm_name, ${kind}, 'queued', ${createdBy}
    from unnest(${asked.ids}::uuid[], ${asked.vmIds}::uuid[], ${asked.vmNames}::text[]) as asked (id, vm_id, vm_name)
    returning *`.execute(trx);
  const made = new Map(rows.map((row) => [row.id, toOperation(row)]));
  return asked.ids.flatMap((id) => made.get(id) ?? []);
}

/** Whether a start of this machine is queued or under way. Expected plan: idx_vm_operations_open. */
export async function isStartOpen(db: Db, vmId: string): Promise<boolean> {
  const row = await db
    .selectFrom('vm_operations')
    .select('id')
    .where('status', 'in', ['queued', 'running'])
    .where('vm_id', '=', vmId)
    .where('kind', '=', 'start')
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Those of the given ids whose machine was deleted, or was about to be. Expected plan: idx_vm_operations_vm. */
export async function filterDeleted(db: Db, vmIds: readonly string[]): Promise<Set<string>> {
  if (vmIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('vm_operations')
    .select('vm_id')
    .distinct()
    .where('vm_id', 'in', [...vmIds])
    .where('kind', '=', 'delete')
    .execute();
  return new Set(rows.map((row) => row.vm_id));
}

/** What it needs to be carried out, when that has become more. */
export async function keepRequest(trx: Db, id: string, request: object): Promise<void> {
  await trx
    .updateTable('vm_operations')
    .set({ request: JSON.stringify(request) })
    .where('id', '=', id)
    .execute();
}

export async function findOperation(db: Db, id: string): Promise<StoredOperation | undefined> {
  const row = await db.selectFrom('vm_operations').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toOperation(row);
}

/** Newest first. Expected plan: idx_vm_operations_vm. */
export async function listOperations(db: Db, vmId: string, limit: number): Promise<VmOperation[]> {
  const rows = await db
    .selectFrom('vm_operations')
    .selectAll()
    .where('vm_id', '=', vmId)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => withoutRequest(toOperation(row)));
}

/** In the order in which they were asked for. Expected plan: idx_vm_operations_open. */
export async function listOpen(db: Db): Promise<StoredOperation[]> {
  const rows = await db
    .selectFrom('vm_operations')
    .selectAll()
    .where('status', 'in', ['queued', 'running'])
    .orderBy('id')
    .execute();
  return rows.map(toOperation);
}

/** null: it has been taken or finished meanwhile. */
export async function moveOperation(
  db: Db,
  id: string,
  to:
    | { status: 'running'; startedAt: Date }
    | { status: 'done' | 'failed'; result: string; code: ErrorCode | null; finishedAt: Date },
): Promise<StoredOperation | null> {
  const change =
    to.status === 'running'
      ? { status: to.status, started_at: to.startedAt }
      : { status: to.status, result: to.result, error_code: to.code, finished_at: to.finishedAt };
  const row = await db
    .updateTable('vm_operations')
    .set(change)
    .where('id', '=', id)
    .where('status', 'in', ['queued', 'running'])
    .returningAll()
    .executeTakeFirst();
  return row ? toOperation(row) : null;
}
