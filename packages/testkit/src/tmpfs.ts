import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export interface Tmpfs extends AsyncDisposable {
  path: string;
  /** Gives it another size, with everything in it. */
  resize(megabytes: number): Promise<void>;
}

/** A small disk at `path`, which can be filled. Needs root. */
export async function mountTmpfs(path: string, megabytes: number): Promise<Tmpfs> {
  const size = (value: number) => `size=${value}m,mode=0700`;
  await mkdir(path, { recursive: true, mode: 0o700 });
  await execute('mount', ['-t', 'tmpfs', '-o', size(megabytes), 'tmpfs', path]);
  return {
    path,
    async resize(value) {
      await execute('mount', ['-o', `remount,${size(value)}`, path]);
    },
    async [Symbol.asyncDispose]() {
      // Lazily: whoever still has a file open there keeps it, and the path is free.
      await execute('umount', ['-l', path]);
    },
  };
}
