import { startTestPostgres, testDatabase, until } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { connect } from './connect.ts';
import { DatabaseTakenError, holdDatabase } from './hold.ts';

const unexpected = (error: Error) => {
  throw error;
};

it('a database has one server at a time, and the next one when that is gone', async () => {
  await using database = await testDatabase();
  await using other = await testDatabase();
  const first = await holdDatabase(database.address, unexpected);
  await expect(holdDatabase(database.address, unexpected)).rejects.toThrow(DatabaseTakenError);
  const elsewhere = await holdDatabase(other.address, unexpected);
  await first[Symbol.asyncDispose]();
  const next = await holdDatabase(database.address, unexpected);
  await elsewhere[Symbol.asyncDispose]();
  await next[Symbol.asyncDispose]();
}, 30_000);

it('a server keeps its database when Postgres was away, and hears when another one has it by then', async () => {
  await using postgres = await startTestPostgres();
  const address = { url: postgres.url };
  const { promise: taken, resolve } = Promise.withResolvers<DatabaseTakenError>();
  await using stack = new AsyncDisposableStack();
  stack.use(await holdDatabase(address, resolve));
  await postgres.stop();
  await postgres.start();
  const db = connect(address);
  const locks = async (granted: boolean) => {
    const { rows } = await sql<{ pid: number }>`
      select pid from pg_locks where locktype = 'advisory' and granted = ${granted}`.execute(db);
    return rows.map(({ pid }) => pid)[0];
  };
  try {
    const holder = await until('the lock', () => locks(true));
    await db.connection().execute(async (other) => {
      const taking = sql`select pg_advisory_lock(hashtext('vmo:server'))`.execute(other);
      await until('the other to wait for it', () => locks(false));
      await sql`select pg_terminate_backend(${holder})`.execute(db);
      await taking;
      expect(await taken).toBeInstanceOf(DatabaseTakenError);
    });
  } finally {
    await db.destroy();
  }
}, 60_000);
