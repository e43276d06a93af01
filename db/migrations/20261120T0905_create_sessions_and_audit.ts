import { sql, type Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table sessions (
      id         uuid primary key,
      token_hash bytea not null unique,
      user_name  text not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null,
      revoked_at timestamptz,
      address    text
    )`.execute(db);
  await sql`
    create table audit (
      id      bigserial primary key,
      at      timestamptz not null default now(),
      actor   text not null,
      address text,
      action  text not null,
      subject text not null,
      detail  jsonb not null default '{}'
    )`.execute(db);
  await sql`create index idx_audit_subject on audit (subject, id)`.execute(db);
}
