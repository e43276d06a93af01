import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { sql, type Kysely } from 'kysely';
import { testDatabase, type TestDatabase } from '@vmo/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect, isDatabaseUnavailable, isForeignKeyViolation, isUniqueViolation } from './connect.ts';
import { migrate, SchemaTooNewError } from './migrate.ts';
import type { Database } from './schema.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

/** A database without any migration. */
async function withEmptyDatabase(work: (open: () => Kysely<Database>) => Promise<void>): Promise<void> {
  const name = `empty_${randomBytes(6).toString('hex')}`;
  await sql`create database ${sql.table(name)}`.execute(database.db);
  const opened: Kysely<Database>[] = [];
  try {
    await work(() => {
      if ('url' in database.address) throw new Error('the test database has a socket');
      const db = connect({ ...database.address, database: name });
      opened.push(db);
      return db;
    });
  } finally {
    await Promise.all(opened.map((db) => db.destroy()));
    await sql`drop database ${sql.table(name)} with (force)`.execute(database.db);
  }
}

it('runs every migration once', () =>
  withEmptyDatabase(async (open) => {
    const db = open();
    const first = await migrate(db);
    expect(first.length).toBeGreaterThan(0);
    expect(await migrate(db)).toEqual([]);
  }));

it('runs every migration once when several servers start at once', () =>
  withEmptyDatabase(async (open) => {
    const done = await Promise.all([open(), open(), open(), open()].map((db) => migrate(db)));
    const all = done.flat();
    expect(new Set(all).size).toBe(all.length);
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(open());
    expect(rows.map((row) => row.name).sort()).toEqual([...all].sort());
  }));

it('refuses a database of a newer version, and leaves it alone', () =>
  withEmptyDatabase(async (open) => {
    const db = open();
    await migrate(db);
    await sql`insert into kysely_migration values ('29990101T0000_future', now()::text)`.execute(db);
    await expect(migrate(db)).rejects.toThrow(SchemaTooNewError);
    await expect(migrate(db)).rejects.toThrow(/29990101T0000_future/);
  }));

it('tells "not now" from "not like this"', async () => {
  const away = connect({ url: 'postgres://nobody@127.0.0.1:1/none' });
  const refused: unknown = await sql`select 1`.execute(away).catch((error: unknown) => error);
  await away.destroy();
  expect(isDatabaseUnavailable(refused)).toBe(true);
  const wrong: unknown = await sql`select nonsense`.execute(database.db).catch((error: unknown) => error);
  expect(isDatabaseUnavailable(wrong)).toBe(false);
  expect(isDatabaseUnavailable('a word')).toBe(false);
  const noFile = await readFile('/no/such/file').catch((error: unknown) => error);
  expect(isDatabaseUnavailable(noFile)).toBe(false);
  const noSocket = connect({ url: 'postgres:///none?host=/no/such/directory' });
  const unreached: unknown = await sql`select 1`.execute(noSocket).catch((error: unknown) => error);
  await noSocket.destroy();
  expect(isDatabaseUnavailable(unreached)).toBe(true);
  const doomed = connect(database.address, { poolSize: 1 });
  const ended: unknown = await sql`select pg_terminate_backend(pg_backend_pid())`
    .execute(doomed)
    .catch((error: unknown) => error);
  await doomed.destroy();
  expect(isDatabaseUnavailable(ended)).toBe(true);
});

it('knows which constraint refused', async () => {
  const host = (name: string) =>
    database.db
      .insertInto('hosts')
      .values({ id: crypto.randomUUID(), name, address: 'a', created_by: 'owner' })
      .execute();
  await host('One');
  const twice: unknown = await host('one').catch((error: unknown) => error);
  expect(isUniqueViolation(twice, 'idx_hosts_name')).toBe(true);
  expect(isUniqueViolation(twice, 'idx_workspaces_name')).toBe(false);
  const dangling: unknown = await database.db
    .insertInto('workspaces')
    .values({
      ...{ id: crypto.randomUUID(), name: 'w', directory: '/' },
      host_id: crypto.randomUUID(),
      created_by: 'o',
    })
    .execute()
    .catch((error: unknown) => error);
  expect(isForeignKeyViolation(dangling)).toBe(true);
  expect(isForeignKeyViolation(twice)).toBe(false);
});
