import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import headless from '@xterm/headless';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { createProcessTable } from '../process.ts';
import { claimBeginning } from '../run-directory.ts';
import { StartError, type RunSpec } from '../run.ts';
import { buildSpec, lives, readSpool } from '../testing.ts';
import { connectToHost } from './client.ts';
import { prepareSocketPath } from './paths.ts';
import { ListAnswer } from './protocol.ts';
import { createTerminalSpawnStrategy, type TerminalStrategy } from './strategy.ts';
import { stateOf, write } from './testing.ts';

const table = createProcessTable();
const hostPids = new Set<number>();
let directory: TemporaryDirectory;
let hostDirectory: string;
let strategy: TerminalStrategy;

function createStrategy(termCmd = '', hosts = hostDirectory): TerminalStrategy {
  return createTerminalSpawnStrategy({
    table,
    cgroups: null,
    hostDirectory: hosts,
    termCmd,
    environment: { PATH: process.env.PATH ?? '', LEFT: directory.path },
  });
}

async function connect(hosts = hostDirectory) {
  const client = await connectToHost(await prepareSocketPath(hosts), () => undefined);
  hostPids.add(client.hostPid);
  return client;
}

const terminalSpec = (command: string, change: Partial<RunSpec> = {}): RunSpec =>
  buildSpec(directory.path, command, change);

const untilShown = (spec: RunSpec, words: string | RegExp): Promise<string> =>
  until(`${String(words)} in the spool`, async () => {
    const text = await readSpool(spec).catch(() => '');
    return (typeof words === 'string' ? text.includes(words) : words.test(text)) ? text : null;
  });

/** The command's text contains what it prints only in pieces, so that an echo is not mistaken for it. */
const type = (spec: RunSpec, data: string) => strategy.access.input(spec.jobId, data);

beforeAll(async () => {
  directory = await temporaryDirectory();
  hostDirectory = join(directory.path, 'terminals');
  strategy = createStrategy();
});

afterAll(async () => {
  strategy.close();
  for (const pid of hostPids) if (await lives(table, pid)) process.kill(pid, 'SIGTERM');
  for (const pid of hostPids) await until('the end of the host', async () => !(await lives(table, pid)));
  await directory[Symbol.asyncDispose]();
});

test('the output of a command is in the spool byte by byte, with its exit code', async () => {
  const spec = terminalSpec("printf 'a\\n\\377\\000\\033[1mb 一'; exit 3");
  const run = await strategy.start(spec);
  await connect().then((client) => {
    client.close();
  });
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 3, signal: null, leftovers: [] });
  const bytes = await readFile(join(spec.directory, 'stdout'));
  expect(bytes).toEqual(Buffer.from('a\r\n\xff\0\x1b[1mb \xe4\xb8\x80', 'latin1'));
  expect((await stat(join(spec.directory, 'stderr'))).size).toBe(0);
  expect((await stat(join(spec.directory, 'stdout'))).mode & 0o777).toBe(0o600);
});

test('a command has a terminal, its size, the environment and the mark of the job', async () => {
  const spec = terminalSpec('tty; stty size; echo "$TERM $COLORTERM $GREETING $VMO_JOB_ID"; pwd; stty -a', {
    cols: 101,
    rows: 33,
    cwd: '/usr',
    env: { PATH: process.env.PATH ?? '', GREETING: 'hi' },
  });
  const run = await strategy.start(spec);
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  const text = await readSpool(spec);
  expect(text).toMatch(/^\/dev\/(pts\/|tty)/);
  expect(text).toContain('33 101\r\n');
  expect(text).toContain(`xterm-256color truecolor hi ${spec.jobId}\r\n/usr\r\n`);
  expect(text).toMatch(/(^|\s)iutf8/);
});

test('what is typed reaches the program, and Ctrl-C interrupts it', async () => {
  const spec = terminalSpec('read name; echo "<$name>"; sleep 1000; echo never');
  const run = await strategy.start(spec);
  await type(spec, 'Grüße\r');
  await untilShown(spec, '<Grüße>');
  await type(spec, '\x03');
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 130, signal: 'SIGINT' });
  expect(await readSpool(spec)).not.toContain('never');
});

test('a program learns of a new size', async () => {
  const spec = terminalSpec("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done");
  const run = await strategy.start(spec);
  await untilShown(spec, 'ready');
  await strategy.access.resize(spec.jobId, 132, 50);
  await run.ended;
  expect(await readSpool(spec)).toContain('50 132');
});

test('a megabyte that is pasted arrives exactly', async () => {
  const target = join(directory.path, 'pasted');
  const pasted = randomBytes(512 * 1024).toString('hex');
  const spec = terminalSpec(
    `stty raw -echo; echo ready; head -c ${String(pasted.length)} >'${target}'; echo done`,
  );
  const run = await strategy.start(spec);
  await untilShown(spec, 'ready');
  for (let at = 0; at < pasted.length; at += 16_384) await type(spec, pasted.slice(at, at + 16_384));
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect((await readFile(target, 'utf8')) === pasted).toBe(true);
});

test('input that a program does not read is refused when it is too much, and costs no time', async () => {
  const spec = terminalSpec('stty raw -echo; echo ready; exec sleep 1000');
  const run = await strategy.start(spec);
  await untilShown(spec, 'ready');
  const large = 'x'.repeat(1024 * 1024);
  const paste = async () => {
    for (let count = 0; count < 12; count++) await type(spec, large);
  };
  await expect(paste()).rejects.toMatchObject({ code: 'INPUT_NOT_READ' });
  await run.cancel(1_000);
  expect(await run.ended).toMatchObject({ kind: 'exited', signal: 'SIGHUP', exitCode: 129 });
});

test('a flood of output is stored whole, and the host stays small', async () => {
  await (
    await strategy.start(terminalSpec('true'))
  ).ended;
  const client = await connect();
  const memory = async () => {
    const status = await readFile(`/proc/${String(client.hostPid)}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  };
  const before = await memory();
  const bytes = 100 * 1024 * 1024;
  const spec = terminalSpec(`stty -opost; yes 0123456789abcdef | head -c ${String(bytes)}`);
  const run = await strategy.start(spec);
  let most = 0;
  let over = false;
  const ended = run.ended.finally(() => (over = true));
  await until(
    'the end',
    async () => {
      most = Math.max(most, await memory());
      return over;
    },
    { timeoutMs: 120_000, everyMs: 100 },
  );
  expect(await ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect((await stat(join(spec.directory, 'stdout'))).size).toBe(bytes);
  expect(most - before).toBeLessThan(150);
  client.close();
}, 150_000);

/** What a browser's terminal shows that was given the whole log. */
async function replayedSpool(spec: RunSpec, end: number, cols = 80, rows = 24) {
  const terminal = new headless.Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true });
  await write(terminal, (await readFile(join(spec.directory, 'stdout'))).subarray(0, end).toString('utf8'));
  return terminal;
}

async function drawnScreen(spec: RunSpec) {
  const screen = await strategy.access.screen(spec.jobId);
  if (!screen) throw new Error('the terminal is not live');
  const { cols, rows } = screen;
  const terminal = new headless.Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true });
  await write(terminal, screen.data);
  return { terminal, screen };
}

const untilDrawn = (spec: RunSpec, words: string) =>
  until(`"${words}" on the screen`, async () => {
    const { active } = (await drawnScreen(spec)).terminal.buffer;
    const lines = Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString());
    return lines.some((line) => line?.includes(words));
  });

test('the screen of vi is what the whole log shows, and what follows fits on', async () => {
  const file = join(directory.path, 'text.txt');
  await writeFile(
    file,
    Array.from({ length: 200 }, (_, line) => `line ${String(line)} — größe 一二`).join('\n'),
  );
  const spec = terminalSpec(`echo before; vi -n '${file}'; echo after`, {
    env: { PATH: process.env.PATH ?? '', LANG: 'C.UTF-8', HOME: directory.path },
  });
  const run = await strategy.start(spec);
  await untilDrawn(spec, 'line 20');
  await type(spec, '40G');
  await untilDrawn(spec, 'line 39');
  await type(spec, 'onew line here\x1b');
  await untilDrawn(spec, 'new line here');
  const { terminal, screen } = await drawnScreen(spec);
  expect(terminal.buffer.active.type).toBe('alternate');
  expect(stateOf(terminal)).toEqual(stateOf(await replayedSpool(spec, screen.offset)));
  await type(spec, ':q!\r');
  await run.ended;
  const rest = (await readFile(join(spec.directory, 'stdout'))).subarray(screen.offset).toString('utf8');
  await write(terminal, rest);
  expect(terminal.buffer.active.type).toBe('normal');
  const whole = await replayedSpool(spec, Infinity);
  expect(stateOf(terminal)).toEqual(stateOf(whole));
  expect(await strategy.access.screen(spec.jobId)).toBeNull();
});

test('the screen of a shell session with scrollback is what the whole log shows', async () => {
  const spec = terminalSpec("PS1='$ ' exec sh -i");
  const run = await strategy.start(spec);
  await type(spec, 'seq 1 1500; printf "\\033[1;32mgreen\\033[0m "; echo fin""ished\r');
  await untilShown(spec, 'finished\r\n$ ');
  const { terminal, screen } = await drawnScreen(spec);
  expect(stateOf(terminal)).toEqual(stateOf(await replayedSpool(spec, screen.offset)));
  await type(spec, 'exit 4\r');
  expect(await run.ended).toMatchObject({ exitCode: 4 });
});

test('queries are answered by the host only while nobody is in control', async () => {
  const ask = `stty raw -echo min 0 time 20; printf '\\033[6n'; dd bs=1 count=6 2>/dev/null | od -An -c`;
  const free = terminalSpec(ask);
  await (
    await strategy.start(free)
  ).ended;
  expect(await readSpool(free)).toContain('033   [   1   ;   1   R');

  const controlled = terminalSpec(`read start; ${ask}; echo; echo asked`);
  const run = await strategy.start(controlled);
  await strategy.access.control(controlled.jobId, true);
  await type(controlled, '\r');
  await run.ended;
  expect(await readSpool(controlled)).not.toContain('033   [   1');

  const released = terminalSpec(`read start; ${ask}`);
  const again = await strategy.start(released);
  await strategy.access.control(released.jobId, true);
  await strategy.access.control(released.jobId, false);
  await type(released, '\r');
  await again.ended;
  expect(await readSpool(released)).toContain('033   [   2');
});

test('a terminal outlives its agent and is adopted by the next, which sees how it ends', async () => {
  const spec = terminalSpec('read line; echo "got $line"; exit 5');
  const first = createStrategy();
  const run = await first.start(spec);
  run.detach();
  first.close();

  const second = createStrategy();
  const adopted = await second.adopt(spec);
  expect((await second.access.screen(spec.jobId))?.cols).toBe(80);
  await second.access.input(spec.jobId, 'again\r');
  expect(await adopted?.ended).toMatchObject({ kind: 'exited', exitCode: 5, signal: null });
  expect(await readSpool(spec)).toContain('got again');

  const third = await second.adopt(spec);
  expect(await third?.ended).toMatchObject({ kind: 'exited', exitCode: 5 });
  second.close();
  await expect(second.access.input(spec.jobId, 'x')).rejects.toMatchObject({ code: 'JOB_NOT_RUNNING' });
});

test('a run that was given up never begins, and one that began is not begun again', async () => {
  const spec = terminalSpec('echo begun');
  expect(await strategy.adopt(spec)).toBeNull();
  await expect(strategy.start(spec)).rejects.toThrow(StartError);
  const other = terminalSpec('sleep 1000');
  const run = await strategy.start(other);
  await expect(strategy.start(other)).rejects.toThrow(/already/);
  await run.cancel(500);
  await run.ended;
});

test('what cannot be started says why', async () => {
  const missing = terminalSpec('true', { cwd: join(directory.path, 'nowhere') });
  await expect(strategy.start(missing)).rejects.toThrow(/nowhere does not exist/);
  const file = join(directory.path, 'a-file');
  await writeFile(file, '');
  await expect(strategy.start(terminalSpec('true', { cwd: file }))).rejects.toThrow(/is not a directory/);
  const huge = terminalSpec('true', { env: { HUGE: 'x'.repeat(9 * 1024 * 1024) } });
  await expect(strategy.start(huge)).rejects.toThrow(/larger than/);
  expect(await claimBeginning(huge.directory)).toBe(true);
});

test('cancel ends shells by SIGHUP, everything else by SIGTERM, and the deaf by SIGKILL, also outside the session', async () => {
  const spec = terminalSpec(
    `setsid sh -c 'trap "" HUP TERM; echo $$ >away.pid; while :; do sleep 0.1; done' & ` +
      `trap 'echo hup' HUP; (trap "" HUP; trap "echo term; exit" TERM; echo ready; while :; do sleep 0.1; done)`,
    { cwd: directory.path },
  );
  const run = await strategy.start(spec);
  await untilShown(spec, 'ready');
  const away = await until(
    'the pid',
    // The shell makes the file before it writes into it.
    async () => Number(await readFile(join(directory.path, 'away.pid'), 'utf8').catch(() => '')) || null,
  );
  const lines = await run.cancel(1_000);
  expect(lines[0]).toMatch(/^SIGHUP sent to process group \d+: .*sh \(/);
  expect(lines[1]).toMatch(/^SIGTERM sent/);
  expect(lines[2]).toMatch(new RegExp(`^SIGKILL after 1 s: .*sh \\(${String(away)}\\)`));
  expect(await lives(table, away)).toBe(false);
  expect(await run.ended).toMatchObject({ kind: 'exited' });
  expect(await run.cancel(1_000)).toEqual(lines);
});

test('an interactive shell, which ignores SIGTERM, ends orderly on cancel', async () => {
  const spec = terminalSpec('exec bash --norc -i', {
    env: { PATH: process.env.PATH ?? '', PS1: 'prompt> ' },
  });
  const run = await strategy.start(spec);
  await untilShown(spec, 'prompt> ');
  await type(spec, 'sleep 1000 & sleep 1000\r');
  const lines = await run.cancel(8_000);
  expect(lines).toHaveLength(1);
  expect(await run.ended).toMatchObject({ kind: 'exited', signal: 'SIGHUP', leftovers: [] });
});

test('what a command leaves behind is named, and its output before the end is kept', async () => {
  const spec = terminalSpec(
    'mkfifo fifo; (trap "" HUP; echo >fifo; exec sleep 1000) & read armed <fifo; echo left $!',
    { cwd: directory.path },
  );
  const run = await strategy.start(spec);
  const end = await run.ended;
  const pid = Number(/left (\d+)/.exec(await readSpool(spec))?.[1]);
  expect(end).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect(end.kind === 'exited' && end.leftovers.join()).toContain(`(${String(pid)})`);
  process.kill(pid, 'SIGKILL');
});

test('a program that closes its files goes on', async () => {
  const spec = terminalSpec('exec </dev/null >/dev/null 2>&1; sleep 0.3; echo back >/dev/tty; exit 6');
  const run = await strategy.start(spec);
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 6, signal: null });
  expect(await readSpool(spec)).toBe('back\r\n');
});

test('twenty terminals at once keep their output apart', async () => {
  const specs = Array.from({ length: 20 }, (_, index) =>
    terminalSpec(`read go; seq 1 500; echo "end ${String(index)}"`),
  );
  const runs = await Promise.all(specs.map((spec) => strategy.start(spec)));
  const client = await connect();
  const { terminals } = ListAnswer.parse(await client.request({ request: 'list' }));
  client.close();
  expect(specs.every((spec) => terminals.some((terminal) => terminal.jobId === spec.jobId))).toBe(true);
  await Promise.all(specs.map((spec) => type(spec, '\r')));
  await Promise.all(runs.map((run) => run.ended));
  const numbers = Array.from({ length: 500 }, (_, index) => `${String(index + 1)}\r\n`).join('');
  for (const [index, spec] of specs.entries())
    expect(await readSpool(spec)).toBe(`\r\n${numbers}end ${String(index)}\r\n`);
}, 90_000);

test('a host that is killed loses its terminals: they are lost, their processes die, and the next one gets a new host', async () => {
  const hosts = join(directory.path, 'killed-host');
  const own = createStrategy('', hosts);
  const spec = terminalSpec(`(trap "" HUP TERM; exec sleep 1000) & echo $!; exec sleep 1000`);
  const run = await own.start(spec);
  const deaf = Number(/(\d+)/.exec(await untilShown(spec, /\d+\r\n/))?.[1]);
  const { hostPid } = await connect(hosts);
  process.kill(hostPid, 'SIGKILL');
  const end = await run.ended;
  expect(end).toMatchObject({ kind: 'lost' });
  expect(end.kind === 'lost' && end.reason).toMatch(/the terminal host vanished.*SIGKILL.*sleep/);
  expect(await lives(table, deaf)).toBe(false);
  expect(await own.access.screen(spec.jobId)).toBeNull();
  await expect(own.access.resize(spec.jobId, 10, 10)).rejects.toMatchObject({ code: 'JOB_NOT_RUNNING' });

  const next = terminalSpec('echo new');
  expect(await (await own.start(next)).ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  const client = await connect(hosts);
  expect(client.hostPid).not.toBe(hostPid);
  client.close();

  const adopted = await own.adopt(spec);
  expect(await adopted?.ended).toMatchObject({ kind: 'lost' });
  own.close();
}, 60_000);

test('agents that start at the same time share one host', async () => {
  const hosts = join(directory.path, 'shared-host');
  const strategies = Array.from({ length: 4 }, () => createStrategy('', hosts));
  const specs = strategies.map(() => terminalSpec('sleep 1000'));
  const runs = await Promise.all(
    strategies.map((each, index) => each.start(specs[index] ?? terminalSpec(''))),
  );
  const client = await connect(hosts);
  const { terminals } = ListAnswer.parse(await client.request({ request: 'list' }));
  expect(terminals).toHaveLength(4);
  client.close();
  await Promise.all(runs.map((run) => run.cancel(1_000)));
  await Promise.all(runs.map((run) => run.ended));
  for (const each of strategies) each.close();
}, 60_000);

test('a stopped host hangs up its terminals, and their records say so', async () => {
  const hosts = join(directory.path, 'stopped-host');
  const own = createStrategy('', hosts);
  const run = await own.start(terminalSpec('sleep 1000'));
  const { hostPid } = await connect(hosts);
  process.kill(hostPid, 'SIGTERM');
  expect(await run.ended).toMatchObject({ kind: 'exited', signal: 'SIGHUP' });
  await until('the end of the host', async () => !(await lives(table, hostPid)));
  own.close();
});

test('an exit record that makes no sense, or none at all, is a lost run', async () => {
  const garbage = terminalSpec('true');
  await claimBeginning(garbage.directory);
  await writeFile(join(garbage.directory, 'exit'), 'what?');
  expect(await (await strategy.adopt(garbage))?.ended).toMatchObject({
    kind: 'lost',
    reason: expect.stringContaining('what?') as string,
  });
  // Only the wrapper of other jobs writes this one.
  const foreign = terminalSpec('true');
  await claimBeginning(foreign.directory);
  await writeFile(join(foreign.directory, 'exit'), 'error=directory\n');
  expect(await (await strategy.adopt(foreign))?.ended).toMatchObject({
    kind: 'lost',
    reason: expect.stringContaining('no-directory') as string,
  });
  const unusable = terminalSpec('true');
  await claimBeginning(unusable.directory);
  await mkdir(join(unusable.directory, 'exit'));
  expect(await (await strategy.adopt(unusable))?.ended).toMatchObject({
    kind: 'lost',
    reason: expect.stringContaining('cannot be read') as string,
  });
  const removed = terminalSpec('read line');
  const run = await strategy.start(removed);
  await rm(removed.directory, { recursive: true });
  await type(removed, 'x\r');
  expect(await run.ended).toMatchObject({
    kind: 'lost',
    reason: expect.stringContaining('no exit record') as string,
  });
});

test('a terminal opens in the emulator that is set, and errors name the setting', async () => {
  const spec = terminalSpec('sleep 1000');
  const run = await strategy.start(spec);
  const seen = join(directory.path, 'seen args');
  const emulator = join(directory.path, 'emulator');
  await writeFile(emulator, '#!/bin/sh\nprintf "%s\\n" "$@" >"$LEFT/seen args"\n', { mode: 0o700 });
  const opener = createStrategy(`'${emulator}' -e`);
  await opener.access.openExternally(spec.jobId);
  const args = (await readFile(seen, 'utf8')).split('\n');
  expect(args).toEqual([
    '-e',
    process.execPath,
    expect.stringMatching(/attach-main\.ts$/),
    await prepareSocketPath(hostDirectory),
    spec.jobId,
    '',
  ]);
  await expect(opener.access.openExternally(randomUUID())).rejects.toMatchObject({ code: 'JOB_NOT_RUNNING' });
  opener.close();
  for (const [termCmd, words] of [
    ['no-such-emulator -e', /VMO_TERM_CMD, no-such-emulator, was not found/],
    ['false', /ended at once with exit code 1/],
    [directory.path, /could not be started/],
    ['', /set VMO_TERM_CMD/],
    ['xterm "-e', /cannot be understood/],
  ] as const) {
    const failing = createStrategy(termCmd);
    await expect(failing.access.openExternally(spec.jobId)).rejects.toMatchObject({
      code: 'NO_EXTERNAL_TERMINAL',
      message: expect.stringMatching(words) as string,
    });
    failing.close();
  }
  await run.cancel(1_000);
  await run.ended;
});
