import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sql, type Kysely } from 'kysely';
import { Migrator, type Migration } from 'kysely/migration';
import type { Database } from './schema.ts';

const directory = join(import.meta.dirname, '..', 'migrations');

/** The database was written by a newer version of the program: this one must not touch it. */
export class SchemaTooNewError extends Error {
  constructor(unknown: readonly string[]) {
    super(
      `the database was migrated by a newer version (it has ${unknown.join(', ')}, which this version does not know): ` +
        'start that version, or point DATABASE_URL or VMO_DATA_DIR at another database',
    );
    this.name = 'SchemaTooNewError';
  }
}

async function knownMigrations(): Promise<Record<string, Migration>> {
  const files = (await readdir(directory)).filter((file) => /^\d{8}T\d{4}_\w+\.ts$/.test(file)).sort();
  const entries = files.map(async (file) => {
    const migration = (await import(join(directory, file))) as Migration;
    return [file.slice(0, -'.ts'.length), migration] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * Brings the schema to this version, each migration once, under an advisory lock: several servers may start at once.
 * @returns names of the migrations that were run
 * @throws SchemaTooNewError when the database knows migrations that this program does not
 */
export async function migrate(db: Kysely<Database>): Promise<string[]> {
  const migrations = await knownMigrations();
  const table = await sql<{
    name: string | null;
  }>`select to_regclass('kysely_migration')::text as name`.execute(db);
  if (table.rows[0]?.name) {
    const done = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
    const unknown = done.rows.map((row) => row.name).filter((name) => !(name in migrations));
    if (unknown.length > 0) throw new SchemaTooNewError(unknown);
  }
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(migrations) } });
  const { error, results } = await migrator.migrateToLatest();
  if (error !== undefined) throw error instanceof Error ? error : new Error(JSON.stringify(error));
  return (results ?? [])
    .filter((result) => result.status === 'Success')
    .map((result) => result.migrationName);
}
