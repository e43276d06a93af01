import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newSecret } from './secrets.ts';

/** The bearer token: as configured, else the one in the data directory, which is made at the first start. */
export async function loadToken(dataDirectory: string, configured: string | null): Promise<string> {
  if (configured !== null) return configured;
  const path = join(dataDirectory, 'token');
  try {
    await writeFile(path, `${newSecret()}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const token = (await readFile(path, 'utf8')).trim();
  if (token === '') throw new Error(`${path} is empty: remove it, and a token is made at the next start`);
  return token;
}

const keyBytes = 32;

/** The key that seals secret variables in the database: in the data directory, made at the first start. */
export async function loadSecretsKey(dataDirectory: string): Promise<Buffer> {
  const path = join(dataDirectory, 'secrets.key');
  try {
    await writeFile(path, randomBytes(keyBytes), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const key = await readFile(path);
  if (key.length !== keyBytes)
    throw new Error(`${path} is not a key of ${String(keyBytes)} bytes: remove it, and a new one is made`);
  return key;
}
