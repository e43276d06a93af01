import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createProcessTable, isAlive } from './process.ts';
import { parseExitRecord, readExitRecord, readIdentity } from './run-directory.ts';
import { installWrapper, wrapperText } from './wrapper.ts';

const table = createProcessTable();
let home: TemporaryDirectory;
let run: string;
let wrapper: string;
const children = new Set<ChildProcess>();

beforeEach(async () => {
  home = await temporaryDirectory();
  run = join(home.path, 'run');
  await mkdir(run, { mode: 0o700 });
  wrapper = installWrapper(home.path);
});

afterEach(async () => {
  for (const { pid, exitCode, signalCode } of children) {
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
  }
  children.clear();
  await home[Symbol.asyncDispose]();
});

function start(
  command: string,
  { directory = '/', env = {} }: { directory?: string; env?: NodeJS.ProcessEnv } = {},
): ChildProcess {
  const child = spawn('/bin/sh', [wrapper, run, directory, '-', command], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: process.env.PATH, ...env },
  });
  children.add(child);
  return child;
}

async function runToEnd(...args: Parameters<typeof start>) {
  await once(start(...args), 'exit');
  return readExitRecord(run);
}

const output = (stream: 'stdout' | 'stderr') => readFile(join(run, stream), 'utf8');
const written = (words: string) =>
  until(words, async () => (await output('stdout').catch(() => '')).includes(words));

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('it was not started');
  return child.pid;
}

describe('the wrapper', () => {
  it.each([
    ['true', 0, null],
    ['exit 42', 42, null],
    ['kill -KILL $$', 137, 'SIGKILL'],
    ['kill -TERM $$', 143, 'SIGTERM'],
    ['kill -SEGV $$', 139, 'SIGSEGV'],
    ['/nowhere/no-such-command', 127, null],
    ['exit 128', 128, null],
  ])('records how `%s` ended', async (command, exitCode, signal) => {
    const before = Date.now();
    const record = await runToEnd(command);
    expect(record).toMatchObject({ kind: 'exited', exitCode, signal });
    if (record?.kind !== 'exited') throw new Error('no record');
    expect(record.startedAt.getTime()).toBeGreaterThanOrEqual(before - 1);
    expect(record.finishedAt.getTime()).toBeGreaterThanOrEqual(record.startedAt.getTime());
    expect(record.finishedAt.getTime()).toBeLessThanOrEqual(Date.now() + 1);
  });

  it('writes both streams to the spool, and closes standard input', async () => {
    await runToEnd('cat; echo out; echo err >&2');
    expect(await output('stdout')).toBe('out\n');
    expect(await output('stderr')).toBe('err\n');
  });

  it('runs the command in its directory, and records one that cannot be entered', async () => {
    await runToEnd('pwd', { directory: home.path });
    expect(await output('stdout')).toBe(`${home.path}\n`);
    await rm(run, { recursive: true });
    await mkdir(run);
    expect(await runToEnd('echo ran', { directory: '/nowhere' })).toEqual({ kind: 'no-directory' });
    expect(await output('stdout').catch(() => '')).toBe('');
  });

  it('gives the command as one literal argument', async () => {
    await runToEnd(`printf '%s|' "$0" "$#" '$(id)' "a'b" '\`x\`'`);
    expect(await output('stdout')).toBe("/bin/sh|0|$(id)|a'b|`x`|");
  });

  it('lets only one of two wrappers begin', async () => {
    const command = 'echo begun; sleep 0.05';
    const wrappers = Array.from({ length: 8 }, () => start(command));
    await Promise.all(wrappers.map((child) => once(child, 'exit')));
    expect(await output('stdout')).toBe('begun\n');
    expect(await readExitRecord(run)).toMatchObject({ exitCode: 0 });
  });

  it('does not begin a run that was given up', async () => {
    await mkdir(join(run, 'begun'));
    expect(await runToEnd('echo begun')).toBeNull();
    expect(await readdir(run)).toEqual(['begun']);
  });

  it('says who it is', async () => {
    const child = start('echo ready; sleep 60');
    await written('ready');
    const identity = await readIdentity(run);
    expect(identity).toEqual({
      pid: child.pid,
      start: (await table.find(pidOf(child)))?.start,
      boot: await table.bootId(),
    });
    expect(identity && (await isAlive(table, identity))).toBe(true);
  });

  it('survives SIGTERM to its process group, and records what the command made of it', async () => {
    const child = start(`trap 'echo heard; exit 7' TERM; echo ready; while :; do sleep 0.01; done`);
    await written('ready');
    process.kill(-pidOf(child), 'SIGTERM');
    await once(child, 'exit');
    expect(await output('stdout')).toBe('ready\nheard\n');
    expect(await readExitRecord(run)).toMatchObject({ exitCode: 7, signal: null });
  });

  it.each(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGPIPE', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const)(
    'survives %s to its process group',
    async (signal) => {
      const child = start('echo ready; exec sleep 60');
      await written('ready');
      process.kill(-pidOf(child), signal);
      await once(child, 'exit');
      expect(await readExitRecord(run)).toMatchObject({ kind: 'exited', signal });
    },
  );

  it('leaves a whole record however the signals of a cancel fall', async () => {
    for (let round = 0; round < 60; round++) {
      await rm(run, { recursive: true });
      await mkdir(run);
      const child = start('exit 3');
      await until('the identity', () => readIdentity(run), { everyMs: 1 });
      // From here on the wrapper is under fire all the time, with its helpers.
      while (child.exitCode === null && child.signalCode === null) {
        process.kill(-pidOf(child), 'SIGTERM');
        await new Promise(setImmediate);
        await new Promise((resolve) => setTimeout(resolve, round % 4));
      }
      const record = await readExitRecord(run);
      expect(record).toMatchObject({ kind: 'exited' });
      expect([3, 143]).toContain(record?.kind === 'exited' ? record.exitCode : record);
    }
  });

  it('does not begin the command when it was told to end before', async () => {
    // A directory whose search takes long cannot be made; a slow helper before the command can.
    const slow = wrapperText.replace('if ! cd ', `sh -c ': >"${home.path}/helping"; sleep 0.2'\nif ! cd `);
    expect(slow).not.toBe(wrapperText);
    await writeFile(wrapper, slow);
    const child = start('echo ran');
    await until('the helper', () => stat(join(home.path, 'helping')).catch(() => null), { everyMs: 2 });
    process.kill(pidOf(child), 'SIGTERM');
    await once(child, 'exit');
    expect(await readExitRecord(run)).toMatchObject({ exitCode: 143, signal: 'SIGTERM' });
    expect(await output('stdout').catch(() => '')).toBe('');
  });

  it('leaves no record rather than a part of one', async () => {
    await mkdir(join(run, 'exit.tmp'));
    expect(await runToEnd('true')).toBeNull();
    expect(await readdir(run)).not.toContain('exit');
  });

  it.runIf(process.platform === 'linux')('hands no ignored or blocked signals to the command', async () => {
    // Whatever our own process ignores, as Node does with SIGPIPE.
    await runToEnd('grep -E "^Sig(Ign|Blk)" /proc/self/status');
    const masks = (await output('stdout')).matchAll(/^Sig(Ign|Blk):\s+([0-9a-f]+)$/gm);
    const bits = [...masks].map(([, name, mask]) => [name, BigInt(`0x${mask ?? ''}`) & 0x7fff_ffffn]);
    expect(bits).toEqual([
      ['Blk', 0n],
      ['Ign', 0n],
    ]);
  });

  it('leads a session of its own', async () => {
    const child = start('echo $$; exec sleep 60');
    const pid = Number(
      await until('the pid', async () => (await output('stdout').catch(() => '')).trim() || null),
    );
    expect(await table.find(pid)).toMatchObject({ group: child.pid, session: child.pid });
  });

  it('leaves the environment of the job alone, whatever it holds', async () => {
    const names = [
      'run',
      'directory',
      'cgroup',
      'command',
      'code',
      'start',
      'started',
      'boot',
      'stat',
      'now',
      'IFS',
    ];
    const env = Object.fromEntries(names.map((name) => [name, `mine ${name}`]));
    await runToEnd('/usr/bin/env', { env: { ...env, PATH: '/mine/bin' } });
    const lines = (await output('stdout')).split('\n');
    for (const name of names) if (name !== 'IFS') expect(lines).toContain(`${name}=mine ${name}`);
    expect(lines).toContain('PATH=/mine/bin');
  });

  it('works without PATH, and leaves it unset', async () => {
    expect(await runToEnd('/usr/bin/env', { env: { PATH: undefined } })).toMatchObject({ exitCode: 0 });
    expect(await output('stdout')).not.toMatch(/^PATH=/m);
  });
});

describe('installWrapper', () => {
  it('puts the same file there once, readable by us alone', async () => {
    const before = await stat(wrapper);
    expect(await readFile(wrapper, 'utf8')).toBe(wrapperText);
    expect(before.mode & 0o777).toBe(0o600);
    expect(installWrapper(home.path)).toBe(wrapper);
    expect((await stat(wrapper)).ino).toBe(before.ino);
  });

  it('replaces one that was written by halves', async () => {
    await writeFile(wrapper, wrapperText.slice(0, 100));
    installWrapper(home.path);
    expect(await readFile(wrapper, 'utf8')).toBe(wrapperText);
  });

  it('can be asked by several programs at once', async () => {
    const fresh = join(home.path, 'fresh');
    const program = `import { installWrapper } from ${JSON.stringify(join(import.meta.dirname, 'wrapper.ts'))}; console.log(installWrapper(${JSON.stringify(fresh)}))`;
    const asked = Array.from({ length: 4 }, () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]),
    );
    const paths = (await Promise.all(asked)).map(({ stdout }) => stdout.trim());
    expect(new Set(paths).size).toBe(1);
    expect(await readdir(fresh)).toHaveLength(1);
  });

  it('makes the directory, closed to others', async () => {
    const deep = join(home.path, 'a', 'b');
    installWrapper(deep);
    expect((await stat(deep)).mode & 0o777).toBe(0o700);
    await chmod(deep, 0o700);
  });
});

it('reads its own words back', () => {
  expect(parseExitRecord('code=0\nstarted=1.5\nended=2.25\n')).toEqual({
    kind: 'exited',
    exitCode: 0,
    signal: null,
    startedAt: new Date(1500),
    finishedAt: new Date(2250),
  });
});
