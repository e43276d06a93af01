import { startEmbeddedPostgres, type EmbeddedPostgres } from '@vmo/db';
import { endWithThisProcess } from './reaper.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export interface TestPostgres extends AsyncDisposable {
  /** For `DATABASE_URL`. */
  url: string;
  /** Away until `start`: nobody else starts it again. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** A Postgres of one test's own, that goes away and comes back as the test says. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const temporary = await temporaryDirectory('vmo-postgres-');
  let postgres: EmbeddedPostgres;
  async function start(): Promise<void> {
    postgres = await startEmbeddedPostgres({ directory: temporary.path });
    endWithThisProcess(postgres.pid, `${temporary.path}/none`);
  }
  await start();
  return {
    url: `postgres:///postgres?host=${encodeURIComponent(temporary.path)}&user=vmo`,
    start,
    stop: () => postgres.stop(),
    async [Symbol.asyncDispose]() {
      await postgres.stop();
      await temporary[Symbol.asyncDispose]();
    },
  };
}
