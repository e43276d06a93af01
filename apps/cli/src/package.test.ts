import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { isFinal } from '@vmo/contract';
import {
  startTestServer,
  temporaryDirectory,
  testDatabase,
  until,
  type TemporaryDirectory,
  type TestServer,
} from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { environmentFor, vmo } from './vmo.test.support.ts';

const run = promisify(execFile);
const home = join(import.meta.dirname, '..');
const checkout = join(home, '..', '..');

let directory: TemporaryDirectory;
let server: TestServer;
/** The program as it is installed. */
let program = '';
let bin = '';

/** An npm of its own: no cache to find anything in, no registry to ask. */
const npmEnvironment = () => ({
  ...environmentFor(null),
  HOME: directory.path,
  npm_config_cache: join(directory.path, 'cache'),
  npm_config_offline: 'true',
  npm_config_registry: 'http://127.0.0.1:1/',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
});

beforeAll(async () => {
  directory = await temporaryDirectory();
  const where = join(directory.path, 'somewhere');
  await mkdir(where);
  const packed = await run('npm', ['pack', '--json', '--pack-destination', directory.path], {
    cwd: home,
    env: npmEnvironment(),
  });
  const [tarball = ''] = (await readdir(directory.path)).filter((name) => name.endsWith('.tgz'));
  expect(packed.stdout).toContain(tarball);
  await run('npm', ['install', join(directory.path, tarball)], { cwd: where, env: npmEnvironment() });
  bin = join(where, 'node_modules', '.bin');
  program = await realpath(join(bin, 'vmo'));
  server = await startTestServer();
}, 180_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

describe('the package', () => {
  it('installs in an empty directory without any registry, and brings nothing along', async () => {
    const installed = join(directory.path, 'somewhere', 'node_modules');
    expect((await readdir(installed)).filter((name) => !name.startsWith('.'))).toEqual(['@vmo']);
    const files = await readdir(join(installed, '@vmo', 'cli'), { recursive: true });
    expect(files.sort()).toEqual(['bin', 'bin/vmo.js', 'build', 'build/vmo.js', 'package.json']);
    const { version } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8')) as { version: string };
    expect((await vmo(null, ['--version'], { program })).stdout).toBe(`${version}\n`);
  });

  it('runs a command over REST and socket, and ends with its code', async () => {
    const ended = await vmo(server, ['run', 'echo out; echo err >&2; exit 5'], { program });
    expect(ended).toMatchObject({ code: 5, stdout: 'out\n', stderr: 'err\n' });
  });

  it('outside of a checkout says how a server is started', async () => {
    const ended = await vmo(null, ['up'], { program });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('and this is none');
    expect((await vmo(null, ['config', '--check'], { program })).code).toBe(2);
  });

  it('inside of a checkout starts the server in the foreground, which ends with it', async () => {
    // As the checkout that this is, without what its start prepares before: that is built elsewhere.
    const other = join(directory.path, 'checkout');
    await mkdir(join(other, 'scripts'), { recursive: true });
    await mkdir(join(other, 'docs'));
    await writeFile(join(other, 'package.json'), JSON.stringify({ name: 'vm-orchestrator' }));
    const start = `#!/bin/sh\nexec sh ${join(checkout, 'apps', 'server', 'run.sh')}\n`;
    await writeFile(join(other, 'scripts', 'start.sh'), start, { mode: 0o755 });
    await using database = await testDatabase();
    const child = spawn(process.execPath, [program, 'up', '--port', '0'], {
      cwd: join(other, 'docs'),
      env: {
        ...environmentFor(null),
        VMO_DATA_DIR: join(directory.path, 'data'),
        DATABASE_URL: database.url,
        VMO_LOG_LEVEL: 'warn',
        VMO_TOKEN: 'up-token',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'exit');
    const said = text(child.stderr);
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const url = new URL(/http\S+/.exec(line)?.[0] ?? '').origin;
    const { stdout } = await vmo({ url, token: 'up-token' }, ['config', '-o', 'json'], { program });
    expect(JSON.parse(stdout)).toMatchObject({
      settings: expect.arrayContaining([
        expect.objectContaining({ name: 'VMO_PORT', value: '0', source: 'environment' }),
      ]) as unknown,
    });
    child.kill('SIGTERM');
    const [code] = (await ended) as [number];
    expect({ code, said: await said }).toEqual({ code: 0, said: '' });
    expect((await vmo({ url, token: 'up-token' }, ['status'], { program })).code).toBe(3);
  }, 90_000);
});

it('starts an agent of the checkout, which takes jobs until it is told to end', async () => {
  const other = join(directory.path, 'agent-checkout');
  await mkdir(join(other, 'scripts'), { recursive: true });
  await writeFile(join(other, 'package.json'), JSON.stringify({ name: 'vm-orchestrator' }));
  await writeFile(join(other, 'scripts', 'start.sh'), '');
  const start = `#!/bin/sh\nexec sh ${join(checkout, 'apps', 'agent', 'run.sh')}\n`;
  await writeFile(join(other, 'scripts', 'agent.sh'), start, { mode: 0o755 });
  const { token } = await server.client.call('addAgent', { body: { name: 'by-vmo' } });
  const words = ['agents', '--server', server.url, '--slots', '3', '--requests', '0'];
  const child = spawn(process.execPath, [program, ...words], {
    cwd: other,
    env: {
      ...environmentFor(null),
      // Where its jobs run.
      HOME: directory.path,
      VMO_AGENT_TOKEN: token,
      VMO_AGENT_DATA_DIR: join(directory.path, 'agent'),
      VMO_LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  const { job } = await server.client.call('submitJob', {
    body: { command: 'echo over there', agent: 'by-vmo' },
  });
  const followed = await vmo(server, ['logs', job.id, '--follow', '--stream', 'stdout']);
  expect(followed).toMatchObject({ stdout: 'over there\n', stderr: '' });
  const done = await until('its end', async () => {
    const now = await server.client.call('getJob', { params: { jobId: job.id } });
    return isFinal(now.job.status) && now.job;
  });
  expect(done).toMatchObject({ status: 'done', agent: 'by-vmo' });
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
}, 90_000);

describe('completion', () => {
  /** What bash offers after these words, by the script that a person would have in ~/.bashrc. */
  async function offers(...words: string[]): Promise<string[]> {
    const script = join(directory.path, 'completion.bash');
    await writeFile(script, (await vmo(null, ['completion', 'bash'], { program })).stdout);
    const list = words.map((word) => `'${word}'`).join(' ');
    const ask = `. ${script}; COMP_WORDS=(vmo ${list}); COMP_CWORD=${String(words.length)}; _vmo; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const env = environmentFor(server);
    const { stdout } = await run('bash', ['--norc', '-c', ask], {
      env: { ...env, PATH: `${bin}:${env.PATH ?? ''}` },
    });
    return stdout.trimEnd().split('\n');
  }

  it('in bash offers commands, options, values, and names that the server knows', async () => {
    await server.client.call('createVm', { body: { name: 'known-machine', diskSizeBytes: 1024 * 1024 } });
    expect(await offers('sta')).toEqual(['stats', 'status']);
    expect(await offers('vm', 'force')).toEqual(['force-stop']);
    expect(await offers('jobs', '--st')).toEqual(['--status']);
    expect(await offers('jobs', '--status', 'run')).toEqual(['running']);
    expect(await offers('vm', 'start', 'kn')).toEqual(['known-machine']);
    // The person's own command is theirs.
    expect(await offers('run', '--', 'sta')).toEqual(['']);
  }, 60_000);

  it('is there for zsh and fish as well', async () => {
    expect((await vmo(null, ['completion', 'zsh'], { program })).stdout).toContain('compdef _vmo vmo');
    expect((await vmo(null, ['completion', 'fish'], { program })).stdout).toContain(
      "complete -c vmo -a '(__vmo_complete)'",
    );
    expect((await vmo(null, ['completion', 'tcsh'], { program })).code).toBe(2);
  });
});
