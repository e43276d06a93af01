import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmOperation } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startInTerminal, vmo } from './vmo.test.support.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const statusOf = async (mark: string) =>
  (await server.client.call('listJobs', { query: { q: mark } })).jobs.map(({ status }) => status);

describe('in a terminal', () => {
  it('a list fits the width and has colour by status, unless NO_COLOR or --no-color say no', async () => {
    const long = `exit 9 # ${'long '.repeat(40)}`;
    await vmo(server, ['run', long]);
    const list = (args: readonly string[], env: Record<string, string> = {}) =>
      startInTerminal(server, ['jobs', '-q', 'exit 9', ...args], { env, cols: 80 }).ended;
    const [painted, plain, unwanted] = [
      await list([]),
      await list([], { NO_COLOR: '1' }),
      await list(['--no-color']),
    ];
    expect(painted.screen).toContain('\x1b[31mfailed\x1b[39m');
    for (const { screen } of [plain, unwanted]) {
      expect(screen).not.toContain('\x1b');
      const lines = screen.trimEnd().split('\r\n');
      expect(lines).toHaveLength(2);
      expect(lines.every((line) => line.length <= 80)).toBe(true);
      expect(lines[1]).toMatch(/^[0-9a-f-]{18} .*…$/);
    }
  }, 60_000);

  it('a command is run with colour', async () => {
    const { screen } = await startInTerminal(server, ['run', 'echo "force:$FORCE_COLOR"']).ended;
    expect(screen).toMatch(/force:\d/);
  });

  it('the last lines of a log have the colour that was turned on long before them', async () => {
    const mark = `colour-${process.pid.toString()}`;
    await vmo(server, ['run', `printf '\\033[1;38;5;208m'; seq 20000 # ${mark}`]);
    const { jobs } = await server.client.call('listJobs', { query: { q: mark } });
    const { screen } = await startInTerminal(server, [
      'logs',
      jobs[0]?.id ?? '',
      ...['--stream', 'stdout', '--limit', '2'],
    ]).ended;
    expect(screen).toBe('\x1b[0;1;38;5;208m19999\r\n20000\r\n');
  });

  it('Ctrl-C asks, and y cancels the job and waits for its end', async () => {
    const terminal = startInTerminal(server, ['run', 'echo begun; sleep 601']);
    await terminal.shows('begun');
    terminal.type('\x03');
    await terminal.shows('Ctrl-C: leave it running [y/n]');
    terminal.type('y\r');
    const { code, screen } = await terminal.ended;
    expect(code).toBe(130);
    expect(screen).toContain('the job was cancelled');
    expect(await statusOf('sleep 601')).toEqual(['cancelled']);
  });

  it('Ctrl-C asks, holds the output back meanwhile, and n goes on', async () => {
    const file = join(server.startDirectory, 'go-on');
    const terminal = startInTerminal(server, [
      'run',
      `echo begun; until [ -e ${file} ]; do sleep 0.05; done; echo end`,
    ]);
    await terminal.shows('begun');
    terminal.type('\x03');
    await terminal.shows('[y/n]');
    await writeFile(file, '');
    await until('the end of the job', async () => (await statusOf('go-on'))[0] === 'done');
    expect(terminal.screen).not.toContain('end\r\n');
    terminal.type('n\r');
    const { code, screen } = await terminal.ended;
    expect(code).toBe(0);
    expect(screen.endsWith('end\r\n')).toBe(true);
  });

  it('a second Ctrl-C leaves the job running', async () => {
    const terminal = startInTerminal(server, ['run', 'echo begun; sleep 602']);
    await terminal.shows('begun');
    terminal.type('\x03');
    await terminal.shows('[y/n]');
    terminal.type('\x03');
    const { code, screen } = await terminal.ended;
    expect(code).toBe(130);
    expect(screen).toContain('goes on without us');
    expect(await statusOf('sleep 602')).toEqual(['running']);
    const cancel = /vmo cancel (\S+)/.exec(screen)?.[1] ?? '';
    expect((await vmo(server, ['cancel', cancel])).code).toBe(0);
    await until('the cancel', async () => (await statusOf('sleep 602'))[0] === 'cancelled');
  });

  it('what cannot be taken back is asked about, and anything but yes does nothing', async () => {
    await server.client.call('createVm', { body: { name: 'asked', diskSizeBytes: 1024 * 1024 } });
    const terminal = startInTerminal(server, ['vm', 'delete', 'asked']);
    await terminal.shows('for ever? [y/N]');
    terminal.type('\r');
    expect(await terminal.ended).toMatchObject({ code: 130 });
    expect((await vmo(server, ['vm', 'show', 'asked'])).code).toBe(0);
    const piped = await vmo(server, ['vm', 'delete', 'asked']);
    expect(piped.code).toBe(2);
    expect(piped.stderr).toContain('There is nobody to ask here: add --yes');
    const sure = await vmo(server, ['vm', 'delete', 'asked', '--yes']);
    expect(sure).toMatchObject({ code: 0 });
    expect(sure.stdout).toMatch(/^asked: delete done in /);
  });

  it('a list that is watched is drawn again in place when it changes', async () => {
    const file = join(server.startDirectory, 'drawn');
    const terminal = startInTerminal(server, ['jobs', '--watch', '-q', 'drawn-again']);
    await terminal.shows('0 shown; Ctrl-C ends');
    await vmo(server, ['run', '-d', `until [ -e ${file} ]; do sleep 0.05; done # drawn-again`]);
    await terminal.shows(/\x1b\[H.*\x1b\[36mrunning/s);
    await writeFile(file, '');
    await terminal.shows(/\x1b\[H.*\x1b\[32mdone/s);
    terminal.type('\x03');
    await terminal.ended;
  });
});

describe('a console', () => {
  it('types into a machine and shows what it answers, until the escape key; the machine runs on', async () => {
    const made = await vmo(server, ['vm', 'try', '-o', 'json']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const started = (JSON.parse(made.stdout) as VmOperation[]).at(-1);
    expect(started?.result).toMatch(/ is running$/);
    const name = started?.vmName ?? '';
    const terminal = startInTerminal(server, ['vm', 'console', name]);
    // A guest that is emulated on a busy machine boots slowly.
    await terminal.shows('vmo:~# ', 90_000);
    terminal.type('echo "it is $((6 * 7))"\r');
    await terminal.shows('it is 42');
    terminal.type('\x1d');
    expect((await terminal.ended).code).toBe(0);
    const shown = await vmo(server, ['vm', 'show', name, '-o', 'json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({ name, status: 'running' });
    const stopped = await vmo(server, ['vm', 'force-stop', name, '--yes']);
    expect(stopped.stdout).toContain(`${name}: force-stop done`);
    const refused = await vmo(server, ['vm', 'console', name]);
    expect(refused).toMatchObject({ code: 6 });
    expect(refused.stderr).toContain(`vmo vm start ${name}`);
  }, 180_000);
});
