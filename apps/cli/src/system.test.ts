import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startTestServer, temporaryDirectory, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startVmo, vmo } from './vmo.test.support.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Nobody listens there; and it is none of the ports, as 1, that fetch does not even try. */
const nobody = { url: 'http://127.0.0.1:2', token: 'x' };

describe('an error is one clear sentence on stderr, with a code that says what kind it is', () => {
  it('3 where no server answers, with what to do', async () => {
    const ended = await vmo(nobody, ['jobs']);
    expect(ended).toMatchObject({ code: 3, stdout: '' });
    expect(ended.stderr).toMatch(
      /^vmo: http:\/\/127\.0\.0\.1:2 cannot be reached.*\n.*VMO_URL.*To start a server here: vmo up/,
    );
  });

  it('4 with a wrong token and with none, and says where it came from', async () => {
    const wrong = await vmo({ url: server.url, token: 'wrong' }, ['jobs']);
    expect(wrong).toMatchObject({ code: 4, stdout: '' });
    expect(wrong.stderr).toContain('The token came from VMO_TOKEN.');
    const none = await vmo(null, ['--url', server.url, 'jobs']);
    expect(none.code).toBe(4);
    expect(none.stderr).toContain('set VMO_TOKEN');
  });

  it('125 where a command was to be waited for, with the same words', async () => {
    const [wrong, gone] = await Promise.all([
      vmo({ url: server.url, token: 'wrong' }, ['run', 'true']),
      vmo(nobody, ['submit', 'small-guest', '--wait', '--', 'true']),
    ]);
    expect(wrong).toMatchObject({ code: 125, stdout: '' });
    expect(wrong.stderr).toContain('The token came from VMO_TOKEN.');
    expect(gone.code).toBe(125);
    expect(gone.stderr).toContain('To start a server here: vmo up.');
  });

  it('5 for a machine that is not there, with names that are near', async () => {
    await server.client.call('createVm', { body: { name: 'webserver', diskSizeBytes: 1024 * 1024 } });
    const ended = await vmo(server, ['vm', 'start', 'webservre']);
    expect(ended).toMatchObject({ code: 5, stdout: '' });
    expect(ended.stderr).toContain('Near to it: webserver');
  });

  it('6 for what its state does not allow', async () => {
    const ended = await vmo(server, ['vm', 'pause', 'webserver']);
    expect(ended).toMatchObject({ code: 6, stdout: '' });
    expect(ended.stderr).toMatch(/^vmo: .*stopped/);
  });

  it('2 for wrong usage, with what is meant', async () => {
    const [option, command, value, missing] = await Promise.all([
      vmo(null, ['jobs', '--foo']),
      vmo(null, ['jbos']),
      vmo(null, ['jobs', '--limit', 'many']),
      vmo(null, ['run']),
    ]);
    for (const { code, stdout } of [option, command, value, missing]) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    }
    expect(option.stderr).toMatch(/^vmo: unknown option '--foo'/);
    expect(command.stderr).toContain('Did you mean jobs?');
    expect(value.stderr).toContain('It takes a whole number from 1 to 500');
    expect(missing.stderr).toContain("missing required argument 'command'");
  });

  it('nothing at all when the reader goes away, as head does', async () => {
    const running = startVmo(server, ['run', 'yes 0123456789 | head -c 5000000']);
    running.closeStdout();
    const ended = await running.ended;
    expect(ended).toMatchObject({ code: 141, stderr: '' });
  });
});

describe('help', () => {
  it('is there for every command, with 0 and on stdout', async () => {
    const { stdout, code } = await vmo(null, ['--help']);
    expect(code).toBe(0);
    const commands = [...stdout.matchAll(/^ {2}([a-z-]+)(?: \[| {2}| <)/gm)].map(([, name = '']) => name);
    expect(commands).toEqual(
      expect.arrayContaining(['run', 'jobs', 'submit', 'show-logs', 'vm', 'doctor', 'up']),
    );
    const [run, nested] = await Promise.all([
      vmo(null, ['run', '--help']),
      vmo(null, ['cli', 'list-requests', '--help']),
    ]);
    expect(run.stdout).toContain('Examples:\n  vmo run -- make test');
    expect(run.stdout).toContain('Exit codes: that of the command; 124 time limit');
    expect(nested.stdout).toContain('Usage: vmo cli list-requests');
  });
});

describe('vmo status', () => {
  it('says in words and as JSON what the server does', async () => {
    const [table, json] = await Promise.all([vmo(server, ['status']), vmo(server, ['status', '-o', 'json'])]);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^status +ready$/m);
    expect(table.stdout).toMatch(/^requests +0 running, 0 waiting$/m);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ...{ url: server.url, ready: true },
      readiness: { database: 'up' },
    });
  });
});

describe('vmo config', () => {
  it('shows the settings of the server, without its secrets', async () => {
    const { stdout, stderr, code } = await vmo(server, ['config', '-o', 'json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toContain(server.token);
    expect(JSON.parse(stdout)).toMatchObject({
      of: 'server',
      client: { url: server.url, token: '***', tokenFrom: 'VMO_TOKEN' },
      settings: expect.arrayContaining([
        expect.objectContaining({ name: 'VMO_TOKEN', value: '***' }),
        expect.objectContaining({ name: 'VMO_DATA_DIR', value: server.dataDirectory }),
      ]) as unknown,
    });
  });

  it('without a server shows those of a start here, and ends with 1 where it could not start', async () => {
    const good = await vmo(nobody, ['config', '-o', 'csv'], { env: { VMO_PORT: '8123' } });
    expect(good.code).toBe(0);
    expect(good.stdout).toContain('VMO_PORT,8123,environment\n');
    const bad = await vmo(server, ['config', '--check'], { env: { VMO_PORT: '80x' } });
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('VMO_PORT is "80x": it takes a whole number from 0');
  });
});

describe('a server of this machine', () => {
  it('is found with no setting at all, and after its end we say how to start it', async () => {
    await using directory = await temporaryDirectory();
    const data = join(directory.path, 'data', 'vmo');
    await mkdir(data, { recursive: true });
    await using own = await startTestServer({ env: { VMO_TOKEN: '', VMO_DATA_DIR: data } });
    const bare = { VMO_DATA_DIR: data };
    const { stdout, stderr } = await vmo(null, ['run', 'pwd'], { env: bare, cwd: directory.path });
    expect(stderr).toBe('');
    expect(stdout).toBe(`${directory.path}\n`);
    await own.kill();
    const gone = await vmo(null, ['jobs'], { env: bare });
    expect(gone.code).toBe(3);
    expect(gone.stderr).toContain('was not stopped in order. To start it: vmo up');
  }, 60_000);
});

interface Found {
  what: string;
  state: string;
  words: string;
  mend: string | null;
}

describe('vmo doctor', () => {
  const findings = (stdout: string) => JSON.parse(stdout) as Found[];
  const find = (stdout: string, what: string) => findings(stdout).find((one) => one.what === what);

  it('asks the server what it can do, and has it boot a guest', async () => {
    const ended = await vmo(server, ['doctor', '-o', 'json']);
    expect(find(ended.stdout, 'token')).toMatchObject({ state: 'ok' });
    expect(find(ended.stdout, 'its database')).toMatchObject({ state: 'ok', words: 'up' });
    expect(find(ended.stdout, 'its QEMU')).toMatchObject({ state: 'ok' });
    // Whether KVM works depends on the machine; that it was tried does not.
    expect(find(ended.stdout, 'its KVM')).toBeDefined();
    expect(ended.code).toBe(findings(ended.stdout).some(({ state }) => state === 'problem') ? 1 : 0);
  }, 120_000);

  it('without a server looks at this machine, and says how to mend what is wrong', async () => {
    await using directory = await temporaryDirectory();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = address !== null && typeof address === 'object' ? String(address.port) : '';
    const { code, stdout } = await vmo(null, ['doctor', '-o', 'json'], {
      env: {
        VMO_DATA_DIR: directory.path,
        VMO_PORT: port,
        DATABASE_URL: 'postgres://me:hunter22@127.0.0.1:1/x',
        VMO_QEMU_BINARY: 'no-such-qemu',
      },
    });
    other.close();
    expect(code).toBe(1);
    expect(find(stdout, 'server')?.mend).toContain('vmo up');
    expect(find(stdout, 'QEMU')).toMatchObject({
      state: 'problem',
      words: 'no-such-qemu is not installed',
      mend: expect.stringContaining('apt-get install qemu-system-x86') as string,
    });
    expect(find(stdout, 'database')).toMatchObject({ state: 'problem', words: '127.0.0.1:1: ECONNREFUSED' });
    expect(find(stdout, `port ${port}`)).toMatchObject({ state: 'problem', words: 'is taken' });
    expect(find(stdout, 'data directory')?.words).toContain('free');
    expect(stdout).not.toContain('hunter22');
  }, 60_000);

  it('boots a guest of this machine', async () => {
    await using directory = await temporaryDirectory();
    const ended = await vmo(null, ['doctor', '-o', 'json'], {
      env: { VMO_DATA_DIR: directory.path, VMO_PORT: '0' },
    });
    expect(find(ended.stdout, 'QEMU')).toMatchObject({ state: 'ok' });
    const booted = findings(ended.stdout).filter(({ words }) => /a guest boots in \d+ ms/.test(words));
    expect(booted).toHaveLength(1);
  }, 120_000);
});
