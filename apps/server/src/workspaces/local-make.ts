import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { open, readFile, stat, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { CodedError } from '@vmo/contract';
import {
  makeFailed,
  makefileNames,
  makeTimeoutMs,
  outerMakeVariables,
  type MakeDirectory,
  type MakeResult,
  type Stamp,
} from './make.ts';

/** The database of a Linux kernel is 20 MB; what is larger than this is no Makefile for a list of buttons. */
const maxOutputBytes = 64 * 1024 * 1024;
const maxSourceBytes = 4 * 1024 * 1024;

const timeOf = (path: string) =>
  stat(path).then(
    ({ mtimeMs, size }) => ({ mtimeMs, size }),
    () => null,
  );

async function stampOf(path: string): Promise<Stamp> {
  const found = await timeOf(path);
  return found && String(found.mtimeMs);
}

interface Call {
  directory: string;
  makefile: string;
  environment: Readonly<Record<string, string>>;
  args: readonly string[];
  /** A file that is open; its owner closes it. */
  lastMakefile: FileHandle | null;
}

/**
 * A file that is open and has no name: nothing of it can stay behind. Of `-f -` make would make a named one, and leaves
 * it there when it ends with an error; and what Node calls a pipe is a socket, which make cannot open.
 */
async function openNameless(text: string): Promise<FileHandle> {
  const path = join(tmpdir(), `vmo-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await unlink(path);
    // At a place of its own: where it is read as it stands, it is read from the beginning.
    await file.write(text, 0);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function runMake({ directory, makefile, environment, args, lastMakefile }: Call): Promise<MakeResult> {
  const { promise, resolve: settle, reject } = Promise.withResolvers<MakeResult>();
  const outer: ReadonlySet<string> = new Set(outerMakeVariables);
  const kept = Object.entries(environment).filter(([name]) => !outer.has(name));
  const last = lastMakefile ? ['-f', '/dev/stdin'] : [makefile];
  const child = spawn('make', [...args, '-f', makefile, ...last], {
    cwd: directory,
    env: { ...Object.fromEntries(kept), LC_ALL: 'C' },
    detached: true,
    stdio: [lastMakefile?.fd ?? 'ignore', 'pipe', 'pipe'],
  });
  const chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  let size = 0;

  function end(error: CodedError): void {
    reject(error);
    // A Makefile may have started programs by $(shell …): its whole group goes.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }
  const timer = setTimeout(() => {
    end(makeFailed(`make did not finish reading ${makefile} within ${String(makeTimeoutMs / 1000)} s`));
  }, makeTimeoutMs);
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.on('data', (data: Buffer) => {
      size += data.length;
      if (size <= maxOutputBytes) chunks[stream].push(data);
      else if (child.exitCode === null)
        end(makeFailed(`make writes more than ${String(maxOutputBytes)} bytes about ${makefile}`));
    });
  }
  child.once('error', () => {
    clearTimeout(timer);
    reject(makeFailed('make cannot be started: is it installed where the server runs?'));
  });
  child.once('close', (exitCode) => {
    clearTimeout(timer);
    const [stdout, stderr] = [chunks.stdout, chunks.stderr].map((part) => Buffer.concat(part).toString());
    settle({ makefile, exitCode, stdout: stdout ?? '', stderr: stderr ?? '' });
  });
  return promise;
}

/** A directory of this machine; `environment` is the one in which make runs. */
export function localMakeDirectory(
  directory: string,
  environment: Readonly<Record<string, string>>,
): MakeDirectory {
  const stamps = (files: readonly string[]) =>
    Promise.all(files.map((file) => stampOf(resolve(directory, file))));
  return {
    place: directory,
    stamps,

    async run(args, lastMakefile) {
      const found = await stamps(makefileNames);
      const makefile = makefileNames.find((_name, index) => typeof found[index] === 'string');
      if (makefile === undefined) return null;
      const file = lastMakefile === null ? null : await openNameless(lastMakefile);
      try {
        return await runMake({ directory, makefile, environment, args, lastMakefile: file });
      } finally {
        await file?.close();
      }
    },

    read: (files) =>
      Promise.all(
        files.map(async (file) => {
          const path = resolve(directory, file);
          const found = await timeOf(path);
          if (found === null) return { stamp: null, text: '' };
          const text = found.size <= maxSourceBytes ? await readFile(path, 'utf8').catch(() => '') : '';
          return { stamp: String(found.mtimeMs), text };
        }),
      ),
  };
}
