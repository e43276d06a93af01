import { join } from 'node:path';
import {
  connect,
  DatabaseTakenError,
  holdDatabase,
  migrate,
  SchemaTooNewError,
  startEmbeddedPostgres,
  type Database,
  type DatabaseAddress,
} from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Config } from './config.ts';
import type { Logger } from './kernel/logger.ts';

/** What went wrong, also where a name has several addresses and each failed in its own way. */
function words(error: unknown): string {
  if (error instanceof AggregateError) return words(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

function giveUp(error: unknown): never {
  if (error instanceof SchemaTooNewError || error instanceof DatabaseTakenError) throw error;
  throw new Error(`the database of DATABASE_URL cannot be used: ${words(error)}`, { cause: error });
}

/**
 * Connects to the configured Postgres, or starts the embedded one, and brings the schema to this version.
 * What was opened is handed to `stack`, also when a later step fails.
 * `onTaken`: another server has the database now, and this one must end.
 * @throws Error in words for the person who starts the server
 */
export async function openDatabase(
  { databaseUrl, dataDirectory }: Config,
  logger: Logger,
  stack: AsyncDisposableStack,
  onTaken: (error: Error) => void,
): Promise<Kysely<Database>> {
  let address: DatabaseAddress;
  if (databaseUrl === null) {
    const postgres = await startEmbeddedPostgres({
      directory: join(dataDirectory, 'postgres'),
      onEvent: (message) => {
        logger.warn(message);
      },
    });
    stack.defer(() => postgres.stop());
    address = postgres.address;
  } else {
    address = { url: databaseUrl };
    // The embedded one belongs to the data directory, which has one server.
    stack.use(await holdDatabase(address, onTaken).catch((error: unknown) => giveUp(error)));
  }
  const db = connect(address, {
    onConnectionLost: (reason) => {
      logger.warn({ reason }, 'a database connection was lost');
    },
  });
  stack.defer(() => db.destroy());
  try {
    const migrations = await migrate(db);
    if (migrations.length > 0) logger.info({ migrations }, 'the database was migrated');
  } catch (error) {
    if (databaseUrl === null) throw error;
    giveUp(error);
  }
  return db;
}
