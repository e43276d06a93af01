import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobId, type Job } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startVmo, vmo } from './vmo.test.support.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const jobOf = async (id: string): Promise<Job> =>
  (await server.client.call('getJob', { params: { jobId: JobId.parse(id) } })).job;

/** Runs it to its end. @returns its id */
async function ran(command: string): Promise<string> {
  const { job } = await server.client.call('submitJob', { body: { command, cwd: server.startDirectory } });
  await until('the end of the job', async () => (await jobOf(job.id)).finishedAt !== null);
  return job.id;
}

/** A command that waits for a file, so that it ends when the test wants it to. */
function untilFile(name: string): { command: string; release: () => Promise<void> } {
  const path = join(server.startDirectory, name);
  return {
    command: `until [ -e ${path} ]; do sleep 0.05; done`,
    release: () => writeFile(path, ''),
  };
}

describe('vmo run', () => {
  it('puts stdout on stdout and stderr on stderr, and ends with the code of the command', async () => {
    const ended = await vmo(server, ['run', '--', 'sh', '-c', 'echo out; echo "a  b" >&2; exit 7']);
    expect(ended).toMatchObject({ code: 7, stdout: 'out\n', stderr: 'a  b\n' });
  });

  it('says why the job does not begin, but nothing of a wait that is over at once', async () => {
    const { agents } = await server.client.call('listAgents');
    const [agentId] = agents.map(({ id }) => id);
    if (agentId === undefined) throw new Error('the server has no agent');
    const params = { agentId };
    /** Starts it while nobody takes jobs. */
    const runWaiting = async (word: string) => {
      await server.client.call('drainAgent', { params });
      const running = startVmo(server, ['run', '--', 'echo', word]);
      await until('the job to wait', async () => {
        const { jobs } = await server.client.call('listJobs', { query: { status: 'pending' } });
        return jobs.some(({ command }) => command.includes(word));
      });
      return running;
    };
    const letBegin = async () => {
      await server.client.call('resumeAgent', { params });
      await ran('true');
    };
    const short = await runWaiting('short');
    await letBegin();
    expect(await short.ended).toMatchObject({ code: 0, stdout: 'short\n', stderr: '' });
    const long = await runWaiting('long');
    await until('the reason', () => long.stderr.includes('the job is waiting: the agent takes no more jobs'));
    await letBegin();
    expect(await long.ended).toMatchObject({ code: 0, stdout: 'long\n' });
  }, 60_000);

  it('keeps several arguments apart and gives one to the shell', async () => {
    const [apart, shell] = await Promise.all([
      vmo(server, ['run', '--', 'printf', '%s|', 'a b', "it's", '$HOME', '']),
      vmo(server, ['run', 'echo one | tr o 0']),
    ]);
    expect(apart.stdout).toBe("a b|it's|$HOME||");
    expect(shell.stdout).toBe('0ne\n');
  });

  it('passes on bytes that are no text exactly as they were written', async () => {
    const bytes = Buffer.concat([Buffer.from('text first\n'), randomBytes(200_000), Buffer.from('äö\n')]);
    const file = join(server.startDirectory, 'bytes');
    await writeFile(file, bytes);
    const ended = await vmo(server, ['run', '--', 'cat', file]);
    expect(ended.code).toBe(0);
    expect(ended.bytes.equals(bytes)).toBe(true);
  });

  it('loses and repeats nothing when the server is killed and started again meanwhile', async () => {
    const wait = untilFile('restarted');
    const command = `seq 1 2000; ${wait.command}; seq 2001 4000; exit 3`;
    const running = startVmo(server, ['run', command]);
    await until('the first half', () => running.stdout.endsWith('\n2000\n'), { timeoutMs: 20_000 });
    await server.kill();
    await until('word of it', () => running.stderr.includes('is away; waiting for it'));
    await server.restart();
    await wait.release();
    const ended = await running.ended;
    const lines = Array.from({ length: 4000 }, (_, index) => `${String(index + 1)}\n`).join('');
    expect(ended.stdout).toBe(lines);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain('is back; going on where it was');
  }, 90_000);

  it('says 124 at the time limit and 125 where there is no exit code, with the reason', async () => {
    const [late, nowhere, unknown] = await Promise.all([
      vmo(server, ['run', '--timeout', '1s', '--', 'sleep', '60']),
      vmo(server, ['run', '--cwd', '/no/such/place', '--', 'true']),
      vmo(server, ['run', '--ssh', 'nobody', '--', 'true']),
    ]);
    expect(late.code).toBe(124);
    expect(late.stderr).toContain('time limit');
    expect(nowhere.code).toBe(125);
    expect(nowhere.stderr).toContain('/no/such/place');
    expect(unknown.code).toBe(125);
    expect(unknown.stderr).toContain('nobody');
  });

  it('without a terminal leaves the job running when it is interrupted, and says how to find it', async () => {
    const wait = untilFile('left');
    const running = startVmo(server, ['run', `echo begun; ${wait.command}`]);
    await until('the job to run', () => running.stdout === 'begun\n', { timeoutMs: 20_000 });
    running.kill('SIGINT');
    const ended = await running.ended;
    expect(ended.code).toBe(130);
    const id = /vmo logs (\S+) --follow/.exec(ended.stderr)?.[1] ?? '';
    expect(ended.stderr).toContain('goes on without us');
    expect((await jobOf(id)).status).toBe('running');
    await wait.release();
    await until('its end', async () => (await jobOf(id)).status === 'done');
  });

  it('with --cancel-on-interrupt cancels the job and waits for its end', async () => {
    const running = startVmo(server, ['run', '--cancel-on-interrupt', 'echo begun; sleep 600']);
    await until('the job to run', () => running.stdout === 'begun\n', { timeoutMs: 20_000 });
    running.kill('SIGTERM');
    const ended = await running.ended;
    expect(ended.code).toBe(130);
    const { jobs } = await server.client.call('listJobs', { query: { q: 'echo begun; sleep 600' } });
    expect(jobs.map(({ status }) => status)).toEqual(['cancelled']);
  });

  it('gives variables and secrets, and shows no secret', async () => {
    const ended = await vmo(server, ['run', '-e', 'A=1', '-e', 'B', '--secret', 'PASS', 'echo $A $B $PASS'], {
      env: { B: 'two', PASS: 'hunter22' },
    });
    expect(ended.stdout).toMatch(/^1 two \*+\n$/);
  });

  it('detached prints the id, which logs --follow then follows to the end', async () => {
    const { stdout } = await vmo(server, ['run', '--detach', 'echo one; sleep 0.2; echo two']);
    expect(JobId.safeParse(stdout.trim()).success).toBe(true);
    const followed = await vmo(server, ['logs', stdout.trim(), '--follow']);
    expect(followed).toMatchObject({ code: 0, stdout: 'one\ntwo\n', stderr: '' });
  });
});

describe('vmo logs', () => {
  it('shows chosen streams, the last lines, and lines since a moment', async () => {
    const id = await ran('for i in 1 2 3 4; do echo out$i; echo err$i >&2; sleep 0.05; done');
    const [all, errors, last, none, stamped] = await Promise.all([
      vmo(server, ['logs', id]),
      vmo(server, ['logs', id, '--stream', 'stderr']),
      vmo(server, ['logs', id, '--stream', 'stdout', '--limit', '2']),
      vmo(server, ['logs', id, '--since', '2999-01-01']),
      vmo(server, ['logs', id, '--timestamps', '--stream', 'stdout', '--limit', '1']),
    ]);
    expect(all).toMatchObject({ stdout: 'out1\nout2\nout3\nout4\n', stderr: 'err1\nerr2\nerr3\nerr4\n' });
    expect(errors).toMatchObject({ stdout: '', stderr: 'err1\nerr2\nerr3\nerr4\n' });
    expect(last.stdout).toBe('out3\nout4\n');
    expect(none).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(stamped.stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z out4\n$/);
  });

  it('as JSON has an object for each piece, with its stream', async () => {
    const id = await ran('echo out; echo err >&2');
    const { stdout } = await vmo(server, ['-o', 'json', 'logs', id]);
    const pieces = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { stream: string; text: string });
    expect(pieces.map(({ stream, text }) => [stream, text]).sort()).toEqual([
      ['stderr', 'err\n'],
      ['stdout', 'out\n'],
    ]);
  });
});

describe('a log as CSV', () => {
  it('is refused, before anything is run', async () => {
    const ended = await vmo(server, ['-o', 'csv', 'run', 'echo never-as-csv']);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    const { jobs } = await server.client.call('listJobs', { query: { q: 'never-as-csv' } });
    expect(jobs).toEqual([]);
  });
});

describe('ids', () => {
  it('may be cut short where they are unique', async () => {
    const id = await ran('echo short');
    expect((await vmo(server, ['logs', id.slice(0, 20)])).stdout).toBe('short\n');
    expect((await vmo(server, ['logs', id.replaceAll('-', '').slice(0, 20)])).stdout).toBe('short\n');
  });

  it('that mean several are refused with those that they mean', async () => {
    const [one, other] = [await ran('echo one'), await ran('echo other')];
    // Of the same hour: the time is in front.
    const ended = await vmo(server, ['logs', one.slice(0, 5)]);
    expect(ended.code).toBe(5);
    expect(ended.stderr).toContain(`several jobs begin with ${one.slice(0, 5)}`);
    expect(ended.stderr).toContain(other);
    expect(ended.stdout).toBe('');
  });

  it('that mean nothing are refused with those that are near', async () => {
    const id = await ran('echo near');
    const ended = await vmo(server, ['logs', `${id.slice(0, 16)}ff`]);
    expect(ended).toMatchObject({ code: 5, stdout: '' });
    expect(ended.stderr).toContain('no job begins with');
    expect(ended.stderr).toContain(id);
    expect(await vmo(server, ['logs', 'nonsense!'])).toMatchObject({ code: 2, stdout: '' });
    expect((await vmo(server, ['logs', '01234567-89ab-7def-8123-456789abcdef'])).code).toBe(5);
  });
});

describe('vmo jobs', () => {
  it('lists as a table, as JSON and as CSV', async () => {
    const command = 'echo "a, b"; exit 4';
    const id = await ran(command);
    const list = (form: string) => vmo(server, ['jobs', '-q', command, '-o', form]);
    const [table, json, csv] = await Promise.all([list('table'), list('json'), list('csv')]);
    expect(table.stdout).toMatch(new RegExp(`^ID +STATUS +EXIT.*\\n${id}  failed +4  stream`));
    expect(table.stdout).not.toContain('\x1b');
    expect(JSON.parse(json.stdout)).toMatchObject([{ id, status: 'failed', exitCode: 4, command }]);
    const [head, row] = csv.stdout.split('\n');
    expect(head).toBe('id,status,exit,type,created,time,command');
    expect(row).toMatch(new RegExp(`^${id},failed,4,stream,.*,"echo ""a, b""; exit 4"$`));
  });

  it('shows a job that is new or has changed as a line more with --watch', async () => {
    const running = startVmo(server, ['jobs', '--watch', '-q', 'watched', '-o', 'json']);
    const wait = untilFile('watched');
    await vmo(server, ['run', '--detach', `${wait.command}; # watched`]);
    const states = () =>
      running.stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as Job).status);
    await until('the job', () => states().includes('running'), { timeoutMs: 20_000 });
    await wait.release();
    await until('its end', () => states().at(-1) === 'done', { timeoutMs: 20_000 });
    running.kill('SIGINT');
    expect((await running.ended).signal).toBe('SIGINT');
  });

  it('cancels what is named, and says what cannot be cancelled', async () => {
    const { stdout } = await vmo(server, ['run', '--detach', 'sleep 600']);
    const id = stdout.trim();
    expect((await vmo(server, ['cancel', id])).code).toBe(0);
    await until('the cancel', async () => (await jobOf(id)).status === 'cancelled');
    const done = await vmo(server, ['cancel', await ran('true')]);
    expect(done).toMatchObject({ code: 6, stdout: '' });
    expect(done.stderr).toMatch(/^vmo: the job has already ended as done/);
    const many = await vmo(server, ['cancel', id, id]);
    expect(many.code).toBe(2);
    expect(many.stderr).toContain('add --yes');
  });
});
