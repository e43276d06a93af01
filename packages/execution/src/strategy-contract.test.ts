import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeCgroups } from './cgroup.ts';
import { findMembers } from './kill.ts';
import { createLocalStreamStrategy } from './local.ts';
import { createProcessTable } from './process.ts';
import { StartError, type Run, type RunSpec, type Strategy } from './run.ts';
import { createSshPlace } from './ssh/testing.ts';
import { buildSpec, lives, readSpool, untilWritten } from './testing.ts';

/** A strategy and what its jobs need to know. */
interface Place extends AsyncDisposable {
  /** One more each time, as after a restart of ours. */
  strategy(): Strategy;
  change: Partial<RunSpec>;
}

const table = createProcessTable();

const places: readonly (readonly [string, () => Promise<Place>])[] = [
  ['local stream, control groups where there are any', () => local(true)],
  ['local stream without control groups', () => local(false)],
  ['ssh, control groups where there are any', () => remote(true)],
  ['ssh without control groups', () => remote(false)],
];

async function local(groups: boolean): Promise<Place> {
  const cgroups = groups ? await probeCgroups() : null;
  return {
    strategy: () => createLocalStreamStrategy({ table, cgroups }),
    change: {},
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function remote(cgroups: boolean): Promise<Place> {
  const place = await createSshPlace();
  return {
    strategy: () => place.strategy({ client: place.client, cgroups }),
    change: { host: place.host },
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

describe.each(places)('%s', (_name, create) => {
  let place: Place;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = await temporaryDirectory();
    place = await create();
  });
  afterAll(async () => {
    await place[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const build = (command: string, change: Partial<RunSpec> = {}) =>
    buildSpec(directory.path, command, { ...place.change, ...change });
  const raw = ({ directory: run }: RunSpec, stream: 'stdout' | 'stderr') => readFile(join(run, stream));
  async function finish(spec: RunSpec) {
    return (await place.strategy().start(spec)).ended;
  }

  it('splits output into stdout and stderr, byte by byte', async () => {
    const spec = build(`printf 'a\\0b\\377\\303\\050no end'; printf 'e\\036\\200\\n\\036' >&2`);
    expect(await finish(spec)).toMatchObject({ kind: 'exited', exitCode: 0, signal: null, leftovers: [] });
    expect(await raw(spec, 'stdout')).toEqual(
      Buffer.from([0x61, 0, 0x62, 0xff, 0xc3, 0x28, ...Buffer.from('no end')]),
    );
    expect(await raw(spec, 'stderr')).toEqual(Buffer.from([0x65, 0x1e, 0x80, 0x0a, 0x1e]));
  });

  it('keeps every byte of a large output', async () => {
    const file = join(directory.path, 'large');
    const bytes = Buffer.alloc(20_000_000);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
    await writeFile(file, bytes);
    const spec = build(`cat ${file}; cat ${file} >&2`);
    expect(await finish(spec)).toMatchObject({ kind: 'exited', exitCode: 0 });
    const digest = (data: Buffer) => createHash('sha256').update(data).digest('hex');
    expect(digest(await raw(spec, 'stdout'))).toBe(digest(bytes));
    expect(digest(await raw(spec, 'stderr'))).toBe(digest(bytes));
  });

  it('tells the exit code, and the signal that ended the command', async () => {
    expect(await finish(build('exit 7'))).toMatchObject({ exitCode: 7, signal: null });
    expect(await finish(build('kill -KILL $$'))).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
  });

  it('says how long the command took', async () => {
    const end = await finish(build('sleep 0.4'));
    if (end.kind !== 'exited') throw new Error(end.reason);
    const took = end.finishedAt.getTime() - end.startedAt.getTime();
    expect(took).toBeGreaterThanOrEqual(400);
    expect(took).toBeLessThan(5_000);
  });

  it('gives the command a closed stdin, its directory, its environment and its mark', async () => {
    const cwd = join(directory.path, "it's a directory");
    await mkdir(cwd, { recursive: true });
    const value = `two\nlines 'quoted' "$(id)" \\ é`;
    const spec = build('cat; pwd; printf "%s\\n" "$VALUE" "$VMO_JOB_ID" "$_x"', {
      cwd,
      env: { VALUE: value, PATH: process.env.PATH ?? '', _x: 'x' },
    });
    expect(await finish(spec)).toMatchObject({ exitCode: 0 });
    expect(await readSpool(spec)).toBe(`${cwd}\n${value}\n${spec.jobId}\nx\n`);
  });

  it('takes a command as it is: quotes, new lines, comments', async () => {
    const spec = build(`cat <<'END' # here\n'"$(id)"' \`\\\nEND\necho "it's"`);
    expect(await finish(spec)).toMatchObject({ exitCode: 0 });
    expect(await readSpool(spec)).toBe(`'"$(id)"' \`\\\nit's\n`);
  });

  it('refuses a directory that is not there, and one that is a file', async () => {
    const missing = join(directory.path, 'missing');
    await expect(place.strategy().start(build('true', { cwd: missing }))).rejects.toThrow(StartError);
    await expect(place.strategy().start(build('true', { cwd: missing }))).rejects.toThrow(
      `the directory ${missing} does not exist`,
    );
    await writeFile(missing, '');
    await expect(place.strategy().start(build('true', { cwd: missing }))).rejects.toThrow(
      `${missing} is not a directory`,
    );
  });

  it('ends with 127 and the words of the shell when there is no such command', async () => {
    const spec = build('no-such-command-here');
    expect(await finish(spec)).toMatchObject({ exitCode: 127 });
    expect(await readSpool(spec, 'stderr')).toContain('not found');
  });

  it('takes a command that begins with a dash for a command, not for options of the shell', async () => {
    for (const command of ['-x', '--help']) {
      const spec = build(command);
      expect(await finish(spec)).toMatchObject({ exitCode: 127 });
    }
  });

  it('shows output while the command runs', async () => {
    const spec = build('echo one; echo error >&2; while [ ! -e go ]; do sleep 0.02; done; echo two', {
      cwd: directory.path,
    });
    const run = await place.strategy().start(spec);
    await untilWritten(spec, 'one');
    await until('the error', async () => (await readSpool(spec, 'stderr')) === 'error\n');
    expect(await readSpool(spec)).toBe('one\n');
    await writeFile(join(directory.path, 'go'), '');
    expect(await run.ended).toMatchObject({ exitCode: 0 });
    expect(await readSpool(spec)).toBe('one\ntwo\n');
  });

  it('goes on when nobody watches, and is found again with every byte', async () => {
    const go = join(directory.path, 'go-on');
    const spec = build(`echo one; while [ ! -e ${go} ]; do sleep 0.02; done; echo two; exit 3`);
    const first = await place.strategy().start(spec);
    await untilWritten(spec, 'one');
    first.detach();
    await writeFile(go, '');
    const second = await place.strategy().adopt(spec);
    expect(await second?.ended).toMatchObject({ kind: 'exited', exitCode: 3 });
    expect(await readSpool(spec)).toBe('one\ntwo\n');
    const third = await place.strategy().adopt(spec);
    expect(await third?.ended).toMatchObject({ kind: 'exited', exitCode: 3 });
    expect(await third?.cancel(0)).toEqual([]);
  });

  it('does not find a run that never began', async () => {
    expect(await place.strategy().adopt(build('echo never'))).toBeNull();
  });

  it('says which processes outlive the command', async () => {
    // Until setsid has become sleep, it has its own name.
    const named = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.01; done';
    const spec = build(`setsid sleep 300 >/dev/null 2>&1 & ${named}; echo $!`);
    const run = await place.strategy().start(spec);
    const end = await run.ended;
    const pid = Number(await readSpool(spec));
    try {
      expect(end).toMatchObject({ exitCode: 0, leftovers: [`sleep (${String(pid)})`] });
    } finally {
      process.kill(pid, 'SIGKILL');
    }
  });

  describe('cancel', () => {
    /** Starts a command that says the pids of what it has started, and `ready`. */
    async function start(command: string): Promise<{ spec: RunSpec; run: Run; pids: number[] }> {
      const spec = build(command);
      const run = await place.strategy().start(spec);
      await untilWritten(spec, 'ready');
      const pids = (await readSpool(spec))
        .split('\n')
        .filter((line) => /^\d+$/.test(line))
        .map(Number);
      return { spec, run, pids };
    }
    const alive = async (pids: readonly number[]) => {
      const answers = await Promise.all(pids.map((pid) => lives(table, pid)));
      return pids.filter((_pid, index) => answers[index]);
    };

    it('gives time for an orderly end', async () => {
      const { spec, run } = await start(
        `trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done`,
      );
      const lines = await run.cancel(20_000);
      expect(lines[0]).toMatch(/^SIGTERM sent to process group \d+.*: .*sh \(\d+\)/);
      expect(lines).toHaveLength(1);
      expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 4 });
      expect(await readSpool(spec)).toContain('bye');
    });

    it('kills what ignores SIGTERM, what left the session and what is stopped; a bystander lives', async () => {
      const bystander = spawn('sleep', ['300'], { stdio: 'ignore' });
      try {
        const { run, pids } = await start(
          `trap '' TERM
           setsid sh -c 'trap "" TERM; sleep 301; sleep 302' & echo $!
           setsid sleep 303 & echo $!
           sleep 304 & echo $!; kill -STOP $!
           echo $$; echo ready
           while :; do sleep 0.1; done`,
        );
        expect(await alive(pids)).toHaveLength(4);
        const again = [run.cancel(300), run.cancel(300)];
        const [lines, same] = await Promise.all(again);
        expect(same).toBe(lines);
        expect(lines?.[1]).toMatch(/^SIGKILL after 0.3 s: .*sleep \(\d+\)/);
        expect(await alive(pids)).toEqual([]);
        expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
        expect(await run.ended).toMatchObject({ kind: 'exited', signal: 'SIGKILL', leftovers: [] });
      } finally {
        bystander.kill('SIGKILL');
      }
    });

    it('ends a command that forks for ever', async () => {
      const { spec, run } = await start(
        `trap '' TERM; echo ready; while :; do (trap '' TERM; sleep 300) & sleep 0.01; done`,
      );
      await run.cancel(200);
      await run.ended;
      expect(await findMembers({ jobId: spec.jobId, table, wrapper: null, cgroup: null })).toEqual([]);
    });

    it('is held and let go on as a whole, and ended while it is held', async () => {
      const { spec, run } = await start(
        `(while :; do echo inner; sleep 0.02; done) & setsid sh -c 'while :; do echo other; sleep 0.02; done' & echo ready; wait`,
      );
      const size = async () => (await raw(spec, 'stdout')).length;
      const grows = async () => {
        const before = await size();
        await delay(600);
        return (await size()) > before;
      };
      expect(await grows()).toBe(true);
      expect(await run.suspend()).toBe(true);
      await until('the last of what was on its way', async () => !(await grows()));
      await run.resume();
      await until('more output', grows);
      expect(await run.suspend()).toBe(true);
      await run.cancel(300);
      expect(await run.ended).toMatchObject({ kind: 'exited', leftovers: [] });
      expect(await run.suspend()).toBe(false);
    });

    it('ends once, however it races with the end of the command', async () => {
      for (const seconds of ['0', '0.01', '0.03', '0.05']) {
        const run = await place.strategy().start(build(`sleep ${seconds}`));
        const [, end] = await Promise.all([run.cancel(1_000), run.ended]);
        expect(['exited', 'not-started']).toContain(end.kind);
      }
    });
  });
});
