import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { access, mkdir, readFile, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from 'vitest';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { isAlive, createProcessTable } from '../process.ts';
import { claimBeginning, readExitRecord, readIdentity } from '../run-directory.ts';
import { buildSpec } from '../testing.ts';
import { connectToHost, HostGoneError, type HostClient } from './client.ts';
import { highWaterBytes, lowWaterBytes } from './hosted-terminal.ts';
import { startTerminalHost, type TerminalHost } from './host.ts';
import { createHostLink } from './link.ts';
import { takeLock } from './lock.ts';
import { maxSocketPathBytes, prepareSocketPath } from './paths.ts';
import {
  createLineReader,
  ListAnswer,
  maxAnswerBytes,
  maxRequestBytes,
  ScreenAnswer,
  StartAnswer,
  type StartRequest,
} from './protocol.ts';
import { Pty, type PtyEnd } from './pty.ts';
import { readHostIdentity } from './records.ts';
import { SpoolWriter } from './spool-writer.ts';
import { createTerminalSpawnStrategy } from './strategy.ts';

/** The host in this process: its parts, its protocol, and what it does with requests that make no sense. */
const table = createProcessTable();
let directory: TemporaryDirectory;
let socketPath: string;
let host: TerminalHost;
let client: HostClient;
const ended: string[] = [];
const logged: string[] = [];
const log = (words: string) => void logged.push(words);

beforeAll(async () => {
  directory = await temporaryDirectory();
});
afterAll(async () => {
  await directory[Symbol.asyncDispose]();
});

beforeEach(async () => {
  ended.length = 0;
  logged.length = 0;
  socketPath = await prepareSocketPath(join(directory.path, 'host'));
  const started = await startTerminalHost({ socketPath, table, log });
  if (!started) throw new Error('the socket is taken');
  host = started;
  client = await connectToHost(socketPath, (jobId) => ended.push(jobId));
});
afterEach(async () => {
  client.close();
  await host.stop();
});

function startRequest(command: string, change: Partial<StartRequest> = {}): StartRequest {
  const spec = buildSpec(directory.path, command);
  return {
    request: 'start',
    jobId: spec.jobId,
    directory: spec.directory,
    command,
    cwd: '/',
    env: { ...spec.env },
    cols: 80,
    rows: 24,
    cgroup: null,
    ...change,
  };
}

const untilEnded = (jobId: string) => until(`the end of ${jobId}`, () => ended.includes(jobId));
const output = ({ directory: run }: StartRequest) => readFile(join(run, 'stdout'), 'utf8');

/** Sends bytes as they are and collects what comes back until the connection ends, or `enough` of it has come. */
async function talk(bytes: string | Buffer, enough: (answer: string) => boolean): Promise<string> {
  const socket = createConnection(socketPath);
  let text = '';
  socket.on('data', (data) => (text += data.toString()));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await until('an answer', () => enough(text) || socket.closed);
  socket.destroy();
  return text;
}

test('a run directory holds the records of host and command while it runs, and how it ended after', async () => {
  const request = startRequest('read line; exit 7');
  const { pid, startedAt } = StartAnswer.parse(await client.request(request));
  const identity = await readIdentity(request.directory);
  expect(identity?.pid).toBe(pid);
  expect(identity && (await isAlive(table, identity))).toBe(true);
  const hostIdentity = await readHostIdentity(request.directory);
  expect(hostIdentity?.pid).toBe(process.pid);
  expect(hostIdentity && (await isAlive(table, hostIdentity))).toBe(true);
  expect(await readExitRecord(request.directory)).toBeNull();
  await client.request({ request: 'input', jobId: request.jobId, data: '\r' });
  await untilEnded(request.jobId);
  const record = await readExitRecord(request.directory);
  expect(record).toMatchObject({ kind: 'exited', exitCode: 7, signal: null });
  if (record?.kind !== 'exited') throw new Error('no record');
  expect(Math.abs(record.startedAt.getTime() - Date.parse(startedAt))).toBeLessThan(5);
  expect(record.finishedAt.getTime()).toBeGreaterThanOrEqual(record.startedAt.getTime());
});

test('the socket is closed to others, and belongs to one host', async () => {
  expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
  expect((await stat(join(directory.path, 'host'))).mode & 0o777).toBe(0o700);
  expect(await startTerminalHost({ socketPath, table, log })).toBeNull();
});

test('a host that nobody needs ends by itself, and leaves no socket', async () => {
  const path = await prepareSocketPath(join(directory.path, 'idle'));
  const idle = await startTerminalHost({ socketPath: path, table, log, idleMs: 50 });
  const visitor = await connectToHost(path, () => undefined);
  const request = startRequest('sleep 0.3');
  await visitor.request(request);
  visitor.close();
  await idle?.closed;
  await idle?.stop();
  expect(await readExitRecord(request.directory)).toMatchObject({ kind: 'exited', exitCode: 0 });
  await expect(access(path)).rejects.toThrow(/ENOENT/);
  await expect(connectToHost(path, () => undefined)).rejects.toThrow(HostGoneError);
  const next = await startTerminalHost({ socketPath: path, table, log });
  await next?.stop();
  await next?.stop();
});

test('requests that make no sense are refused, and the host goes on', async () => {
  const running = startRequest('read line');
  await client.request(running);
  const invalid = (text: string) => text.includes('"code":"invalid"');
  for (const garbage of [
    'garbage\n',
    '\n',
    '[]\n',
    '{"id":-1}\n',
    '{"id":1,"request":"explode"}\n',
    '{"id":2,"request":"resize","jobId":"x","cols":-5,"rows":1e9}\n',
    '{"id":3,"request":"input","jobId":"x","data":"y","more":1}\n',
    `{"id":4,"request":"start","jobId":"x","directory":"relative"}\n`,
    Buffer.concat([Buffer.from([0xff, 0xfe, 0, 10])]),
  ]) {
    expect(await talk(garbage, invalid)).toMatch(/"ok":false,"code":"invalid"/);
  }
  await talk('{"id":5,"request":"li', (text) => text.includes('hello'));
  const flood = await talk(Buffer.alloc(maxRequestBytes + 10, 'x'), () => false);
  expect(flood).toContain('a request may have');
  const longLine = await talk(
    Buffer.concat([Buffer.alloc(maxRequestBytes + 10, 'x'), Buffer.from('\n')]),
    () => false,
  );
  expect(longLine).toContain('a request may have');
  const unknown = { request: 'screen', jobId: 'nobody' } as const;
  await expect(client.request(unknown)).rejects.toMatchObject({ code: 'unknown' });
  expect(ListAnswer.parse(await client.request({ request: 'list' })).terminals).toHaveLength(1);
});

test('a start that fails says so, and its beginning is spent', async () => {
  const blocked = startRequest('true');
  await mkdir(blocked.directory, { recursive: true });
  await mkdir(join(blocked.directory, 'host'));
  await expect(client.request(blocked)).rejects.toMatchObject({ code: 'internal' });
  await expect(client.request(blocked)).rejects.toMatchObject({ code: 'begun' });
  expect(logged.join()).toContain('EEXIST');
  const twice = startRequest('read line');
  const results = await Promise.allSettled([client.request(twice), client.request(twice)]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const tooLarge = startRequest('true', { env: { HUGE: 'x'.repeat(3 * 1024 * 1024) } });
  await client.request(tooLarge);
  await untilEnded(tooLarge.jobId);
  expect(await output(tooLarge)).toContain('Argument list too long');
  expect(await readExitRecord(tooLarge.directory)).toMatchObject({ kind: 'exited', exitCode: 1 });
});

test('a closed directory is not entered', async () => {
  const missing = startRequest('true', { cwd: '/no/such/place' });
  await expect(client.request(missing)).rejects.toMatchObject({ code: 'directory' });
  const loop = join(directory.path, 'loop');
  await symlink(loop, loop);
  await expect(client.request(startRequest('true', { cwd: loop }))).rejects.toThrow(/cannot be entered/);
  const file = startRequest('true', { cwd: '/etc/hostname' });
  await expect(client.request(file)).rejects.toMatchObject({ code: 'directory' });
});

test('a command joins its control group before it begins, and begins also where it cannot', async () => {
  const group = join(directory.path, 'group');
  await mkdir(group, { recursive: true });
  const request = startRequest('echo "$0 in"; exit 2', { cgroup: group });
  await client.request(request);
  await untilEnded(request.jobId);
  expect(await readFile(join(group, 'cgroup.procs'), 'utf8')).toBe('0\n');
  expect(await output(request)).toMatch(/sh in\r\n$/);
  const away = startRequest('echo in', { cgroup: join(directory.path, 'no-group') });
  await client.request(away);
  await untilEnded(away.jobId);
  expect(await output(away)).toBe('in\r\n');
});

test('a signal that ends the command is in its record', async () => {
  const request = startRequest('kill -TERM $$');
  await client.request(request);
  await untilEnded(request.jobId);
  expect(await readFile(join(request.directory, 'exit'), 'utf8')).toMatch(
    /^code=143\nstarted=\d+\.\d{3}\nended=\d+\.\d{3}\nsignal=SIGTERM\n$/,
  );
});

test('a flood goes through the watermarks, and is whole', async () => {
  expect(lowWaterBytes).toBeLessThan(highWaterBytes);
  const request = startRequest('stty -opost; yes 0123456 | head -c 3000000; printf end');
  await client.request(request);
  await until('the end', () => ended.includes(request.jobId), { timeoutMs: 60_000 });
  const text = await output(request);
  expect(text).toHaveLength(3_000_003);
  expect(text.endsWith('6\nend')).toBe(true);
}, 90_000);

test('the screen comes with what was read before it was asked for, in the size it has', async () => {
  const request = startRequest('echo hello; read line');
  const { jobId } = request;
  await client.request(request);
  await until('hello', async () => (await output(request)).includes('hello'));
  await client.request({ request: 'resize', jobId, cols: 100, rows: 30 });
  const screen = ScreenAnswer.parse(await client.request({ request: 'screen', jobId }));
  expect(screen).toMatchObject({ cols: 100, rows: 30, offset: 7, directory: request.directory });
  expect(screen.data).toContain('hello');
});

test('queries go unanswered while a client is in control, until it lets go or goes away', async () => {
  const ask = `stty raw -echo min 0 time 3; printf '\\033[c'; dd bs=1 count=7 2>/dev/null | od -An -c; stty sane`;
  const request = startRequest(`for i in 1 2; do read line; ${ask}; echo round $i; done`);
  const { jobId } = request;
  await client.request(request);
  const other = await connectToHost(socketPath, () => undefined);
  await other.request({ request: 'control', jobId, controlled: true });
  await client.request({ request: 'input', jobId, data: '\r' });
  await until('round 1', async () => (await output(request)).includes('round 1'));
  expect(await output(request)).not.toContain('033   [   ?');
  other.close();
  await other.closed;
  await client.request({ request: 'list' }); // by then the host has noticed
  await client.request({ request: 'input', jobId, data: '\r' });
  await untilEnded(jobId);
  expect(await output(request)).toContain('033   [   ?   1   ;   2   c');
});

test('a run directory that is removed ends the terminal without a record', async () => {
  const request = startRequest('read line; echo more');
  await client.request(request);
  await rm(request.directory, { recursive: true });
  await client.request({ request: 'input', jobId: request.jobId, data: '\r' });
  await untilEnded(request.jobId);
  expect(logged.join('\n')).toContain('its exit record cannot be written');
});

test('an exit record that cannot be written is tried until it can', async () => {
  const request = startRequest('read line');
  await client.request(request);
  const obstacle = join(request.directory, 'exit.tmp');
  await mkdir(obstacle);
  await client.request({ request: 'input', jobId: request.jobId, data: '\r' });
  await until('the trouble', () => logged.some((words) => words.includes('exit record')));
  expect(ended).toEqual([]);
  await rm(obstacle, { recursive: true });
  await untilEnded(request.jobId);
  expect(await readExitRecord(request.directory)).toMatchObject({ kind: 'exited', exitCode: 0 });
});

test('a spool on a full disk waits for room, and nothing is missing', async () => {
  const path = join(directory.path, 'full-spool');
  await symlink('/dev/full', path);
  const troubles: unknown[] = [];
  const spool = new SpoolWriter({ path, onTrouble: (error) => troubles.push(error) });
  const written = spool.append(Buffer.from('all of it'));
  await until('the trouble', () => troubles.length > 0);
  await unlink(path);
  await writeFile(path, '');
  await written;
  await spool.close();
  await spool.close();
  expect(await readFile(path, 'utf8')).toBe('all of it');
  expect(String(troubles)).toContain('ENOSPC');
  expect(troubles).toHaveLength(1);
});

test('a spool whose directory is gone takes what it is given, and keeps nothing', async () => {
  const troubles: unknown[] = [];
  const path = join(directory.path, 'gone', 'stdout');
  const spool = new SpoolWriter({ path, onTrouble: (error) => troubles.push(error) });
  await spool.append(Buffer.from('a'));
  await spool.append(Buffer.from('b'));
  expect(troubles).toHaveLength(1);
});

test('a client that is told nonsense, or another version, gives up with the reason', async () => {
  for (const [words, reason] of [
    ['{"hello":{"version":99,"pid":1}}\n', /version 99/],
    ['nonsense\n', /cannot be reached/],
    ['x'.repeat(maxAnswerBytes + 1), /answer is too long/],
    ['', /closed the connection/],
  ] as const) {
    const path = join(directory.path, 'liar.sock');
    const liar = createServer((socket) => socket.end(words)).listen(path);
    await once(liar, 'listening');
    await expect(connectToHost(path, () => undefined)).rejects.toThrow(reason);
    liar.close();
    await once(liar, 'close');
  }
});

test('a request whose host dies is told so, and so is every later one', async () => {
  const path = join(directory.path, 'dying.sock');
  const dying = createServer((socket) => {
    socket.write('{"hello":{"version":1,"pid":1}}\n{"id":99,"ok":true,"answer":null}\n');
    socket.once('data', () => socket.destroy());
  }).listen(path);
  await once(dying, 'listening');
  const victim = await connectToHost(path, () => undefined);
  await expect(victim.request({ request: 'list' })).rejects.toThrow(HostGoneError);
  await victim.closed;
  await expect(victim.request({ request: 'list' })).rejects.toThrow(HostGoneError);
  dying.close();
});

test('a link makes one connection, whoever asks, and none after it was closed', async () => {
  const link = createHostLink({ hostDirectory: join(directory.path, 'host') });
  const [first, second, third] = await Promise.all([
    link.connect(false),
    link.connect(true),
    link.connect(false),
  ]);
  expect(second).toBe(first);
  expect(third).toBe(first);
  expect(await link.connect(true)).toBe(first);
  const heard: (string | null)[] = [];
  const stop = link.listen((jobId) => heard.push(jobId));
  link.close();
  await first.closed;
  await until('the news', () => heard.length > 0);
  stop();
  expect(heard).toEqual([null]);
  await expect(link.connect(true)).rejects.toThrow(HostGoneError);
});

test('a deep directory gets a short socket path, in a directory that is ours alone', async () => {
  const deep = join(directory.path, 'd'.repeat(80), 'e'.repeat(80));
  const path = await prepareSocketPath(deep, directory.path);
  expect(Buffer.byteLength(path)).toBeLessThanOrEqual(maxSocketPathBytes);
  expect(path.startsWith(directory.path)).toBe(true);
  expect(await prepareSocketPath(deep, directory.path)).toBe(path);
  const short = join(path, '..');
  await rm(short, { recursive: true });
  await mkdir(short, { mode: 0o755 });
  await expect(prepareSocketPath(deep, directory.path)).rejects.toThrow(/only this user/);
  const link = createHostLink({ hostDirectory: '/etc/hostname/below-a-file' });
  await expect(link.socketPath()).rejects.toThrow();
  await expect(link.connect(true)).rejects.toThrow();
});

test('a lock is taken once, given back, and a path that is none is an error', () => {
  const path = join(directory.path, 'a.lock');
  const release = takeLock(path);
  expect(takeLock(path)).toBeNull();
  release?.();
  const again = takeLock(path);
  expect(again).not.toBeNull();
  again?.();
  expect(() => takeLock(join(directory.path, 'no', 'where.lock'))).toThrow();
  const stranger = join(directory.path, 'stranger.lock');
  writeFileSync(stranger, 'not what we keep here'.repeat(100));
  expect(() => takeLock(stranger)).toThrow(/not a database/);
});

test('a line reader joins and cuts lines, and says when one is too long', () => {
  const lines: string[] = [];
  const read = createLineReader(8, (line) => lines.push(line));
  expect(read(Buffer.from('a\nb'))).toBe(true);
  expect(read(Buffer.from('c\n\nd'))).toBe(true);
  expect(lines).toEqual(['a', 'bc', '']);
  expect(read(Buffer.from('12345678'))).toBe(false);
  expect(createLineReader(2, () => undefined)(Buffer.from('abc\n'))).toBe(false);
});

test('a paste larger than the input buffer of the terminal arrives whole, and too much is refused', async () => {
  const request = startRequest('stty raw -echo; echo ready; head -c 300000 | wc -c; exec sleep 1000');
  const { jobId } = request;
  await client.request(request);
  await until('ready', async () => (await output(request)).includes('ready'));
  await client.request({ request: 'input', jobId, data: 'x'.repeat(200_000) });
  await client.request({ request: 'input', jobId, data: 'y'.repeat(100_000) });
  await until('the count', async () => (await output(request)).includes('300000'));
  const large = 'z'.repeat(5 * 1024 * 1024);
  await client.request({ request: 'input', jobId, data: large });
  await expect(client.request({ request: 'input', jobId, data: large })).rejects.toMatchObject({
    code: 'full',
  });
}, 60_000);

test('a terminal that is over takes nothing more, and what writes on behind it is cut off', async () => {
  let bytes = 0;
  let end: PtyEnd | null = null;
  const pty = new Pty({
    file: '/bin/sh',
    args: ['-c', '(trap "" HUP; exec yes) & read line'],
    env: { PATH: process.env.PATH ?? '' },
    cwd: '/',
    cols: 80,
    rows: 24,
    onData: (data) => (bytes += data.length),
    onEnd: (how) => (end = how),
  });
  await until('output', () => bytes > 100_000);
  pty.pause();
  pty.write(Buffer.from('\r'));
  await until('the end', () => end);
  expect(end).toEqual({ exitCode: 0, signal: null });
  const atEnd = bytes;
  expect(pty.write(Buffer.from('late'))).toBe(true);
  pty.resize(10, 10);
  pty.resume();
  expect(bytes).toBe(atEnd);
});

test('a run whose terminal host cannot be started is not started, and never will be', async () => {
  const spec = buildSpec(directory.path, 'true');
  const strategy = createTerminalSpawnStrategy({
    table,
    cgroups: { create: () => Promise.resolve('/no/cgroup'), path: () => '/no/cgroup' },
    hostDirectory: '/etc/hostname/below-a-file',
    termCmd: '',
    environment: {},
  });
  await expect(strategy.start(spec)).rejects.toThrow(/no terminal could be started/);
  expect(await claimBeginning(spec.directory)).toBe(false);
  const adopted = await strategy.adopt(spec);
  adopted?.detach();
  await expect(strategy.access.screen(spec.jobId)).rejects.toThrow(/ENOTDIR|EEXIST/);
  strategy.close();
});
