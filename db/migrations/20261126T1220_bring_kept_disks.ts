import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  // The disk that an agent on another machine has kept of a request, on its way to the server.
  await sql`
    alter table requests
      add column bring_state text check (bring_state in ('waiting', 'sending', 'checking', 'failed', 'here')),
      add column bring_received bigint not null default 0,
      add column bring_size bigint,
      add column bring_reason text`.execute(db);
  await sql`
    create index idx_requests_bringing on requests (id)
      where bring_state in ('waiting', 'sending', 'checking')`.execute(db);
}
