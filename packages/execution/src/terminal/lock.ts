import { DatabaseSync } from 'node:sqlite';

/**
 * Takes a lock that the kernel gives back however its holder ends. Node has none of its own; SQLite's exclusive
 * transaction is one (fcntl), on every platform, with nothing stale to clean up after a crash.
 * @returns how to give it back; null when somebody has it
 */
export function takeLock(path: string): (() => void) | null {
  const database = new DatabaseSync(path);
  try {
    database.exec('pragma journal_mode = memory; begin exclusive');
  } catch (error) {
    database.close();
    // SQLITE_BUSY (5) and its kin.
    if (error instanceof Error && 'errcode' in error && error.errcode === 5) return null;
    throw error;
  }
  return () => {
    database.close();
  };
}
