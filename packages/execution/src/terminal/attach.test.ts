import { readFile, stat } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { freeBlocks } from '../free-blocks.ts';
import { createProcessTable } from '../process.ts';
import { buildSpec, lives } from '../testing.ts';
import { attachedTailBytes, attachTerminal } from './attach.ts';
import { connectToHost, HostGoneError, type HostClient } from './client.ts';
import { externalTerminalCommand } from './external.ts';
import { startTerminalHost, type TerminalHost } from './host.ts';
import { prepareSocketPath } from './paths.ts';
import { Pty } from './pty.ts';
import { ListAnswer } from './protocol.ts';
import { splitShellWords } from './shell-words.ts';

const table = createProcessTable();
let directory: TemporaryDirectory;
let socketPath: string;
let host: TerminalHost | null;
let client: HostClient;

beforeAll(async () => {
  directory = await temporaryDirectory();
  socketPath = await prepareSocketPath(join(directory.path, 'host'));
  host = await startTerminalHost({ socketPath, table, log: () => undefined });
  client = await connectToHost(socketPath, () => undefined);
});
afterAll(async () => {
  client.close();
  await host?.stop();
  await directory[Symbol.asyncDispose]();
});

async function start(command: string): Promise<string> {
  const { jobId, env, directory: run } = buildSpec(directory.path, command);
  const size = { cols: 80, rows: 24, cgroup: null };
  await client.request({
    request: 'start',
    jobId,
    command,
    directory: run,
    cwd: '/',
    env: { ...env },
    ...size,
  });
  return jobId;
}

/** A terminal emulator made of streams. */
class Emulator extends PassThrough {
  columns = 90;
  rows = 20;
  text = '';

  constructor() {
    super();
    this.on('data', (bytes: Buffer) => (this.text += bytes.toString('utf8')));
  }
}

test('an emulator shows the screen and what follows, types, passes its size, and ends with the job', async () => {
  const jobId = await start('echo early; read line; echo "<$line>"; stty size; read line; stty size');
  const output = new Emulator();
  const rawModes: boolean[] = [];
  const input = Object.assign(new PassThrough(), { setRawMode: (raw: boolean) => rawModes.push(raw) });
  const attached = attachTerminal({ socketPath, jobId, input, output });
  await until('the screen', () => output.text.includes('early'));
  const typed = Buffer.from('größe\r');
  await until('raw mode', () => rawModes.length > 0);
  input.write(typed.subarray(0, 3)); // in the middle of a character
  input.write(typed.subarray(3));
  await until('the answer', () => output.text.includes('<größe>') && output.text.includes('20 90'));
  await start('true'); // its end is not this one's
  output.columns = 70;
  output.emit('resize');
  input.write('\r');
  await attached;
  expect(output.text).toContain('20 70');
  expect(output.text).toContain('\x1b[?1049l');
  expect(rawModes).toEqual([true, false]);
});

test('an emulator that goes away leaves the job alone', async () => {
  const jobId = await start('read line');
  const leaving = new AbortController();
  const output = new PassThrough();
  const attached = attachTerminal({
    socketPath,
    jobId,
    input: new PassThrough(),
    output,
    signal: leaving.signal,
  });
  leaving.abort();
  await attached;
  const { terminals } = ListAnswer.parse(await client.request({ request: 'list' }));
  expect(terminals.map((terminal) => terminal.jobId)).toContain(jobId);
});

test('an emulator that is slow gets everything', async () => {
  const jobId = await start('read line; seq 1 60000; echo fin""ished');
  const output = new Emulator();
  const input = new PassThrough();
  const attached = attachTerminal({ socketPath, jobId, input, output });
  await until('the connection', () => output.text.length > 0);
  output.pause();
  input.write('\r');
  await until('a full buffer', () => output.writableNeedDrain);
  output.resume();
  await until('the end', () => output.text.includes('finished'));
  await attached;
  expect(output.text.split('\r\n').filter((line) => /^\d+$/.test(line)).length).toBeGreaterThanOrEqual(
    59_990,
  );
});

test('an emulator that is far behind is shown the screen as it is: what it missed may be on the disk no more', async () => {
  const jobId = await start('read line; seq 1 400000; echo fin""ished; read line; echo last');
  const spool = join(directory.path, jobId, 'stdout');
  const output = new Emulator();
  const input = new PassThrough();
  const attached = attachTerminal({ socketPath, jobId, input, output });
  await until('the connection', () => output.text.length > 0);
  output.pause();
  input.write('\r');
  const { size } = await until('all of it', async () => {
    const found = await stat(spool);
    return found.size > 2_000_000 && (await readFile(spool)).subarray(-100).includes('finished') && found;
  });
  expect(await freeBlocks(spool, size - attachedTailBytes)).toBe(true);
  output.resume();
  await until('the screen', () => output.text.includes('finished'));
  input.write('\r');
  await attached;
  expect(output.text).toMatch(/\x1bc[^]*399999\r\n400000\r\nfinished[^]*last/);
  expect(output.text).not.toContain('\0');
  expect(output.text.length).toBeLessThan(1_000_000);
});

test('an unknown job and an absent host are errors', async () => {
  const streams = { input: new PassThrough(), output: new PassThrough() };
  await expect(attachTerminal({ socketPath, jobId: 'nobody', ...streams })).rejects.toMatchObject({
    code: 'unknown',
  });
  const nowhere = join(directory.path, 'nowhere.sock');
  await expect(attachTerminal({ socketPath: nowhere, jobId: 'x', ...streams })).rejects.toThrow(
    HostGoneError,
  );
});

/** The attaching program itself, on a terminal of its own. */
function runAttached(jobId: string) {
  const seen = { text: '', exitCode: null as number | null };
  const pty = new Pty({
    file: process.execPath,
    args: [fileURLToPath(new URL('attach-main.ts', import.meta.url)), socketPath, jobId],
    env: { PATH: process.env.PATH ?? '' },
    cwd: '/',
    cols: 66,
    rows: 22,
    onData: (bytes) => (seen.text += bytes.toString('utf8')),
    onEnd: ({ exitCode }) => (seen.exitCode = exitCode),
  });
  return { pty, seen };
}

test('the program that attaches works on a real terminal', async () => {
  const jobId = await start('echo early; read line; echo "<$line>"; stty size');
  const { pty, seen } = runAttached(jobId);
  await until('the screen', () => seen.text.includes('early'));
  pty.write(Buffer.from('typed\r'));
  await until('the end', () => seen.exitCode !== null);
  expect(seen.exitCode).toBe(0);
  expect(seen.text).toContain('<typed>');
  expect(seen.text).toContain('22 66');
});

test('the program that attaches leaves when its window is closed, and says what is wrong', async () => {
  const jobId = await start('echo early; read line');
  const { pty, seen } = runAttached(jobId);
  await until('the screen', () => seen.text.includes('early'));
  process.kill(pty.pid, 'SIGHUP');
  await until('its end', async () => !(await lives(table, pty.pid)));
  const { terminals } = ListAnswer.parse(await client.request({ request: 'list' }));
  expect(terminals.map((terminal) => terminal.jobId)).toContain(jobId);

  const stranger = runAttached('nobody');
  await until('the end', () => stranger.seen.exitCode !== null);
  expect(stranger.seen).toEqual({ text: 'there is no terminal of job nobody\r\n', exitCode: 1 });
});

test('a command line is split as a shell does, and nothing in it is expanded', () => {
  expect(splitShellWords(`xterm -e`)).toEqual(['xterm', '-e']);
  expect(splitShellWords(`  'a b' "c \\"d\\" \\n" e\\ f g'h'"i" '' $HOME * \\`)).toEqual([
    'a b',
    'c "d" \\n',
    'e f',
    'ghi',
    '',
    '$HOME',
    '*',
    '\\',
  ]);
  expect(() => splitShellWords(`xterm "-e`)).toThrow(/not closed/);
  expect(externalTerminalCommand('kitty --', '/s', 'j').slice(0, 2)).toEqual(['kitty', '--']);
  expect(() => externalTerminalCommand(' ', '/s', 'j')).toThrow(/VMO_TERM_CMD/);
});
