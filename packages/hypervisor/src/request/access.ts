import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { MachineRequest } from '@vmo/contract';
import { DriverError } from '../driver.ts';
import type { Storage } from '../images/storage.ts';
import { findProgram, lastWords, runProgram } from '../program.ts';
import { writeIso } from './iso.ts';

/** Of a machine, in its folder: only we may read them, and they go with it. */
export const keyFile = 'ssh-key';
export const askFile = 'ssh-askpass';
const keygenMs = 30_000;

/** What cloud-init looks for (NoCloud): a file system that is called so, with these two files. */
const seedLabel = 'CIDATA';

function userData(user: string, key: string): string {
  const own =
    user === 'root'
      ? { name: user }
      : { name: user, shell: '/bin/sh', sudo: 'ALL=(ALL) NOPASSWD:ALL', lock_passwd: true };
  // JSON is YAML.
  return `#cloud-config\n${JSON.stringify({
    disable_root: user !== 'root',
    users: [{ ...own, ssh_authorized_keys: [key] }],
  })}\n`;
}

/**
 * Makes what it takes to log in: a key pair of this run, whose public half the guest's cloud-init takes from a seed; or
 * a program that tells ssh the password, so that it stands in no command line.
 * @throws DriverError impossible
 */
export async function makeAccess(storage: Storage, id: string, request: MachineRequest): Promise<void> {
  const { login, seed } = request;
  if (!login) return;
  const directory = storage.vmDirectory(id);
  await mkdir(directory, { recursive: true, mode: 0o711 });
  if (login.password !== null) {
    const quoted = `'${login.password.replaceAll("'", "'\\''")}'`;
    const path = join(directory, askFile);
    await rm(path, { force: true });
    await writeFile(path, `#!/bin/sh\nprintf '%s\\n' ${quoted}\n`, { mode: 0o700 });
  }
  if (seed === null) return;
  const key = join(directory, keyFile);
  const path = join(storage.root, seed);
  for (const old of [key, `${key}.pub`, path]) await rm(old, { force: true });
  await makeKey(key);
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  const files = {
    'meta-data': `instance-id: ${id}\n`,
    'user-data': userData(login.user, (await readFile(`${key}.pub`, 'utf8')).trim()),
  };
  await writeFile(path, writeIso(seedLabel, files), { mode: 0o600 });
}

async function makeKey(path: string): Promise<void> {
  const program = findProgram('ssh-keygen');
  if (program === null) {
    throw new DriverError('impossible', 'ssh-keygen (openssh-client) is missing: no key can be made');
  }
  const args = ['-q', '-t', 'ed25519', '-N', '', '-C', 'vmo', '-f', path];
  const end = await runProgram(program, args, { timeoutMs: keygenMs });
  if (end.code !== 0) throw new DriverError('impossible', `no key could be made: ${lastWords(end)}`);
}
