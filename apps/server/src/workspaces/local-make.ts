import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
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
  lastMakefile: string;
}

function runMake({ directory, makefile, environment, args, lastMakefile }: Call): Promise<MakeResult> {
  const { promise, resolve: settle, reject } = Promise.withResolvers<MakeResult>();
  const outer: ReadonlySet<string> = new Set(outerMakeVariables);
  const kept = Object.entries(environment).filter(([name]) => !outer.has(name));
  const child = spawn('make', [...args, '-f', makefile, '-f', '-'], {
    cwd: directory,
    env: { ...Object.fromEntries(kept), LC_ALL: 'C' },
    detached: true,
    stdio: 'pipe',
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
    child[stream].on('data', (data: Buffer) => {
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
  child.stdin.on('error', () => undefined); // it may end before it has read us
  child.stdin.end(lastMakefile);
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
      return runMake({ directory, makefile, environment, args, lastMakefile });
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
