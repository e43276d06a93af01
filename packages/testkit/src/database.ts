import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect, migrate, startEmbeddedPostgres, type Database, type DatabaseAddress } from '@vmo/db';
import { sql, type Kysely } from 'kysely';
import { endWithThisProcess } from './reaper.ts';

const execute = promisify(execFile);
const template = 'vmo_template';
const root = join(import.meta.dirname, '..', '..', '..');
const cache = join(root, '.cache', 'test');
/** What a cluster is made by, and its template: of other ones, another is made. */
const ingredients = ['db/migrations', 'db/src', 'package-lock.json'];

type SocketAddress = Extract<DatabaseAddress, { socketDirectory: string }>;

export interface TestDatabase extends AsyncDisposable {
  db: Kysely<Database>;
  address: DatabaseAddress;
  /** For `DATABASE_URL`. */
  url: string;
}

let cluster: Promise<SocketAddress> | null = null;

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function keyOfCluster(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of ingredients) {
    const path = join(root, name);
    const files = (await stat(path)).isDirectory()
      ? (await readdir(path)).sort().map((file) => join(path, file))
      : [path];
    for (const file of files) hash.update(`${file}\0`).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

/** A cluster that was stopped, with a template that has every migration; made once, which takes seconds. */
async function makeCluster(): Promise<string> {
  const made = join(cache, `postgres-${await keyOfCluster()}`);
  if (await exists(made)) return made;
  await mkdir(cache, { recursive: true });
  const directory = join(cache, `.postgres-${randomBytes(6).toString('hex')}`);
  const postgres = await startEmbeddedPostgres({ directory });
  try {
    await administer(onSocket(postgres.address), `create database ${template}`);
    const db = connect({ ...onSocket(postgres.address), database: template });
    await migrate(db);
    await db.destroy();
  } finally {
    await postgres.stop();
  }
  // No test survives a crash of the machine, so none has to wait for its disk.
  await appendFile(join(directory, 'data', 'postgresql.conf'), 'fsync = off\n');
  await rename(join(directory, 'data'), made).catch(async (error: unknown) => {
    // Somebody else was faster; theirs is the same.
    if (!(await exists(made))) throw error;
  });
  await rm(directory, { recursive: true });
  return made;
}

function onSocket(address: DatabaseAddress): SocketAddress {
  if ('url' in address) throw new Error('the embedded Postgres listens on a Unix socket');
  return address;
}

/** One Postgres per test process. */
async function startCluster(): Promise<SocketAddress> {
  const made = await makeCluster();
  const directory = await mkdtemp(join(tmpdir(), 'vmo-test-postgres-'));
  await execute('cp', ['-R', '-p', made, join(directory, 'data')]);
  const { address, pid } = await startEmbeddedPostgres({ directory });
  endWithThisProcess(pid, directory);
  return onSocket(address);
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
