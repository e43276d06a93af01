import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RequestId, RequestStatistics, type SimulationRequest } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startInTerminal, startVmo, vmo } from './vmo.test.support.ts';

/* The real server with the real QEMU and the small guest; each request boots one, which takes seconds. */

const patience = { timeout: 180_000 };
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
}, 60_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const requestOf = (id: string): Promise<SimulationRequest> =>
  server.client.call('getRequest', { params: { requestId: RequestId.parse(id) } });

/** Requests that wait and run nothing. @returns their uuids */
async function held(...names: string[]): Promise<string[]> {
  const uuids: string[] = [];
  for (const name of names) {
    const { stdout } = await vmo(server, [
      'submit',
      'small-guest',
      '--hold',
      '-l',
      `name=${name}`,
      '--',
      'true',
    ]);
    uuids.push(stdout.trim());
  }
  return uuids;
}

describe('vmo submit --wait', () => {
  it(
    'puts files in, streams both outputs apart, fetches artifacts, ends with the code',
    patience,
    async () => {
      const here = join(server.startDirectory, 'ci');
      await mkdir(here);
      await writeFile(
        join(here, 'test.sh'),
        'echo "out $A"; echo err >&2; echo kept > /root/report; exit 3\n',
      );
      const ended = await vmo(
        server,
        [
          ...['submit', 'small-guest', '--wait', '--timeout', '3m', '-e', 'A=1', '-l', 'ci=7'],
          ...['--file', 'test.sh:/root/test.sh', '--artifact', '/root/report', '--artifact', '/root/none'],
          ...['--', 'sh', '/root/test.sh'],
        ],
        { cwd: here },
      );
      expect(ended).toMatchObject({ code: 3, stdout: 'out 1\n' });
      expect(ended.stderr).toMatch(/^err$/m);
      expect(ended.stderr).toContain('no artifact /root/none');
      expect(await readFile(join(here, 'artifacts', 'report'), 'utf8')).toBe('kept\n');

      const list = await vmo(server, ['list-requests', '--label', 'ci=7', '-o', 'json']);
      const [request] = JSON.parse(list.stdout) as SimulationRequest[];
      expect(request).toMatchObject({ status: 'failed', exit_code: 3, labels: { ci: '7' } });
      const uuid = request?.uuid ?? '';
      const [shown, logs, out, again] = await Promise.all([
        vmo(server, ['show-request', uuid.slice(0, 20)]),
        vmo(server, ['cli', 'show-logs', uuid]),
        vmo(server, ['show-logs', uuid, '--log-type', 'stdout']),
        vmo(server, ['artifacts', uuid, '--save', 'saved'], { cwd: here }),
      ]);
      expect(shown.stdout).toMatch(/^stages +queued .* → booting .* → running .* → failed$/m);
      expect(shown.stdout).toMatch(/^1 +failed +3 .*sh \/root\/test\.sh$/m);
      expect(logs.stdout).toMatch(/^stdout +\| out 1$/m);
      expect(logs.stdout).toMatch(/^stderr +\| err$/m);
      expect(logs.stdout).toMatch(/^boot +\| /m);
      expect(out.stdout).toBe('out 1\n');
      expect(again.code).toBe(1);
      expect(await readFile(join(here, 'saved', 'report'), 'utf8')).toBe('kept\n');
    },
  );

  it('loses and repeats nothing when the server is killed and started again', patience, async () => {
    const running = startVmo(server, [
      ...['submit', 'small-guest', '--wait', '--timeout', '3m'],
      ...['-c', 'seq 1 500; sleep 3; seq 501 1000', '-c', 'echo last; exit 4'],
    ]);
    await until('the first half', () => running.stdout.endsWith('\n500\n'), { timeoutMs: 100_000 });
    await server.kill();
    await server.restart();
    const ended = await running.ended;
    const lines = Array.from({ length: 1000 }, (_, index) => `${String(index + 1)}\n`).join('');
    expect(ended.stdout).toBe(`${lines}last\n`);
    expect(ended.code).toBe(4);
    expect(ended.stderr).toContain('command 2 failed with 4: echo last; exit 4');
  });

  it(
    'of several machines is a matrix, each line with its name, and the code of the first that failed',
    patience,
    async () => {
      await server.client.call('createTemplate', {
        body: {
          name: 'other',
          kernel: 'small-guest.kernel',
          initrd: 'small-guest.initrd',
          append: 'console=ttyS0',
        },
      });
      const ended = await vmo(server, [
        ...['submit', 'other,small-guest', '--wait', '--timeout', '3m'],
        ...['--', 'echo a; echo b >&2; exit 6'],
      ]);
      expect(ended.code).toBe(6);
      expect(ended.stdout.split('\n').sort()).toEqual(['', 'other       | a', 'small-guest | a']);
      expect(ended.stderr).toContain('other       | b');
    },
  );

  it('in a terminal says what is waited for, and Ctrl-C asks whether to cancel', async () => {
    const terminal = startInTerminal(server, ['submit', 'small-guest', '--hold', '--wait', '--', 'true']);
    await terminal.shows('is on hold');
    terminal.type('\x03');
    await terminal.shows('Ctrl-C: leave it running [y/n]');
    terminal.type('y\r');
    const { code, screen } = await terminal.ended;
    expect(code).toBe(130);
    expect(screen).toContain('the request is cancelled');
  });

  it('ends with 125 where nothing could be submitted, and says why', async () => {
    const ended = await vmo(server, ['submit', 'no-such-machine', '--wait', '--', 'true']);
    expect(ended).toMatchObject({ code: 125, stdout: '' });
    expect(ended.stderr).toContain('no-such-machine');
  });
});

describe('requests by their uuid', () => {
  it('are held, released, cancelled and deleted, and what is final is asked about', async () => {
    const [uuid = ''] = await held('life');
    expect((await requestOf(uuid)).status).toBe('hold');
    const piped = await vmo(server, ['delete-request', uuid]);
    expect(piped).toMatchObject({ code: 2, stdout: '' });
    expect(piped.stderr).toContain('There is nobody to ask here: add --yes');
    const terminal = startInTerminal(server, ['delete-request', uuid]);
    await terminal.shows(`Cancel request ${uuid}, which is hold? [y/N]`);
    terminal.type('y\r');
    expect((await terminal.ended).code).toBe(0);
    expect((await requestOf(uuid)).status).toBe('cancelled');
    expect((await vmo(server, ['release-request', uuid])).code).toBe(6);
    expect((await vmo(server, ['delete-request', uuid, '--yes'])).code).toBe(0);
    expect((await vmo(server, ['show-request', uuid])).code).toBe(5);
  }, 60_000);

  it('that are cut too short, or are none, are refused with those that are meant or near', async () => {
    const [one = '', other = ''] = await held('one', 'other');
    const [several, unknown, short] = await Promise.all([
      vmo(server, ['show-request', one.slice(0, 6)]),
      vmo(server, ['show-request', `${one.slice(0, 16)}ff`]),
      vmo(server, ['show-request', one.slice(0, 3)]),
    ]);
    expect(several).toMatchObject({ code: 5, stdout: '' });
    expect(several.stderr).toContain('several requests begin with');
    expect(several.stderr).toContain(one);
    expect(several.stderr).toContain(other);
    expect(unknown.code).toBe(5);
    expect(unknown.stderr).toContain(`Near to it:\n  ${one}`);
    expect(short.code).toBe(2);
    for (const uuid of [one, other]) await vmo(server, ['delete-request', uuid, '--yes']);
  }, 60_000);

  it('the same idempotency key submits one request only', async () => {
    const submit = () =>
      vmo(server, ['submit', 'small-guest', '--hold', '--idempotency-key', 'once', '--', 'true']);
    const [first, second] = [await submit(), await submit()];
    expect(second.stdout).toBe(first.stdout);
    await vmo(server, ['delete-request', first.stdout.trim(), '--yes']);
  }, 60_000);

  it('are counted by stats, and listed as CSV', async () => {
    await vmo(server, ['submit', 'small-guest', '--hold', '-l', 'words=a "b", c', '--', 'true']);
    const { requests, total } = await server.client.call('listRequests', { query: { limit: 1000 } });
    const count = (status: string) => requests.filter((one) => one.status === status).length;
    const [stats, list] = await Promise.all([
      vmo(server, ['stats', '-o', 'json']),
      vmo(server, ['list-requests', '-o', 'csv', '--status', 'hold']),
    ]);
    const ended = count('done') + count('failed') + count('timed_out') + count('lost');
    const told = RequestStatistics.extend({ success_rate: z.number().nullable() }).parse(
      JSON.parse(stats.stdout),
    );
    expect(told).toMatchObject({
      success_rate: ended === 0 ? null : count('done') / ended,
      all: { counts: { hold: 1, done: count('done'), failed: count('failed') } },
    });
    expect(Object.values(told.all.counts).reduce((sum, one) => sum + one, 0)).toBe(total);
    const [head, row, end] = list.stdout.split('\n');
    expect(head).toBe('uuid,status,vm,exit,created,time,labels,commands,message');
    expect(row).toMatch(/^[0-9a-f-]{36},hold,small-guest,,.*,"words=a ""b"", c",true,/);
    expect(end).toBe('');
  });

  it('need something to run, somebody to log in as, and files that are there', async () => {
    const [nothing, user, password, file] = await Promise.all([
      vmo(server, ['submit', 'small-guest']),
      vmo(server, ['submit', 'small-guest', '--login', '0:secret', '--', 'true']),
      vmo(server, ['submit', 'small-guest', '--login', 'root:', '--', 'true']),
      vmo(server, ['submit', 'small-guest', '--wait', '--file', 'none:/root/x', '--', 'true']),
    ]);
    expect(nothing.code).toBe(2);
    expect(nothing.stderr).toContain('there is nothing to run');
    expect(user).toMatchObject({ code: 2, stdout: '' });
    expect(user.stderr).toContain('--login: "0" must be the name of a user');
    expect(user.stderr).not.toContain('secret');
    expect(password.code).toBe(2);
    expect(password.stderr).toContain('--login: the password must be 1 to 200 characters');
    expect(file.code).toBe(2);
    expect(file.stderr).toContain('--file none cannot be read: ENOENT');
  });
});
