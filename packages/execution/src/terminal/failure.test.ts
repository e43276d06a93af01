import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { cgroupMembers, probeCgroups, type Cgroups } from '../cgroup.ts';
import { createProcessTable, createProcfsTable, type ProcessTable } from '../process.ts';
import { claimBeginning, readExitRecord } from '../run-directory.ts';
import type { RunSpec } from '../run.ts';
import { buildSpec, lives } from '../testing.ts';
import { connectToHost } from './client.ts';
import { codeOf, wordsOf } from './errors.ts';
import { startTerminalHost } from './host.ts';
import { highWaterBytes } from './hosted-terminal.ts';
import { createHostLink } from './link.ts';
import { prepareSocketPath } from './paths.ts';
import { StartAnswer, type StartRequest } from './protocol.ts';
import { readHostIdentity } from './records.ts';
import { TerminalRun } from './run.ts';
import { createTerminalSpawnStrategy, type TerminalStrategy } from './strategy.ts';

/** What goes wrong under real terminals: hosts that die at a bad moment, systems that have no more to give. */
const run = promisify(execFile);
const table = createProcessTable();
const available = await probeCgroups();
const hostPids = new Set<number>();
let directory: TemporaryDirectory;

beforeAll(async () => {
  directory = await temporaryDirectory();
});
afterAll(async () => {
  for (const pid of hostPids) if (await lives(table, pid)) process.kill(pid, 'SIGTERM');
  for (const pid of hostPids) await until('the end of the host', async () => !(await lives(table, pid)));
  await directory[Symbol.asyncDispose]();
});

function createStrategy(hosts: string, cgroups: Cgroups | null = null): TerminalStrategy {
  const hostDirectory = join(directory.path, hosts);
  return createTerminalSpawnStrategy({ table, cgroups, hostDirectory, termCmd: '', environment: {} });
}

/** The host that holds (or held) this run's terminal. */
async function hostOf(spec: RunSpec): Promise<number> {
  const pid = (await readHostIdentity(spec.directory))?.pid ?? 0;
  hostPids.add(pid);
  return pid;
}

/** Starts a run and waits for its end: from then on the host is there, and idle. */
async function startHostOf(strategy: TerminalStrategy): Promise<{ hostPid: number; spec: RunSpec }> {
  const spec = buildSpec(directory.path, 'exit 3');
  const started = await strategy.start(spec);
  const hostPid = await hostOf(spec);
  expect(await started.ended).toMatchObject({ kind: 'exited', exitCode: 3 });
  return { hostPid, spec };
}

/** A host in this process, with a client. */
async function startHost(name: string, processes: ProcessTable) {
  const socketPath = await prepareSocketPath(join(directory.path, name));
  const logged: string[] = [];
  const ended = new Set<string>();
  const host = await startTerminalHost({ socketPath, table: processes, log: (words) => logged.push(words) });
  const client = await connectToHost(socketPath, (jobId) => ended.add(jobId));
  return {
    client,
    logged,
    ended,
    async [Symbol.asyncDispose]() {
      client.close();
      await host?.stop();
    },
  };
}

function startRequest({ jobId, directory: runDirectory, env }: RunSpec, command: string): StartRequest {
  const rest = { cwd: '/', env: { ...env }, cols: 80, rows: 24, cgroup: null };
  return { request: 'start', jobId, directory: runDirectory, command, ...rest };
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

test('a host that dies between claiming a beginning and its answer leaves a run that is lost', async () => {
  const strategy = createStrategy('dies-in-start');
  const { hostPid } = await startHostOf(strategy);
  const spec = buildSpec(directory.path, 'true', { cwd: null });
  await mkdir(spec.directory);
  // Nobody reads it: the host waits here, in the middle of the start.
  await run('mkfifo', [join(spec.directory, 'stdout')]);
  const starting = strategy.start(spec);
  await until('the record of the host', () => exists(join(spec.directory, 'host', 'pid')));
  process.kill(hostPid, 'SIGKILL');
  const end = await (await starting).ended;
  expect(end).toMatchObject({ kind: 'lost' });
  expect(end.kind === 'lost' && end.reason).toContain('the terminal host vanished');
  strategy.close();
}, 60_000);

test('a host that dies while a run is cancelled: the words of the cancel come before the end', async () => {
  const strategy = createStrategy('dies-in-cancel');
  const deaf = buildSpec(directory.path, 'trap "" HUP TERM; echo "ready"; while :; do sleep 0.05; done');
  const job = await strategy.start(deaf);
  const hostPid = await hostOf(deaf);
  await until('ready', async () =>
    (await readFile(join(deaf.directory, 'stdout'), 'utf8')).includes('ready'),
  );
  const order: string[] = [];
  const cancelled = job.cancel(3_000).then((lines) => {
    order.push('cancelled');
    return lines;
  });
  const ended = job.ended.then((end) => {
    order.push('ended');
    return end;
  });
  process.kill(hostPid, 'SIGKILL');
  expect((await cancelled).at(-1)).toMatch(/^SIGKILL after 3 s: .*sh \(/);
  expect(await ended).toMatchObject({ kind: 'lost' });
  expect(order).toEqual(['cancelled', 'ended']);
  strategy.close();
}, 60_000);

test('where there is no terminal to be had nothing begins, and the next start succeeds when there is', async () => {
  const strategy = createStrategy('no-pty');
  const hostPid = String((await startHostOf(strategy)).hostPid);
  const open = new Set((await readdir(`/proc/${hostPid}/fd`)).map(Number));
  const { stdout: before } = await run('prlimit', [
    '--pid',
    hostPid,
    '--nofile',
    '--noheadings',
    '-o',
    'SOFT',
  ]);
  // One more file may be open at a time: enough for the records, too little for a terminal, which has two ends.
  let limit = 0;
  for (let free = 0; free < 1; limit++) if (!open.has(limit)) free++;
  await run('prlimit', ['--pid', hostPid, `--nofile=${String(limit)}:`]);
  const refused = buildSpec(directory.path, 'true');
  await expect(strategy.start(refused)).rejects.toThrow(/no terminal could be made/);
  expect(await claimBeginning(refused.directory)).toBe(false);
  await run('prlimit', ['--pid', hostPid, `--nofile=${before.trim()}:`]);
  const next = await strategy.start(buildSpec(directory.path, 'exit 4'));
  expect(await next.ended).toMatchObject({ kind: 'exited', exitCode: 4 });
  strategy.close();
}, 60_000);

test('output that nobody takes stops the program, and nothing of it is missing when somebody does', async () => {
  await using host = await startHost('slow-spool', table);
  const spec = buildSpec(directory.path, '');
  const bytes = 3_000_000;
  const command = `stty raw -echo; head -c1 >/dev/null; exec head -c ${String(bytes)} /dev/zero`;
  const { pid } = StartAnswer.parse(await host.client.request(startRequest(spec, command)));
  const spool = join(spec.directory, 'stdout');
  await rm(spool);
  await run('mkfifo', [spool]); // writing to it waits for a reader
  await host.client.request({ request: 'input', jobId: spec.jobId, data: '\r' });
  const written = async () => /wchar: (\d+)/.exec(await readFile(`/proc/${String(pid)}/io`, 'utf8'))?.[1];
  let last: string | undefined;
  await until(
    'the standstill',
    async () => {
      const before = last;
      last = await written();
      return Number(last) > highWaterBytes && last === before;
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
  expect(Number(last)).toBeLessThan(bytes);
  const read = await buffer(createReadStream(spool));
  expect(read.length).toBeLessThanOrEqual(bytes + 2); // the key may have been echoed
  expect(read.subarray(-bytes).equals(Buffer.alloc(bytes))).toBe(true);
  await until('the end', () => host.ended.has(spec.jobId), { timeoutMs: 60_000 });
}, 150_000);

test('a command that is over before anybody could look it up has its exit record, and no identity', async () => {
  const late: ProcessTable = {
    ...table,
    async find(pid) {
      // Until its parent has noticed: before that it can still be looked up.
      if (pid !== process.pid) await until('its end', async () => (await table.find(pid)) === null);
      return table.find(pid);
    },
  };
  await using host = await startHost('quick', late);
  const spec = buildSpec(directory.path, '');
  await host.client.request(startRequest(spec, 'exit 9'));
  await until('the end', () => host.ended.has(spec.jobId));
  expect(await readExitRecord(spec.directory)).toMatchObject({ kind: 'exited', exitCode: 9 });
  expect(await exists(join(spec.directory, 'pid'))).toBe(false);
});

test('an identity that cannot be written is logged, and the command goes on', async () => {
  await using host = await startHost('no-identity', table);
  const spec = buildSpec(directory.path, '');
  await mkdir(join(spec.directory, 'pid.tmp'), { recursive: true });
  await host.client.request(startRequest(spec, 'read line; exit 5'));
  expect(host.logged.join()).toMatch(/its identity cannot be written: .*EISDIR/);
  await host.client.request({ request: 'input', jobId: spec.jobId, data: '\r' });
  await until('the end', () => host.ended.has(spec.jobId));
  expect(await readExitRecord(spec.directory)).toMatchObject({ kind: 'exited', exitCode: 5 });
});

test('a host that cannot find itself among the processes does not start', async () => {
  const socketPath = await prepareSocketPath(join(directory.path, 'nobody'));
  const empty = createProcfsTable(join(directory.path, 'no-proc'));
  await expect(startTerminalHost({ socketPath, table: empty, log: () => undefined })).rejects.toThrow(
    /not in the process table/,
  );
  // Nor does it keep others from it.
  const host = await startTerminalHost({ socketPath, table, log: () => undefined });
  expect(host).not.toBeNull();
  await host?.stop();
});

test('a run that was let go of says nothing more', async () => {
  const strategy = createStrategy('let-go');
  const { spec } = await startHostOf(strategy);
  const link = createHostLink({ hostDirectory: join(directory.path, 'let-go') });
  const options = { spec, table, cgroup: null, link, startedAt: new Date() };
  const ends: string[] = [];
  const released = new TerminalRun(options);
  void released.ended.then(() => ends.push('released'));
  released.detach();
  const kept = new TerminalRun(options);
  expect(await kept.ended).toMatchObject({ kind: 'exited', exitCode: 3 });
  expect(ends).toEqual([]);
  strategy.close();
});

test('an error from the system has a code, and anything that is thrown has words', async () => {
  const missing: unknown = await stat('/no/such/place').catch((error: unknown) => error);
  expect([codeOf(missing), codeOf(new Error('none')), codeOf('none')]).toEqual([
    'ENOENT',
    undefined,
    undefined,
  ]);
  expect([wordsOf(new Error('a reason')), wordsOf('words')]).toEqual(['a reason', 'words']);
});

// Where there are none, the tests of the sweep stand for these.
if (available) {
  test('the group of a terminal holds all of it, ends with it, and is gone after it', async () => {
    const strategy = createStrategy('grouped', available);
    // It leaves session, parent and mark behind; the group it cannot leave.
    const away = `env -i setsid sh -c 'trap "" HUP TERM; echo away >&2; while :; do sleep 0.05; done'`;
    const spec = buildSpec(directory.path, `${away} & wait`);
    const job = await strategy.start(spec);
    await hostOf(spec);
    const group = available.path(spec.jobId);
    await until('both', async () => (await cgroupMembers(group)).length >= 2);
    await until('away', async () =>
      (await readFile(join(spec.directory, 'stdout'), 'utf8')).includes('away'),
    );
    expect((await job.cancel(1_000)).at(-1)).toMatch(/^SIGKILL after 1 s: .*sh \(/);
    expect(await job.ended).toMatchObject({ kind: 'exited', leftovers: [] });
    await until('the group to be gone', async () => !(await exists(group)));
    strategy.close();
  }, 60_000);

  test('a terminal in a group is adopted with it, and named is what it leaves behind', async () => {
    const strategy = createStrategy('grouped', available);
    const left = 'mkfifo fifo; (trap "" HUP; echo >fifo; exec sleep 1000) & read armed <fifo';
    const spec = buildSpec(directory.path, `read go; ${left}; exit 6`, { cwd: directory.path });
    (await strategy.start(spec)).detach();
    strategy.close();
    const next = createStrategy('grouped', available);
    const adopted = await next.adopt(spec);
    await next.access.input(spec.jobId, '\r');
    const end = await adopted?.ended;
    expect(end).toMatchObject({ kind: 'exited', exitCode: 6 });
    const members = await cgroupMembers(available.path(spec.jobId));
    expect(members).toHaveLength(1);
    expect(end?.kind === 'exited' && end.leftovers.join()).toContain(`(${String(members[0])})`);
    for (const pid of members) process.kill(pid, 'SIGKILL');
    await until('the group to be gone', async () => !(await exists(available.path(spec.jobId))));
    next.close();
  }, 60_000);

  test('a start that is refused leaves no group', async () => {
    const strategy = createStrategy('grouped', available);
    const spec = buildSpec(directory.path, 'true', { cwd: join(directory.path, randomUUID()) });
    await expect(strategy.start(spec)).rejects.toThrow(/does not exist/);
    await until('the group to be gone', async () => !(await exists(available.path(spec.jobId))));
    strategy.close();
  });
}
