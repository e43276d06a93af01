import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { probeCgroups } from './cgroup.ts';
import { describeProcesses, endRun, findLeftovers, findMembers } from './kill.ts';
import { createLocalStreamStrategy } from './local.ts';
import { createProcessTable, createPsTable, jobMark, signalProcess, type ProcessTable } from './process.ts';
import type { Run, RunSpec } from './run.ts';
import { buildSpec, findMarked, lives, readSpool, untilWritten } from './testing.ts';

const table = createProcessTable();
const cgroups = await probeCgroups();
const graceMs = 300;
/** For jobs: says its pid, and lives until it is ended. */
const STAY = 'echo $$; while :; do sleep 61; done';

let home: TemporaryDirectory;
let strays: ChildProcess[];

beforeEach(async () => {
  home = await temporaryDirectory();
  strays = [];
});

afterEach(async () => {
  for (const stray of strays) stray.kill('SIGKILL');
  await home[Symbol.asyncDispose]();
});

function build(command: string, env: Record<string, string> = {}): RunSpec {
  const spec = buildSpec(home.path, command);
  return { ...spec, env: { ...spec.env, STAY, ...env } };
}

/** The pids that the job's processes have said. */
async function pidsOf(spec: RunSpec): Promise<number[]> {
  return [...(await readSpool(spec)).matchAll(/^\d+$/gm)].map(([pid]) => Number(pid));
}

const ways: [string, typeof cgroups][] = [['the sweep', null]];
if (cgroups) ways.push(['a control group', cgroups]);

describe.each(ways)('the cancel ladder with %s', (_, groups) => {
  const strategy = createLocalStreamStrategy({ table, cgroups: groups });

  /** Starts the job, and waits until everybody has said `pid`. */
  async function start(command: string, people: number): Promise<{ spec: RunSpec; run: Run }> {
    const spec = build(command);
    const run = await strategy.start(spec);
    await until('everybody', async () => (await pidsOf(spec).catch(() => [])).length === people);
    return { spec, run };
  }

  async function expectNobody(spec: RunSpec): Promise<void> {
    expect(await findMarked(table, spec.jobId)).toEqual([]);
    for (const pid of await pidsOf(spec)) expect(await lives(table, pid)).toBe(false);
    if (groups) {
      // What the kernel still holds of dead processes is gone in a moment.
      const { access } = await import('node:fs/promises');
      await until('the end of the group', () =>
        access(groups.path(spec.jobId)).then(
          () => false,
          () => true,
        ),
      );
    }
  }

  it('asks with SIGTERM, and kills nobody who listens', async () => {
    const { spec, run } = await start(
      `trap 'echo bye; exit 9' TERM; echo $$; while :; do sleep 0.01; done`,
      1,
    );
    const words = await run.cancel(5_000);
    expect(words).toEqual([expect.stringMatching(/^SIGTERM sent to process group \d+: .*sh \(\d+\)/)]);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 9, signal: null, leftovers: [] });
    expect(await readSpool(spec)).toMatch(/bye\n$/);
    await expectNobody(spec);
  });

  it.each([
    ['that left the session', 'setsid sh -c "$STAY" & wait', 1],
    ['that ignores SIGTERM', `sh -c 'trap "" TERM; eval "$STAY"' & wait`, 1],
    ['that is stopped', `sh -c 'echo $$; kill -STOP $$; sleep 61' & wait`, 1],
    ['that has stopped the whole group', 'echo $$; kill -STOP 0; sleep 61', 1],
    [
      'that left the session, is stopped and ignores SIGTERM',
      `setsid sh -c 'trap "" TERM; echo $$; kill -STOP $$; sleep 61' & wait`,
      1,
    ],
    ['whose parents have gone', `(setsid sh -c 'sh -c "$STAY" & eval "$STAY"' &); sleep 61`, 2],
    ['with a cleared environment', 'env -i /bin/sh -c "$STAY" & wait', 1],
  ] as const)('ends a grandchild %s', async (_name, command, people) => {
    const { spec, run } = await start(command, people);
    const began = performance.now();
    await run.cancel(graceMs);
    expect(performance.now() - began).toBeLessThan(6_000);
    await expectNobody(spec);
    expect(await run.ended).toMatchObject({ kind: 'exited', leftovers: [] });
  });

  it('ends one that forks for ever', async () => {
    const hop = `trap "" TERM; sh -c "$HOP" & exit 0`;
    const spec = build('sh -c "$HOP"; echo ready; sleep 61', { HOP: hop });
    const run = await strategy.start(spec);
    await untilWritten(spec, 'ready');
    const words = await run.cancel(graceMs);
    expect(words.at(-1)).toMatch(/^SIGKILL after 0.3 s: /);
    await expectNobody(spec);
  });

  it('ends many that fork for ever and ignore SIGTERM', async () => {
    const hop = `trap "" TERM; while :; do sleep 0.05 & sleep 0.01; done`;
    const spec = build('for i in 1 2 3 4 5; do setsid sh -c "$HOP" & done; echo ready; wait', { HOP: hop });
    const run = await strategy.start(spec);
    await untilWritten(spec, 'ready');
    await run.cancel(graceMs);
    await expectNobody(spec);
  });

  it('lets a bystander live that looks the same', async () => {
    const { spec, run } = await start('echo $$; exec sleep 62', 1);
    const bystander = spawn('sleep', ['62'], {
      detached: true,
      stdio: 'ignore',
      env: { PATH: process.env.PATH, [jobMark]: `${spec.jobId}0`, NOTE: `${jobMark}=${spec.jobId}x` },
    });
    strays.push(bystander);
    await once(bystander, 'spawn');
    await run.cancel(graceMs);
    await expectNobody(spec);
    expect(await lives(table, bystander.pid ?? 0)).toBe(true);
  });

  it('names who is left when a run ends by itself, and lets it live', async () => {
    const { spec, run } = await start(`setsid sh -c 'echo $$; exec sleep 61' >&1 & sleep 0.1; exit 3`, 1);
    const [pid = 0] = await pidsOf(spec);
    const end = await run.ended;
    expect(end).toMatchObject({ kind: 'exited', exitCode: 3, leftovers: [`sleep (${String(pid)})`] });
    expect(await lives(table, pid)).toBe(true);
    const left = { jobId: spec.jobId, table, wrapper: null, cgroup: null };
    // Its end is known before the wrapper that told it has gone.
    await until('the wrapper to go', async () => (await findLeftovers(left)).length === 1);
    expect(await endRun(left, 1_000)).toEqual([`SIGTERM sent: sleep (${String(pid)})`]);
    expect(await lives(table, pid)).toBe(false);
    if (groups) await until('the group to go', () => groups.create(spec.jobId));
  });
});

if (cgroups) {
  it('ends with a control group even what has left nothing to be found by', async () => {
    const strategy = createLocalStreamStrategy({ table, cgroups });
    const script = `/bin/sh -c "$0" & eval "$0"`;
    const spec = build(`(env -i setsid /bin/sh -c '${script}' "$STAY" &); sleep 61`);
    const run = await strategy.start(spec);
    await until('everybody', async () => (await pidsOf(spec).catch(() => [])).length === 2);
    await run.cancel(graceMs);
    for (const pid of await pidsOf(spec)) expect(await lives(table, pid)).toBe(false);
  });
}

describe('endRun', () => {
  function startMarked(jobId: string, script: string): ChildProcess {
    const child = spawn('sh', ['-c', script], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: process.env.PATH, [jobMark]: jobId },
    });
    strays.push(child);
    return child;
  }

  it('has no words when nothing was alive', async () => {
    const nobody = { jobId: 'nobody', table, wrapper: null, cgroup: null };
    expect(await endRun(nobody, 1_000)).toEqual([]);
    expect(await findLeftovers(nobody)).toEqual([]);
    expect(await findLeftovers({ ...nobody, cgroup: '/nowhere' })).toEqual([]);
  });

  it('takes a leader that is the command itself for a member, and asks with each signal in turn', async () => {
    const child = startMarked('led', 'trap "" HUP; echo ready; while :; do sleep 61; done');
    await once(child.stdout ?? child, 'data');
    const found = await table.find(child.pid ?? 0);
    const wrapper = { pid: child.pid ?? 0, start: found?.start ?? '', boot: await table.bootId() };
    const words = await endRun({ jobId: 'led', table, wrapper, leaderIsCommand: true, cgroup: null }, 600, [
      'SIGHUP',
      'SIGTERM',
    ]);
    expect(words).toHaveLength(2);
    expect(words[0]).toMatch(/^SIGHUP sent to process group \d+: .*sh \(\d+\)/);
    expect(words[1]).toMatch(/^SIGTERM sent to process group \d+: .*sh \(\d+\)/);
    expect(await lives(table, child.pid ?? 0)).toBe(false);
  });

  it('signals nobody when the leader’s pid now means another process', async () => {
    const bystander = spawn('sleep', ['61'], { detached: true, stdio: 'ignore' });
    strays.push(bystander);
    await once(bystander, 'spawn');
    const pid = bystander.pid ?? 0;
    const start = (await table.find(pid))?.start ?? '';
    const boot = await table.bootId();
    for (const wrapper of [
      { pid, start: '1', boot },
      { pid, start, boot: 'before the restart' },
    ]) {
      for (const leaderIsCommand of [true, false]) {
        const run = { jobId: 'gone', table, wrapper, leaderIsCommand, cgroup: null };
        expect(await findMembers(run)).toEqual([]);
        expect(await endRun(run, 0)).toEqual([]);
      }
    }
    expect(await lives(table, pid)).toBe(true);
  });

  it('signals nobody whose pid has come round again since it was found', async () => {
    const child = startMarked('recycled', 'echo ready; exec sleep 61');
    await once(child.stdout ?? child, 'data');
    const pid = child.pid ?? 0;
    // The table as it was before: the process with this pid was another one.
    let looks = 0;
    const stale: ProcessTable = {
      ...table,
      list: async (jobId) =>
        looks++ > 6
          ? []
          : (await table.list(jobId)).map((info) => (info.pid === pid ? { ...info, start: '1' } : info)),
    };
    await endRun({ jobId: 'recycled', table: stale, wrapper: null, cgroup: null }, 0);
    expect(await lives(table, pid)).toBe(true);
  });

  it('gives up on what cannot be killed, and names it', async () => {
    const child = startMarked('immortal', 'echo ready; exec sleep 61');
    await once(child.stdout ?? child, 'data');
    const info = await table.find(child.pid ?? 0);
    // Sleeping in the kernel, as on a dead disk: it is there, and no signal does anything.
    const immortal: ProcessTable = {
      ...table,
      find: async (pid) => (pid === info?.pid ? null : table.find(pid)),
    };
    const words = await endRun({ jobId: 'immortal', table: immortal, wrapper: null, cgroup: null }, 0);
    expect(words.at(-1)).toBe(`still alive after SIGKILL: sleep (${String(child.pid)})`);
  });

  it('works by ps(1) as well', async () => {
    const child = startMarked('by-ps', 'trap "" TERM; echo ready; while :; do sleep 61; done');
    await once(child.stdout ?? child, 'data');
    const words = await endRun({ jobId: 'by-ps', table: createPsTable(), wrapper: null, cgroup: null }, 50);
    expect(words.at(-1)).toMatch(/^SIGKILL after 0.05 s: /);
    expect(await lives(table, child.pid ?? 0)).toBe(false);
  });
});

it('counts processes rather than naming hundreds', () => {
  const info = { parent: 1, group: 1, session: 1, start: '1', name: 'sh', zombie: false };
  const many = Array.from({ length: 12 }, (_, index) => ({ ...info, pid: index + 10 }));
  expect(describeProcesses(many, 2)).toBe('sh (10), sh (11) and 10 more');
  expect(describeProcesses(many.slice(0, 2))).toBe('sh (10), sh (11)');
  expect(signalProcess(2 ** 22 + 1, 'SIGTERM')).toBe(false);
});
