import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StartError, type RunSpec } from '../run.ts';
import { buildSpec, readSpool, untilWritten } from '../testing.ts';
import { newAttempt, readAttempt, writeAttempt } from './attempt.ts';
import { markerOf } from './segments.ts';
import { createSshPlace, type SshPlace } from './testing.ts';

let place: SshPlace;
beforeAll(async () => {
  place = await createSshPlace();
});
afterAll(() => place[Symbol.asyncDispose]());

/** A job on the host, and what was said in its middle. */
function build(command: string, change: Partial<RunSpec> = {}, at = place) {
  const notices: string[] = [];
  const spec = buildSpec(at.directory, command, {
    host: at.host,
    cwd: null,
    notice: (line) => notices.push(line),
    ...change,
  });
  return { spec, notices };
}

const remoteRun = (spec: RunSpec, at = place) =>
  until('its remote run directory', async () => {
    const name = (await at.remoteRuns()).find((found) => found.startsWith(spec.jobId));
    return name === undefined ? null : join(at.home, '.vmo', 'runs', name);
  });

async function untilSaid(notices: readonly string[], words: string): Promise<void> {
  await until(words, () => notices.some((line) => line.includes(words)));
}

/** Words of a job that waits until `go` is made. */
const waitFor = (file: string) => `while [ ! -e ${file} ]; do sleep 0.02; done`;
const newFile = (name: string) => join(place.directory, `${name}-${String(Math.random()).slice(2)}`);

describe('a job on a host', () => {
  const umask = execFileSync('sh', ['-c', 'umask'], { encoding: 'utf8' }).trim();

  it('runs in the home directory, or below it, with the environment of a login and its own', async () => {
    await mkdir(join(place.home, "a 'directory'"));
    for (const [cwd, directory] of [
      [null, place.home],
      ['~', place.home],
      ["~/a 'directory'", join(place.home, "a 'directory'")],
    ] as const) {
      const { spec } = build('pwd -P; echo "$UID $EXTRA ${SSH_CONNECTION:+connected} $(umask)"', {
        cwd,
        env: { UID: '77', EXTRA: '$HOME' },
      });
      const run = await place.strategy({ client: place.client }).start(spec);
      expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
      expect(await readSpool(spec)).toMatch(new RegExp(`^${directory}\n\\d+ \\$HOME connected ${umask}\n$`));
    }
  });

  it('has exactly its own output, however much a login shell talks', async () => {
    await writeFile(join(place.home, '.bashrc'), 'echo welcome; echo warning >&2; export PS4=x; set -x\n');
    try {
      const { spec } = build('echo out; echo err >&2');
      const run = await place.strategy({ client: place.client }).start(spec);
      expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
      expect(await readSpool(spec)).toBe('out\n');
      expect(await readSpool(spec, 'stderr')).toBe('err\n');
    } finally {
      await rm(join(place.home, '.bashrc'));
    }
  });

  it('leaves nothing on the host but the wrapper, and is known here', async () => {
    const { spec } = build('echo done');
    const run = await place.strategy({ client: place.client }).start(spec);
    const end = await run.ended;
    await until('its remote run directory to go', async () =>
      (await place.remoteRuns()).every((name) => !name.startsWith(spec.jobId)),
    );
    expect(await readAttempt(spec.directory)).toMatchObject({ begun: true, end });
    expect((await stat(join(place.home, '.vmo', 'runs'))).mode & 0o777).toBe(0o700);
  });

  it('shows none of its words on a command line of this machine', async () => {
    const go = newFile('go');
    const { spec } = build(`echo up; ${waitFor(go)}`, { env: { SECRET: 'canary-value' } });
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const lines = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    );
    expect(lines.some((line) => line.includes(spec.jobId))).toBe(true);
    expect(lines.filter((line) => line.includes('canary-value'))).toEqual([]);
    await writeFile(go, '');
    await run.ended;
  });

  it('removes what was left of old runs, and nothing that could be alive', async () => {
    const root = join(place.home, '.vmo', 'runs');
    for (const [name, files] of [
      ['old-ended', ['exit', 'pid']],
      ['old-claimed', []],
      ['old-alive', ['pid']],
    ] as const) {
      await mkdir(join(root, name), { recursive: true });
      for (const file of files) await writeFile(join(root, name, file), '');
      await utimes(join(root, name), 0, 0);
    }
    const run = await place.strategy({ client: place.client }).start(build('true').spec);
    await run.ended;
    await until('the old ones to go', async () => {
      const names = await place.remoteRuns();
      return !names.includes('old-ended') && !names.includes('old-claimed');
    });
    expect(await place.remoteRuns()).toContain('old-alive');
    await rm(join(root, 'old-alive'), { recursive: true });
  });

  it('takes no more of the disk there than what has not come yet, and loses nothing of a link that drops', async () => {
    const [more, go] = [newFile('more'), newFile('go')];
    const part = `yes 'a line of a long log' | head -c 20000000`;
    const { spec, notices } = build(`${part}; ${waitFor(more)}; ${part}; ${waitFor(go)}; echo end`);
    const run = await place.strategy({ client: place.client }).start(spec);
    const there = join(await remoteRun(spec), 'stdout');
    const freed = (size: number) => async () => {
      const found = await stat(there);
      return found.size >= size && found.blocks * 512 < 10_000_000;
    };
    await until('the first part to go', freed(20_000_000));
    place.proxy.cut();
    await untilSaid(notices, 'connected again');
    await writeFile(more, '');
    await until('the second part to go', freed(40_000_000));
    await until('all to be here', () => Promise.resolve(run.unfetched?.() === 0));
    await writeFile(go, '');
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    const half = 'a line of a long log\n'.repeat(1_000_000).slice(0, 20_000_000);
    expect((await readSpool(spec)) === `${half}${half}end\n`).toBe(true);
  });

  it('goes on where the disk there cannot free parts of a file, and that is told once', async () => {
    const programs = newFile('programs');
    await mkdir(programs);
    await writeFile(join(programs, 'fallocate'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    await writeFile(join(place.home, '.bashrc'), `PATH=${programs}:$PATH\n`);
    try {
      const go = newFile('go');
      const flood = 'head -c 17000000 /dev/zero';
      const { spec, notices } = build(`${flood}; ${waitFor(go)}; ${flood}`);
      const strategy = place.strategy({ client: place.client });
      const first = await strategy.start(spec);
      await untilSaid(notices, 'cannot be freed on its disk');
      const here = join(spec.directory, 'stdout');
      await until('all of it', async () => (await stat(here)).size === 17_000_000);
      first.detach();
      const next = await strategy.adopt(spec);
      await writeFile(go, '');
      expect(await next?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
      expect(notices.filter((line) => line.includes('cannot be freed'))).toHaveLength(1);
      expect((await stat(here)).size).toBe(34_000_000);
    } finally {
      await rm(join(place.home, '.bashrc'));
    }
  });

  it('runs beside more others than one connection takes', async () => {
    await using small = await createSshPlace({ settings: ['MaxSessions 2'] });
    const go = newFile('go');
    const strategy = small.strategy({ client: small.client });
    const jobs = await Promise.all(
      ['1', '2', '3', '4'].map(async (word) => {
        const { spec } = build(`echo ${word}; ${waitFor(go)}; echo end`, {}, small);
        return { word, spec, run: await strategy.start(spec) };
      }),
    );
    for (const { word, spec } of jobs) await untilWritten(spec, word);
    await writeFile(go, '');
    for (const { word, spec, run } of jobs) {
      expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
      expect(await readSpool(spec)).toBe(`${word}\nend\n`);
    }
  });
});

describe('a job that cannot be started', () => {
  const refused = async (spec: RunSpec, at = place) => {
    const error: unknown = await at
      .strategy({ client: at.client })
      .start(spec)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StartError);
    return error instanceof StartError ? error.message : '';
  };

  it('says what to do about an untrusted key, a refused login, a host that is not there', async () => {
    await using other = await createSshPlace({ trusted: false });
    expect(await refused(build('true', {}, other).spec, other)).toBe(
      'the key of build is not trusted: open Hosts, test it, compare the fingerprint and trust it',
    );
    expect(await refused(build('true', { host: { ...place.host, user: 'nobody-here' } }).spec)).toMatch(
      /^build refused the login/,
    );
    expect(await refused(build('true', { host: { ...place.host, port: 1 } }).spec)).toMatch(
      /^build cannot be reached .*Connection refused/,
    );
    expect(await other.remoteRuns()).toEqual([]);
  });

  it('needs a host, names of variables, and no NUL', async () => {
    expect(await refused(build('true', { host: null }).spec)).toBe('this job names no host');
    expect(await refused(build('true', { host: { ...place.host, address: '-oX' } }).spec)).toContain(
      'address',
    );
    expect(await refused(build('true', { env: { 'A;id': '' } }).spec)).toContain('no name of a variable');
    expect(await refused(build('true\0').spec)).toContain('NUL');
    const { spec } = build('true');
    await mkdir(spec.directory);
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    await expect(place.strategy().adopt({ ...spec, host: null })).rejects.toThrow(StartError);
    await writeFile(join(spec.directory, 'remote'), '{}');
    await expect(place.strategy().adopt(spec)).rejects.toThrow();
    await rm(join(spec.directory, 'remote'));
    await mkdir(join(spec.directory, 'remote'));
    await expect(place.strategy().adopt(spec)).rejects.toThrow('EISDIR');
  });

  it('needs a home directory that can be written, and a shell', async () => {
    await using homeless = await createSshPlace({ settings: ['SetEnv HOME=/proc/none'] });
    expect(await refused(build('true', { cwd: '/' }, homeless).spec, homeless)).toMatch(
      /^~\/.vmo\/runs cannot be written on build/,
    );
    await using shut = await createSshPlace({ settings: ['ForceCommand echo go away'] });
    expect(await refused(build('true', {}, shut).spec, shut)).toMatch(/^build gave no shell \(go away\)/);
  });

  it('needs a host that answers', async () => {
    await using slow = await createSshPlace({
      settings: ['ForceCommand sleep 3'],
      client: { readyTimeoutMs: 500 },
    });
    expect(await refused(build('true', {}, slow).spec, slow)).toBe('build did not answer within 0.5 s');
    await expect(slow.hosts.runOnHost(slow.host, 'true', { timeoutMs: 500 })).rejects.toThrow(
      'did not answer within 0.5 s',
    );
  });

  it('never begins when the wrapper cannot, and can be started again', async () => {
    await using broken = await createSshPlace();
    const root = join(broken.home, '.vmo', 'runs');
    const first = await broken.strategy({ client: broken.client }).start(build('true', {}, broken).spec);
    await first.ended;
    const wrapper = (await readdir(root)).find((name) => name.startsWith('wrapper-')) ?? '';
    const text = await readFile(join(root, wrapper));
    await writeFile(join(root, wrapper), 'exit 0\n');
    const { spec } = build('echo yes', {}, broken);
    expect(await refused(spec, broken)).toMatch(/^the command could not be begun on build/);
    await writeFile(join(root, wrapper), text);
    const again = await broken.strategy({ client: broken.client }).start(spec);
    expect(await again.ended).toMatchObject({ exitCode: 0 });
  });
});

describe('a link that drops', () => {
  it('loses no byte and doubles none, however often', async () => {
    const { spec, notices } = build(
      'i=0; while [ $i -lt 40 ]; do i=$((i + 1)); head -c 50000 /dev/urandom | tee -a copy; printf e$i >&2; sleep 0.02; done',
    );
    await using cut = await createSshPlace();
    const run = await cut.strategy({ client: cut.client }).start({ ...spec, host: cut.host });
    cut.proxy.limit(700_000);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    cut.proxy.limit(null);
    const stdout = await readFile(join(spec.directory, 'stdout'));
    expect(stdout.equals(await readFile(join(cut.home, 'copy')))).toBe(true);
    expect(await readSpool(spec, 'stderr')).toBe(
      Array.from({ length: 40 }, (_, index) => `e${String(index + 1)}`).join(''),
    );
    const lost = notices.filter((line) =>
      /^connection to build lost: .*; the job goes on there, reconnecting$/.test(line),
    );
    expect(lost.length).toBeGreaterThanOrEqual(2);
    expect(notices.length - lost.length).toBe(lost.length);
    expect(notices.at(-1)).toBe('connected again to build');
  });

  it('is told once, while the job goes on and ends', async () => {
    const go = newFile('go');
    const { spec, notices } = build(`echo one; ${waitFor(go)}; echo two; exit 5`);
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'one');
    const remote = await remoteRun(spec);
    place.proxy.set({ kind: 'refuse' });
    place.proxy.cut();
    await untilSaid(notices, 'lost');
    await writeFile(go, '');
    await until('its end on the host', () => stat(join(remote, 'exit')).catch(() => null));
    expect(await readSpool(spec)).toBe('one\n');
    place.proxy.set({ kind: 'pass' });
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 5 });
    expect(await readSpool(spec)).toBe('one\ntwo\n');
    expect(notices).toHaveLength(2);
  });

  it('in the middle of a start never runs a command twice', async () => {
    // The link ends when the host is told to begin, before it has answered.
    const program = newFile('ssh');
    const cut = newFile('cut');
    await writeFile(cut, '');
    const length = markerOf('0'.repeat(32)).length;
    await writeFile(
      program,
      `#!/bin/sh\nif [ -e ${cut} ]; then rm ${cut}; ssh "$@" | head -c ${String(length)}; exit 255; fi\nexec ssh "$@"\n`,
    );
    await chmod(program, 0o755);
    const ran = newFile('ran');
    const { spec, notices } = build(`echo ran >>${ran}; echo out`);
    const run = await place.strategy({ program }).start(spec);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readFile(ran, 'utf8')).toBe('ran\n');
    expect(await readSpool(spec)).toBe('out\n');
    expect(notices[0]).toMatch(/whether the job began is not known, reconnecting$/);
  });

  it('is tried again until the host is there', async () => {
    const program = newFile('ssh');
    const down = newFile('down');
    const tries = newFile('tries');
    const go = newFile('go');
    await writeFile(
      program,
      `#!/bin/sh\nif [ -e ${down} ]; then echo >>${tries}; exit 255; fi\nexec ssh "$@"\n`,
    );
    await chmod(program, 0o755);
    const { spec, notices } = build(`echo up; ${waitFor(go)}`);
    const run = await place.strategy({ program }).start(spec);
    await untilWritten(spec, 'up');
    await writeFile(down, '');
    place.proxy.cut();
    await until('three tries', async () => (await readFile(tries, 'utf8').catch(() => '')).length >= 3);
    await rm(down);
    await writeFile(go, '');
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(notices).toHaveLength(2);
  });

  it('with a tail that could not be sent is asked for it again', async () => {
    await using place = await createSshPlace();
    const programs = newFile('programs');
    await mkdir(programs);
    // The first time, the other side cannot read what is missing.
    await writeFile(
      join(programs, 'head'),
      `#!/bin/sh\nif mkdir ${programs}/failed; then exit 1; fi\nexec /usr/bin/head "$@"\n`,
    );
    await chmod(join(programs, 'head'), 0o755);
    await writeFile(join(place.home, '.bashrc'), `PATH=${programs}:$PATH\n`);
    const { spec, notices } = build('dd if=/dev/zero bs=1000000 count=60', {}, place);
    const run = await place.strategy({ client: place.client }).start(spec);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect((await stat(join(spec.directory, 'stdout'))).size).toBe(60_000_000);
    expect(notices[0]).toMatch(/bytes of its output are missing/);
  });

  it('that is dead before a start is replaced by a new one', async () => {
    await place.hosts.runOnHost(place.host, 'true');
    place.proxy.cut();
    const run = await place.strategy({ client: place.client }).start(build('true').spec);
    expect(await run.ended).toMatchObject({ exitCode: 0 });
  });
});

describe('after a restart of ours', () => {
  it('a run is found while its host cannot be reached', async () => {
    const go = newFile('go');
    const { spec, notices } = build(`echo one; ${waitFor(go)}; echo two`);
    const first = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'one');
    first.detach();
    place.proxy.set({ kind: 'refuse' });
    place.proxy.cut();
    const second = await place.strategy({ client: place.client }).adopt(spec);
    await untilSaid(notices, 'lost');
    expect(second?.startedAt).toEqual(first.startedAt);
    await writeFile(go, '');
    place.proxy.set({ kind: 'pass' });
    expect(await second?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readSpool(spec)).toBe('one\ntwo\n');
  });

  it('an attempt that had not reached the host goes on', async () => {
    const { spec } = build('echo begun');
    await mkdir(spec.directory);
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    const run = await place.strategy({ client: place.client }).adopt(spec);
    expect(await run?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readSpool(spec)).toBe('begun\n');
  });

  it('a run that nobody watches any longer is left alone', async () => {
    const canary = newFile('canary');
    const { spec } = build(`touch ${canary}`);
    await mkdir(spec.directory);
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    const run = await place.strategy({ client: place.client }).adopt(spec);
    run?.detach();
    const next = await place.strategy({ client: place.client }).adopt(spec);
    expect(await next?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect((await stat(canary)).isFile()).toBe(true);
  });

  it('an attempt whose directory is gone did not begin', async () => {
    const { spec } = build('true', { cwd: '/no/such/directory' });
    await mkdir(spec.directory);
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    const run = await place.strategy({ client: place.client }).adopt(spec);
    const end = { kind: 'not-started', reason: 'the directory /no/such/directory does not exist on build' };
    expect(await run?.ended).toEqual(end);
  });
});

describe('cancel', () => {
  it('waits for a host that cannot be reached, says so, and ends the job then', async () => {
    const { spec, notices } = build('echo up; sleep 300');
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    place.proxy.set({ kind: 'refuse' });
    place.proxy.cut();
    const cancelled = run.cancel(1_000);
    await untilSaid(notices, 'the job cannot be ended yet');
    place.proxy.set({ kind: 'pass' });
    expect((await cancelled)[0]).toMatch(/^SIGTERM sent to process group \d+ on build: .*sleep/);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 143, signal: 'SIGTERM' });
    expect(notices.filter((line) => line.includes('cannot be ended yet'))).toHaveLength(1);
  });

  it('of a run that had not begun makes sure that it never will', async () => {
    const canary = newFile('canary');
    const { spec, notices } = build(`touch ${canary}`);
    await mkdir(spec.directory);
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    place.proxy.set({ kind: 'refuse' });
    await place.client.closeConnection(place.host);
    const run = await place.strategy({ client: place.client }).adopt(spec);
    await untilSaid(notices, 'lost');
    const cancelled = run?.cancel(1_000);
    place.proxy.set({ kind: 'pass' });
    expect(await cancelled).toEqual(['it had not begun, and never will']);
    const end = { kind: 'not-started', reason: 'it was cancelled before it began' };
    expect(await run?.ended).toEqual(end);
    const again = await place.strategy({ client: place.client }).adopt(spec);
    expect(await again?.ended).toEqual(end);
    await expect(stat(canary)).rejects.toThrow('ENOENT');
  });

  it('of a run that may have begun ends it when it had', async () => {
    const { spec, notices } = build('echo up; sleep 300');
    const first = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    first.detach();
    const attempt = await readAttempt(spec.directory);
    if (!attempt) throw new Error('no attempt');
    await writeAttempt(spec.directory, { ...attempt, begun: false });
    place.proxy.set({ kind: 'refuse' });
    place.proxy.cut();
    const second = await place.strategy({ client: place.client }).adopt(spec);
    await untilSaid(notices, 'whether the job began is not known');
    const cancelled = second?.cancel(5_000);
    place.proxy.set({ kind: 'pass' });
    expect((await cancelled)?.[0]).toContain('SIGTERM sent');
    expect(await second?.ended).toMatchObject({ kind: 'exited', signal: 'SIGTERM' });
  });

  it('is given up when the command has ended meanwhile', async () => {
    const program = newFile('ssh');
    const tries = newFile('tries');
    const go = newFile('go');
    await writeFile(
      program,
      `#!/bin/sh\ncase "$*" in *vmo-cancel*) echo >>${tries}; exit 255 ;; esac\nexec ssh "$@"\n`,
    );
    await chmod(program, 0o755);
    const { spec, notices } = build(`echo up; ${waitFor(go)}`);
    const run = await place.strategy({ program }).start(spec);
    await untilWritten(spec, 'up');
    const cancelled = run.cancel(100);
    await until('two tries', async () => (await readFile(tries, 'utf8').catch(() => '')).length >= 2);
    await writeFile(go, '');
    expect(await cancelled).toEqual([]);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(notices).toHaveLength(1);
  });

  it('ends when nobody watches any more', async () => {
    const { spec, notices } = build('echo up; sleep 300');
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    place.proxy.set({ kind: 'refuse' });
    place.proxy.cut();
    const cancelled = run.cancel(0);
    await untilSaid(notices, 'cannot be ended yet');
    run.detach();
    expect(await cancelled).toEqual([]);
    place.proxy.set({ kind: 'pass' });
    const next = await place.strategy({ client: place.client }).adopt(spec);
    await next?.cancel(0);
    expect(await next?.ended).toMatchObject({ kind: 'exited' });
  });
});

describe('a run is lost', () => {
  async function start(command = 'echo up; sleep 300') {
    const { spec, notices } = build(command);
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    return { spec, notices, run, remote: await remoteRun(spec) };
  }
  const pidOf = async (remote: string) =>
    Number(/^pid=(\d+)$/m.exec(await readFile(join(remote, 'pid'), 'utf8'))?.[1]);

  it('when its wrapper dies without a record: what was left of it is killed', async () => {
    const { run, remote } = await start();
    process.kill(await pidOf(remote), 'SIGKILL');
    const end = await run.ended;
    if (end.kind !== 'lost') throw new Error(end.kind);
    expect(end.reason).toMatch(
      /^its wrapper on build vanished without an exit record; SIGKILL: .*sleep \(\d+\)/,
    );
  });

  it('when the host was restarted: no process of another boot is taken for its own', async () => {
    const { spec, run, remote } = await start();
    run.detach();
    const pid = await pidOf(remote);
    const identity = await readFile(join(remote, 'pid'), 'utf8');
    await writeFile(join(remote, 'pid'), identity.replace(/^boot=.*$/m, 'boot=another'));
    const next = await place.strategy({ client: place.client }).adopt(spec);
    expect(await next?.ended).toMatchObject({
      kind: 'lost',
      reason: expect.stringMatching(/^build was restarted while it ran/) as string,
    });
    // Its mark, which would not have outlived a restart, was found all the same.
    await until('the end of the wrapper', () =>
      stat(`/proc/${String(pid)}`).then(
        () => false,
        () => true,
      ),
    );
  });

  it('when its run directory was removed, while somebody watched or later', async () => {
    const { spec, run, remote } = await start();
    run.detach();
    const before = await readFile(join(remote, 'follower'), 'utf8');
    const watching = await place.strategy({ client: place.client }).adopt(spec);
    await until('the follower', async () => {
      const now = await readFile(join(remote, 'follower'), 'utf8');
      return now !== before && now.endsWith('\n');
    });
    await rm(remote, { recursive: true });
    expect(await watching?.ended).toMatchObject({
      kind: 'lost',
      reason: expect.stringMatching(/^its run directory on build (was removed|is gone)/) as string,
    });
    await writeAttempt(spec.directory, { ...newAttempt(spec.jobId), begun: true });
    const later = await place.strategy({ client: place.client }).adopt(spec);
    expect(await later?.ended).toEqual({ kind: 'lost', reason: 'its run directory on build is gone' });
  });

  it.each([
    ['nonsense\n', { kind: 'lost', reason: 'its exit record cannot be read: "nonsense"' }],
    ['error=directory\n', { kind: 'not-started', reason: 'the directory ~ cannot be entered on build' }],
  ])('or never began, as its record %j says', async (record, end) => {
    const { spec, run, remote } = await start();
    run.detach();
    const pid = await pidOf(remote);
    await writeFile(join(remote, 'exit'), record);
    const next = await place.strategy({ client: place.client }).adopt(spec);
    expect(await next?.ended).toEqual(end);
    process.kill(-pid, 'SIGKILL');
  });
});

describe('trouble on this machine', () => {
  it('with the log or the record of the end is told, and made up for', async () => {
    const go = newFile('go');
    const { spec, notices } = build(`echo up; ${waitFor(go)}; echo end`);
    const run = await place.strategy({ client: place.client }).start(spec);
    await untilWritten(spec, 'up');
    const inTheWay = join(spec.directory, 'remote.tmp');
    await mkdir(inTheWay);
    await writeFile(go, '');
    await untilSaid(notices, 'the end of the job cannot be written here');
    await rmdir(inTheWay);
    expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readSpool(spec)).toBe('up\nend\n');
  });

  it('with the mirror stops the link, not the job', async () => {
    const { spec, notices } = build('echo up');
    await mkdir(join(spec.directory, 'stdout'), { recursive: true });
    await writeAttempt(spec.directory, newAttempt(spec.jobId));
    const run = await place.strategy({ client: place.client }).adopt(spec);
    await untilSaid(notices, 'EISDIR');
    await mkdir(join(spec.directory, 'remote.tmp'));
    await rmdir(join(spec.directory, 'stdout'));
    await until('its output', async () => (await readSpool(spec).catch(() => '')) === 'up\n');
    await rmdir(join(spec.directory, 'remote.tmp'));
    expect(await run?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(await readSpool(spec)).toBe('up\n');
  });

  it('without the OpenSSH client nothing starts', async () => {
    const program = '/no/such/ssh';
    await expect(place.strategy({ program }).start(build('true').spec)).rejects.toThrow('cannot be run');
  });
});
