import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Leaves the server's address in its data directory, so that `vmo` finds it without being told; closed to others, as
 * the directory is.
 * @returns takes it away
 */
export async function announce(dataDirectory: string, url: string): Promise<() => Promise<void>> {
  const path = join(dataDirectory, 'address.json');
  const aside = `${path}.${String(process.pid)}`;
  await writeFile(aside, `${JSON.stringify({ url, pid: process.pid })}\n`, { mode: 0o600 });
  // Whoever reads it reads all of it.
  await rename(aside, path);
  return () => rm(path, { force: true });
}
