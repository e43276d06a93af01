import type { Database } from '@vmo/db';
import { sql, type Kysely } from 'kysely';

export interface SessionRow {
  id: string;
  userName: string;
  expiresAt: Date;
}

export interface AuditRow {
  actor: string;
  address: string | null;
  action: string;
  subject: string;
  detail: Record<string, unknown>;
}

export async function insertAudit(db: Kysely<Database>, row: AuditRow): Promise<void> {
  await db
    .insertInto('audit')
    .values({ ...row, detail: JSON.stringify(row.detail) })
    .execute();
}

/** Arrays: a parameter for each value could be more than the protocol takes. */
export async function insertAudits(
  db: Kysely<Database>,
  { actor, address, action }: Pick<AuditRow, 'actor' | 'address' | 'action'>,
  entries: readonly Pick<AuditRow, 'subject' | 'detail'>[],
): Promise<void> {
  const subjects = entries.map(({ subject }) => subject);
  const details = entries.map(({ detail }) => JSON.stringify(detail));
  await sql`
    insert into audit (actor, address, action, subject, detail)
    select ${actor}, ${address}, ${action}, subject, detail
    from unnest(${subjects}::text[], ${details}::jsonb[]) as entry (subject, detail)`.execute(db);
}

export async function insertSession(
  db: Kysely<Database>,
  session: SessionRow & { tokenHash: Buffer; address: string | null },
): Promise<void> {
  await db
    .insertInto('sessions')
    .values({
      id: session.id,
      token_hash: session.tokenHash,
      user_name: session.userName,
      expires_at: session.expiresAt,
      revoked_at: null,
      address: session.address,
    })
    .execute();
}

/** The session with this hash, unless it is over. */
export async function findLiveSession(
  db: Kysely<Database>,
  tokenHash: Buffer,
): Promise<SessionRow | undefined> {
  const row = await db
    .selectFrom('sessions')
    .select(['id', 'user_name', 'expires_at'])
    .where('token_hash', '=', tokenHash)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', (eb) => eb.fn<Date>('now'))
    .executeTakeFirst();
  return row && { id: row.id, userName: row.user_name, expiresAt: row.expires_at };
}

/** Those of the given sessions that are neither revoked nor expired. */
export async function filterLiveSessions(db: Kysely<Database>, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db
    .selectFrom('sessions')
    .select('id')
    .where('id', 'in', ids)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', (eb) => eb.fn<Date>('now'))
    .execute();
  return new Set(rows.map((row) => row.id));
}

/** @returns whether it was live until now */
export async function revokeSession(db: Kysely<Database>, id: string): Promise<boolean> {
  const result = await db
    .updateTable('sessions')
    .set((eb) => ({ revoked_at: eb.fn<Date>('now') }))
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}
