import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory, until } from '@vmo/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  createProcessTable,
  createProcfsTable,
  createPsTable,
  isAlive,
  jobMark,
  signalProcess,
  type ProcessTable,
} from './process.ts';
import { processTables } from './testing.ts';

const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function startProcess(env: NodeJS.ProcessEnv = {}): Promise<number> {
  const child = spawn('sleep', ['61'], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: process.env.PATH, ...env },
  });
  children.push(child);
  await once(child, 'spawn');
  if (child.pid === undefined) throw new Error('it was not started');
  return child.pid;
}

async function identityOf(table: ProcessTable, pid: number) {
  const found = await table.find(pid);
  if (!found) throw new Error('there is no such process');
  return { pid, start: found.start, boot: await table.bootId() };
}

describe.each(processTables)('the process table from %s', (_, table) => {
  it('describes a process that leads its session', async () => {
    const pid = await startProcess();
    const found = await until('the name', async () => {
      const info = await table.find(pid);
      return info?.name === 'sleep' ? info : null;
    });
    expect(found).toEqual({
      ...{ pid, parent: process.pid, group: pid, session: pid, name: 'sleep', zombie: false },
      start: expect.stringMatching(/\d/) as string,
    });
    expect((await table.list('nobody')).find((info) => info.pid === pid)).toEqual({
      ...found,
      marked: false,
    });
  });

  it('has nothing about a process that is not there', async () => {
    expect(await table.find(2 ** 22 + 1)).toBeNull();
  });

  it('finds the processes of a job by their mark, and not those of others', async () => {
    const mine = await startProcess({ [jobMark]: 'job-1' });
    const other = await startProcess({ [jobMark]: 'job-12', NOTE: `x${jobMark}=job-1` });
    const bare = await startProcess();
    // Between fork and exec a process still has our own environment.
    const marked = await until('the mark', async () => {
      const found = (await table.list('job-1')).filter((info) => info.marked).map((info) => info.pid);
      return found.includes(mine) ? found : null;
    });
    expect([mine, other, bare].map((pid) => marked.includes(pid))).toEqual([true, false, false]);
  });

  it('tells a zombie', async () => {
    // The child ends once its parent is a program that never reaps: a shell would do so between two commands.
    const child = 'until [ "$(ps -o comm= -p $PPID)" = sleep ]; do sleep 0.01; done';
    const parent = spawn('sh', ['-c', `sh -c '${child}' & echo $!; exec sleep 61`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    children.push(parent);
    const [words] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(words.toString());
    const zombie = await until('the end', async () => {
      const found = await table.find(pid);
      return found?.zombie ? found : null;
    });
    expect(await isAlive(table, { pid, start: zombie.start, boot: await table.bootId() })).toBe(false);
  });

  it('knows a process by pid, start and boot together', async () => {
    const pid = await startProcess();
    const identity = await identityOf(table, pid);
    expect(await isAlive(table, identity)).toBe(true);
    expect(await isAlive(table, { ...identity, start: '1' })).toBe(false);
    expect(await isAlive(table, { ...identity, boot: 'another' })).toBe(false);
    const child = children[0];
    child?.kill('SIGKILL');
    if (child) await once(child, 'exit');
    expect(await isAlive(table, identity)).toBe(false);
  });
});

it.runIf(processTables.length > 1)('the tables agree on every process that stays', async () => {
  const pid = await startProcess();
  const [ours, theirs] = await Promise.all(processTables.map(([, table]) => table.list('nobody')));
  const without = (list: typeof ours) =>
    list
      ?.filter((info) => [pid, process.pid, 1].includes(info.pid))
      .map(({ start: _, name: __, ...rest }) => rest)
      .sort((a, b) => a.pid - b.pid);
  expect(without(ours)).toHaveLength(3);
  expect(without(ours)).toEqual(without(theirs));
});

it('reads a name with spaces and parentheses', async () => {
  await using home = await temporaryDirectory();
  await mkdir(join(home.path, '77'));
  const fields = ['S', 5, 6, 7, ...Array<number>(15).fill(0), 4242];
  await writeFile(join(home.path, '77', 'stat'), `77 (a) R (b c)) ${fields.join(' ')} 0`);
  await mkdir(join(home.path, '78'));
  await writeFile(join(home.path, '78', 'stat'), '78 (cut) S 1 1 1');
  const table = createProcfsTable(home.path);
  expect(await table.list('nobody')).toEqual([
    {
      pid: 77,
      name: 'a) R (b c)',
      zombie: false,
      parent: 5,
      group: 6,
      session: 7,
      start: '4242',
      marked: false,
    },
    { pid: 78, name: 'cut', zombie: false, parent: 1, group: 1, session: 1, start: '', marked: false },
  ]);
});

it('takes what the platform has', () => {
  const platform = vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin');
  expect(createProcessTable().list.toString()).toBe(createPsTable().list.toString());
  platform.mockReturnValue('linux');
  expect(createProcessTable().list.toString()).toBe(createProcfsTable().list.toString());
  platform.mockRestore();
});

describe('signalProcess', () => {
  it('says whether there was somebody to signal', async () => {
    const pid = await startProcess();
    expect(signalProcess(pid, 'SIGCONT')).toBe(true);
    expect(signalProcess(2 ** 22 + 1, 'SIGCONT')).toBe(false);
  });

  it('throws for what is no signal', () => {
    expect(() => signalProcess(process.pid, 'SIGNOTHING' as NodeJS.Signals)).toThrow(/Unknown signal/);
  });
});
