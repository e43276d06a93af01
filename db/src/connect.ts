import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Database } from './schema.ts';

// Counters and byte offsets stay far below 2^53; as numbers they can be added.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** A postgres:// URL, or the directory of a Unix socket. */
export type DatabaseAddress = { url: string } | { socketDirectory: string; user: string; database: string };

export interface ConnectOptions {
  poolSize?: number;
  /** Told of the death of an idle connection (the database restarted); queries see their own errors. */
  onConnectionLost?: (reason: string) => void;
}

export const clientOptions = (address: DatabaseAddress): pg.ClientConfig => ({
  ...('url' in address
    ? { connectionString: address.url }
    : { host: address.socketDirectory, user: address.user, database: address.database }),
  connectionTimeoutMillis: 5_000,
  application_name: 'vmo',
});

/** Opens a pool; nothing is connected until the first query. Close it with `destroy()`. */
export function connect(address: DatabaseAddress, options: ConnectOptions = {}): Kysely<Database> {
  const pool = new pg.Pool({
    ...clientOptions(address),
    max: options.poolSize ?? 10,
  });
  // Without both handlers, a database restart ends the process. The pool tells of idle connections, and only once.
  pool.on('error', (error) => {
    if (!pool.ending) options.onConnectionLost?.(error.message);
  });
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
  });
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

/** SQLSTATE classes and codes that say "not now", as opposed to "not like this". */
const unavailableStates = /^(08|57P0[1-3]|53[13]00|25006)/;
const unavailableSystemErrors = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Whether a query failed because the database is away, so that the same query may succeed later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError) return error.errors.some(isDatabaseUnavailable);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // The socket of a Postgres that does not run; of a file it says that the file is not there.
  if (code === 'ENOENT') return 'syscall' in error && error.syscall === 'connect';
  if (error instanceof pg.DatabaseError) return unavailableStates.test(code);
  return (
    unavailableSystemErrors.has(code) ||
    /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(
      error.message,
    )
  );
}

/** Whether an insert or update hit the unique index of this name. */
export function isUniqueViolation(error: unknown, index: string): boolean {
  return error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === index;
}

/** Whether a statement failed because a row still refers to the one being deleted. */
export function isForeignKeyViolation(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.code === '23503' || error.code === '23001');
}

const answerTimeoutMs = 2_000;

/** Whether the database answers now. */
export async function isAnswering(db: Kysely<Database>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, answerTimeoutMs, false);
  const answer = db
    .selectNoFrom((eb) => eb.lit(1).as('one'))
    .execute()
    .then(
      () => true,
      () => false,
    );
  return Promise.race([answer, late]).finally(() => {
    clearTimeout(timer);
  });
}
