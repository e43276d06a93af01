import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, migrate, startEmbeddedPostgres, type Database, type DatabaseAddress } from '@vmo/db';
import { sql, type Kysely } from 'kysely';
import { endWithThisProcess } from './reaper.ts';

const template = 'vmo_template';

type SocketAddress = Extract<DatabaseAddress, { socketDirectory: string }>;

export interface TestDatabase extends AsyncDisposable {
  db: Kysely<Database>;
  address: DatabaseAddress;
  /** For `DATABASE_URL`. */
  url: string;
}

let cluster: Promise<SocketAddress> | null = null;

/** One Postgres per test process, with a template that has every migration. */
async function startCluster(): Promise<SocketAddress> {
  const directory = await mkdtemp(join(tmpdir(), 'vmo-test-postgres-'));
  const { address, pid } = await startEmbeddedPostgres({ directory });
  endWithThisProcess(pid, directory);
  if ('url' in address) throw new Error('the embedded Postgres listens on a Unix socket');
  await administer(address, `create database ${template}`);
  const db = connect({ ...address, database: template });
  await migrate(db);
  await db.destroy();
  return address;
}

async function administer(address: SocketAddress, statement: string): Promise<void> {
  const db = connect(address, { poolSize: 1 });
  await sql.raw(statement).execute(db);
  await db.destroy();
}

/** An empty, migrated database of its own; it is dropped at the end. */
export async function testDatabase(): Promise<TestDatabase> {
  const server = await (cluster ??= startCluster());
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(server, `create database ${name} template ${template}`);
  const address = { ...server, database: name };
  const db = connect(address);
  return {
    db,
    address,
    url: `postgres:///${name}?host=${encodeURIComponent(server.socketDirectory)}&user=${server.user}`,
    async [Symbol.asyncDispose]() {
      await db.destroy();
      await administer(server, `drop database if exists ${name} with (force)`);
    },
  };
}
