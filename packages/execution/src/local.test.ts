import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { probeCgroups } from './cgroup.ts';
import { createLocalStreamStrategy } from './local.ts';
import { createProcessTable, jobMark, signalProcess } from './process.ts';
import { readIdentity } from './run-directory.ts';
import { StartError } from './run.ts';
import { buildSpec, findMarked, lives, readSpool, untilWritten } from './testing.ts';
import { installWrapper, wrapperText } from './wrapper.ts';

const table = createProcessTable();
const cgroups = await probeCgroups();
const createStrategy = (groups = cgroups) => createLocalStreamStrategy({ table, cgroups: groups });
const strategy = createStrategy();

let home: TemporaryDirectory;
let bystander: ChildProcess | null;

beforeEach(async () => {
  home = await temporaryDirectory();
  bystander = null;
});

afterEach(async () => {
  bystander?.kill('SIGKILL');
  await home[Symbol.asyncDispose]();
});

/** Puts another program where the wrapper is; of the same size, it is taken for it. */
async function replaceWrapper(script: string): Promise<void> {
  await writeFile(installWrapper(home.path), `${script}\n`.padEnd(Buffer.byteLength(wrapperText), '#'));
}

async function startBystander() {
  bystander = spawn('sleep', ['61'], { detached: true, stdio: 'ignore' });
  await once(bystander, 'spawn');
  const pid = bystander.pid ?? 0;
  return { pid, start: (await table.find(pid))?.start ?? '', boot: await table.bootId() };
}

describe('a local run', () => {
  it('runs in its directory with its environment and its mark alone', async () => {
    const spec = buildSpec(home.path, 'pwd; /usr/bin/env; echo oh >&2; exit 4', {
      cwd: home.path,
      env: { PATH: '/usr/bin:/bin', COLOUR: 'red blue' },
    });
    const run = await strategy.start(spec);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 4, signal: null, leftovers: [] });
    const [directory, ...environment] = (await readSpool(spec)).trimEnd().split('\n');
    expect(directory).toBe(home.path);
    expect(environment.filter((line) => !/^(PWD|OLDPWD|_|SHLVL)=/.test(line)).sort()).toEqual([
      'COLOUR=red blue',
      'PATH=/usr/bin:/bin',
      `${jobMark}=${spec.jobId}`,
    ]);
    expect(await readSpool(spec, 'stderr')).toBe('oh\n');
  });

  it('runs at the root when no directory is given', async () => {
    const spec = buildSpec(home.path, 'pwd', { cwd: null });
    await (
      await strategy.start(spec)
    ).ended;
    expect(await readSpool(spec)).toBe('/\n');
  });

  it('does not start without its directory, and says why', async () => {
    const missing = buildSpec(home.path, 'true', { cwd: join(home.path, 'nowhere') });
    await expect(strategy.start(missing)).rejects.toEqual(
      new StartError(`the directory ${home.path}/nowhere does not exist`),
    );
    await writeFile(join(home.path, 'file'), '');
    await expect(
      strategy.start(buildSpec(home.path, 'true', { cwd: join(home.path, 'file') })),
    ).rejects.toThrow(`${home.path}/file is not a directory`);
    expect(await readdir(home.path)).toEqual(['file']);
  });

  it('does not start with an environment beyond the system’s limit, and leaves no group', async () => {
    const spec = buildSpec(home.path, 'true', { env: { HUGE: 'x'.repeat(8 * 1024 * 1024) } });
    const failure: unknown = await strategy.start(spec).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StartError);
    expect(String(failure)).toMatch(/could not be started: .*E2BIG/);
    if (cgroups) await expect(readdir(cgroups.path(spec.jobId))).rejects.toThrow(/ENOENT/);
  });

  it('says that a directory cannot be entered', async () => {
    // It is there for this process, and for no other.
    const cwd = `/proc/self/task/${process.pid}`;
    const run = await strategy.start(buildSpec(home.path, 'true', { cwd }));
    expect(await run.ended).toEqual({
      kind: 'not-started',
      reason: `the directory ${cwd} cannot be entered`,
    });
    await mkdir(join(home.path, 'record', 'begun'), { recursive: true });
    await writeFile(join(home.path, 'record', 'exit'), 'error=directory\n');
    const found = await strategy.adopt({
      ...buildSpec(home.path, 'true'),
      directory: join(home.path, 'record'),
    });
    expect(await found?.ended).toEqual({ kind: 'not-started', reason: 'the directory / cannot be entered' });
  });
});

describe('adoption', () => {
  it('follows a run that goes on, to its end', async () => {
    const spec = buildSpec(home.path, 'echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 6', {
      cwd: home.path,
    });
    const first = await strategy.start(spec);
    await untilWritten(spec, 'one');
    first.detach();
    const second = await createStrategy().adopt(spec);
    await writeFile(join(home.path, 'go'), '');
    expect(await second?.ended).toMatchObject({ kind: 'exited', exitCode: 6 });
    expect(await readSpool(spec)).toBe('one\ntwo\n');
  });

  it('can cancel a run that another of us started', async () => {
    const spec = buildSpec(home.path, 'echo $$; exec sleep 61');
    const first = await strategy.start(spec);
    const pid = Number(await until('the pid', async () => (await readSpool(spec)).trim() || null));
    first.detach();
    const second = await createStrategy().adopt(spec);
    expect(await second?.cancel(5_000)).toEqual([expect.stringMatching(/^SIGTERM sent to process group/)]);
    expect(await second?.ended).toMatchObject({ kind: 'exited', exitCode: 143, signal: 'SIGTERM' });
    expect(await lives(table, pid)).toBe(false);
  });

  it('finds how a run ended meanwhile', async () => {
    const spec = buildSpec(home.path, 'exit 8');
    const first = await strategy.start(spec);
    await first.ended;
    for (let turn = 0; turn < 2; turn++) {
      const again = await createStrategy().adopt(spec);
      expect(await again?.ended).toMatchObject({ kind: 'exited', exitCode: 8 });
      expect(await again?.cancel(100)).toEqual([]);
    }
  });

  it('takes a run that never began away from whoever would begin it', async () => {
    const spec = buildSpec(home.path, 'echo began');
    expect(await strategy.adopt(spec)).toBeNull();
    const wrapper = installWrapper(home.path);
    const late = spawn('/bin/sh', [wrapper, spec.directory, '/', '-', spec.command], { stdio: 'ignore' });
    await once(late, 'exit');
    expect(await readdir(spec.directory)).toEqual(['begun']);
  });

  it('says that a run is lost whose record is garbage', async () => {
    const spec = buildSpec(home.path, 'true');
    await mkdir(join(spec.directory, 'begun'), { recursive: true });
    await writeFile(join(spec.directory, 'exit'), 'code=\0\n');
    const run = await strategy.adopt(spec);
    expect(await run?.ended).toEqual({
      kind: 'lost',
      reason: 'its exit record cannot be read: "code=\\u0000\\n"',
    });
  });

  it('says that a run is lost whose directory cannot be read', async () => {
    const spec = buildSpec(home.path, 'true');
    await mkdir(join(spec.directory, 'begun'), { recursive: true });
    await mkdir(join(spec.directory, 'exit'));
    const run = await strategy.adopt(spec);
    expect(await run?.ended).toMatchObject({
      kind: 'lost',
      reason: /its run directory cannot be read: EISDIR/,
    });
  });

  it.each(['start time', 'boot'])('signals nobody when a pid came round again: another %s', async (what) => {
    const other = await startBystander();
    const identity = what === 'boot' ? { ...other, boot: 'before' } : { ...other, start: '1' };
    const spec = buildSpec(home.path, 'true');
    await mkdir(join(spec.directory, 'begun'), { recursive: true });
    const { pid, start, boot } = identity;
    await writeFile(join(spec.directory, 'pid'), `pid=${String(pid)}\nstart=${start}\nboot=${boot}\n`);
    for (const cancelled of [false, true]) {
      const run = await strategy.adopt(spec);
      if (cancelled) expect(await run?.cancel(0)).toEqual([]);
      expect(await run?.ended).toEqual({
        kind: 'lost',
        reason: 'its wrapper vanished without an exit record',
        dead: true,
      });
    }
    expect(await lives(table, other.pid)).toBe(true);
  });
});

describe('a wrapper that is killed', () => {
  it.each(cgroups ? [cgroups, null] : [null])(
    'loses the run, not its output, and leaves nobody',
    async (groups) => {
      const spec = buildSpec(home.path, 'echo $$; setsid sleep 61 & echo kept; wait');
      const run = await createStrategy(groups).start(spec);
      await untilWritten(spec, 'kept');
      const identity = await readIdentity(spec.directory);
      const began = performance.now();
      signalProcess(identity?.pid ?? 0, 'SIGKILL');
      const end = await run.ended;
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(end).toMatchObject({ kind: 'lost', dead: true });
      expect(end.kind === 'lost' && end.reason).toMatch(
        /^its wrapper vanished without an exit record; SIGTERM sent: /,
      );
      expect(await readSpool(spec)).toMatch(/kept\n$/);
      expect(await findMarked(table, spec.jobId)).toEqual([]);
    },
  );

  it('is noticed before it said who it was', async () => {
    await replaceWrapper('mkdir "$1/begun"; exit 1');
    const run = await strategy.start(buildSpec(home.path, 'true'));
    expect(await run.ended).toEqual({ kind: 'lost', reason: 'its wrapper vanished without an exit record' });
  });

  it('does not lose a run that an earlier wrapper began a moment before ours', async () => {
    const spec = buildSpec(home.path, 'echo ran');
    await mkdir(join(spec.directory, 'begun'), { recursive: true });
    const run = await strategy.start(spec);
    await rm(join(spec.directory, 'begun'), { recursive: true });
    const wrapper = installWrapper(home.path);
    const first = spawn('/bin/sh', [wrapper, spec.directory, '/', '-', spec.command], {
      detached: true,
      stdio: 'ignore',
    });
    await once(first, 'exit');
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readSpool(spec)).toBe('ran\n');
  });

  it('ends what it started although somebody was cancelling it', async () => {
    const spec = buildSpec(home.path, `trap '' TERM; echo ready; while :; do sleep 0.02; done`);
    const run = await strategy.start(spec);
    await untilWritten(spec, 'ready');
    const identity = await readIdentity(spec.directory);
    const cancelled = run.cancel(300);
    signalProcess(identity?.pid ?? 0, 'SIGKILL');
    expect(await cancelled).toEqual([
      expect.stringMatching(/^SIGTERM sent/),
      expect.stringMatching(/^SIGKILL after 0.3 s: /),
    ]);
    expect(await run.ended).toMatchObject({ kind: 'lost' });
  });
});

describe('cancel', () => {
  it('joins the ladder that is under way', async () => {
    const spec = buildSpec(home.path, `trap '' TERM; echo ready; while :; do sleep 0.02; done`);
    const run = await strategy.start(spec);
    await untilWritten(spec, 'ready');
    const [first, second] = await Promise.all([run.cancel(200), run.cancel(60_000)]);
    expect(second).toBe(first);
    expect(first).toHaveLength(2);
    expect(await run.cancel(200)).toBe(first);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 137, signal: 'SIGKILL' });
  });

  it('of a run that began and whose wrapper never said who it is waits for its end', async () => {
    await replaceWrapper('mkdir "$1/begun"; exit 1');
    const run = await strategy.start(buildSpec(home.path, 'true'));
    expect(await run.cancel(0)).toEqual([]);
    // Whether it made `begun` before we did is a race that both may win.
    expect(['lost', 'not-started']).toContain((await run.ended).kind);
  });

  it.each([0, 1, 2, 3, 4, 6, 8, 12, 16, 24])('ends a run for good %i ms after its start', async (delayMs) => {
    for (let round = 0; round < 2; round++) {
      const spec = buildSpec(home.path, 'echo ran; exec sleep 61');
      const run = await strategy.start(spec);
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
      const words = await run.cancel(5_000);
      const end = await run.ended;
      if (end.kind === 'not-started') {
        expect(words).toEqual([]);
        await until(
          'the wrapper to turn away',
          async () => (await findMarked(table, spec.jobId)).length === 0,
        );
        expect(await readSpool(spec)).toBe('');
      } else expect(end).toMatchObject({ kind: 'exited', exitCode: 143, signal: 'SIGTERM' });
      expect(await findMarked(table, spec.jobId)).toEqual([]);
    }
  });

  it('goes on after we have let go', async () => {
    const spec = buildSpec(home.path, 'echo ready; exec sleep 61');
    const run = await strategy.start(spec);
    await untilWritten(spec, 'ready');
    const cancelled = run.cancel(5_000);
    run.detach();
    expect(await cancelled).toHaveLength(1);
    expect(await (await strategy.adopt(spec))?.ended).toMatchObject({ kind: 'exited', signal: 'SIGTERM' });
  });
});

it('closes the run directory to others', async () => {
  const spec = buildSpec(home.path, 'ls -ld "$RUN" "$RUN/stdout" | cut -c1-10');
  await chmod(home.path, 0o755);
  const run = await strategy.start({ ...spec, env: { ...spec.env, RUN: spec.directory } });
  await run.ended;
  expect(await readSpool(spec)).toBe('drwx------\n-rw-------\n');
});
