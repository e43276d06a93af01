import { join } from 'node:path';
import { connect } from '@vmo/db';
import type { TestServer } from '@vmo/testkit';
import { sql } from 'kysely';

/** MB/s of one connection that inserts 64 KiB values, one statement each, into the server's own Postgres. Five rounds. */
export async function measureInsertLimit(server: TestServer, chunk: Buffer): Promise<number[]> {
  const db = connect(
    { socketDirectory: join(server.dataDirectory, 'postgres'), user: 'vmo', database: 'postgres' },
    { poolSize: 1 },
  );
  try {
    await sql`create table bench_limit (id bigserial primary key, chunk bytea not null)`.execute(db);
    const values: number[] = [];
    for (let round = 0; round < 5; round++) {
      const begin = performance.now();
      for (let count = 0; count < 800; count++)
        await sql`insert into bench_limit (chunk) values (${chunk})`.execute(db);
      values.push((800 * chunk.length) / 1e6 / ((performance.now() - begin) / 1000));
    }
    await sql`drop table bench_limit`.execute(db);
    return values;
  } finally {
    await db.destroy();
  }
}
