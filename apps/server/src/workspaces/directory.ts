import { access, constants, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { normalize } from 'node:path';
import { CodedError } from '@vmo/contract';

const expandHome = (path: string) => path.replace(/^~(?=\/|$)/, homedir());

/**
 * Looks at a directory on this machine.
 * @returns its absolute path, without a slash at its end
 * @throws CodedError DIRECTORY_UNUSABLE with the reason
 */
export async function checkLocalDirectory(directory: string): Promise<string> {
  const path = normalize(expandHome(directory)).replace(/(?<=.)\/$/, '');
  const refuse = (reason: string) => new CodedError('DIRECTORY_UNUSABLE', `${path} ${reason}`);
  const found = await stat(path).catch((error: unknown) => {
    throw refuse(
      error instanceof Error && 'code' in error && error.code === 'EACCES'
        ? 'is not accessible to the server'
        : 'does not exist',
    );
  });
  if (!found.isDirectory()) throw refuse('is not a directory');
  await access(path, constants.R_OK | constants.X_OK).catch(() => {
    throw refuse('is not readable by the server');
  });
  return path;
}
