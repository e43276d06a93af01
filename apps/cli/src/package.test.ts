import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { isFinal, SimulationRequest } from '@vmo/contract';
import {
  startTestServer,
  temporaryDirectory,
  testDatabase,
  until,
  type TemporaryDirectory,
  type TestServer,
} from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { waitCodes } from './exit-codes.ts';
import {
  filesKept,
  githubRecipe,
  gitlabRecipe,
  jenkinsRecipe,
  linesOf,
  makeProject,
  makeTemplates,
  reportOf,
  runScripts,
  serveFile,
  startScript,
  type Recipe,
  type ScriptEnd,
} from './recipes.test.support.ts';
import { checkoutProgram, environmentFor, vmo } from './vmo.test.support.ts';

const run = promisify(execFile);
const home = join(import.meta.dirname, '..');
const checkout = join(home, '..', '..');

let directory: TemporaryDirectory;
let server: TestServer;
/** The program as it is installed. */
let program = '';
let bin = '';
let tarball = '';

/** An npm of its own: no cache to find anything in, no registry to ask. */
const npmEnvironment = (): Record<string, string> => ({
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
  const [name = ''] = (await readdir(directory.path)).filter((file) => file.endsWith('.tgz'));
  expect(packed.stdout).toContain(name);
  tarball = join(directory.path, name);
  await run('npm', ['install', tarball], { cwd: where, env: npmEnvironment() });
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
    // Nothing is built in a checkout: its program runs the sources.
    for (const one of [program, checkoutProgram])
      expect((await vmo(null, ['--version'], { program: one })).stdout).toBe(`${version}\n`);
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

describe('in CI, as docs/guide/ci.md says,', () => {
  const patience = 240_000;
  let published: Awaited<ReturnType<typeof serveFile>>;

  beforeAll(async () => {
    published = await serveFile(tarball);
    await makeTemplates(server, ['debian-13', 'alpine']);
  }, 120_000);
  afterAll(() => published[Symbol.asyncDispose]());

  /** A runner with a checkout in a folder of its own, which installs programs globally beside it. */
  async function runnerOf(name: string, failures = 0) {
    const folder = join(directory.path, 'runners', name);
    const prefix = `${folder}.global`;
    await makeProject(folder, failures);
    const npm = npmEnvironment();
    const base = {
      ...{ ...npm, npm_config_offline: 'false', npm_config_prefix: prefix },
      PATH: `${join(prefix, 'bin')}:${npm.PATH ?? ''}`,
    };
    type Variables = Readonly<Record<string, string>>;
    return {
      folder,
      run: (recipe: Pick<Recipe, 'shell' | 'scripts'>, env: Variables) =>
        runScripts(recipe, { folder, env: { ...base, ...env } }),
      start: (shell: Recipe['shell'], script: string, env: Variables) =>
        startScript(shell, script, { folder, env: { ...base, ...env } }),
    };
  }

  async function labelled(ci: string): Promise<SimulationRequest[]> {
    const { stdout } = await vmo(server, ['list-requests', '--label', `ci=${ci}`, '-o', 'json'], { program });
    return z.array(SimulationRequest).parse(JSON.parse(stdout));
  }

  const codesOf = (ends: readonly ScriptEnd[]) => ends.map(({ code }) => code);

  describe('GitHub Actions', () => {
    let runner: Awaited<ReturnType<typeof runnerOf>>;
    const recipeFor = (machine: string, run: string) =>
      githubRecipe({
        ...{ 'vars.VMO_URL': server.url, 'secrets.VMO_TOKEN': server.token },
        ...{ 'vars.VMO_PACKAGE': published.url, 'matrix.vm': machine },
        ...{ 'github.run_id': run, 'github.run_attempt': '1' },
      });

    beforeAll(async () => {
      runner = await runnerOf('github');
      const { env, shell, scripts } = await recipeFor('debian-13', '7001');
      const ends = await runner.run({ shell, scripts: scripts.slice(0, -1) }, env);
      expect(codesOf(ends), JSON.stringify(ends)).toEqual([0, 0]);
    }, 120_000);

    it(
      'tests in a machine of its matrix, and a step that is repeated finds its request',
      async () => {
        const recipe = await recipeFor('debian-13', '7001');
        expect(recipe.machines).toEqual(['debian-13', 'alpine']);
        const step = { shell: recipe.shell, scripts: recipe.scripts.slice(-1) };
        const [end] = await runner.run(step, recipe.env);
        const said = `${linesOf('debian-13').join('\n')}\n`;
        expect(end).toMatchObject({ code: 0, stdout: said });
        expect(end?.stderr).toMatch(/^a warning of debian-13$/m);
        const report = { 'artifacts/report.xml': reportOf('debian-13') };
        expect(await filesKept(recipe.kept, runner.folder)).toEqual(report);
        const requests = await labelled('7001');
        expect(requests).toMatchObject([{ vm_name: 'debian-13', status: 'done', exit_code: 0, attempt: 1 }]);

        await rm(join(runner.folder, 'artifacts'), { recursive: true });
        const [again] = await runner.run(step, recipe.env);
        expect(again).toMatchObject({ code: 0, stdout: said });
        expect(await filesKept(recipe.kept, runner.folder)).toEqual(report);
        expect(await labelled('7001')).toEqual(requests);
      },
      patience,
    );

    it(
      'ends the request when the run is cancelled, by a signal to the shell alone',
      async () => {
        const { env, shell, scripts } = await recipeFor('alpine', '7004');
        const step = await runner.start(shell, scripts.at(-1) ?? '', env);
        const isRunning = async () => {
          const query = { status: 'running', label: 'ci=7004' } as const;
          return (await server.client.call('listRequests', { query })).total > 0;
        };
        await until('its machine', isRunning, { timeoutMs: 60_000, everyMs: 100 });
        step.kill('SIGINT');
        const end = await step.ended;
        expect(end.code, JSON.stringify(end)).toBe(130);
        expect(await labelled('7004')).toMatchObject([{ vm_name: 'alpine', status: 'cancelled' }]);
      },
      patience,
    );
  });

  it(
    'GitLab fails with the code of what was run, keeps the report, and does not try that again',
    async () => {
      const recipe = await gitlabRecipe();
      expect(recipe.machines).toEqual(['debian-13', 'alpine']);
      const runner = await runnerOf('gitlab', 3);
      const ends = await runner.run(recipe, {
        ...{ VMO_URL: server.url, VMO_TOKEN: server.token, VMO_PACKAGE: published.url },
        ...{ VM: 'alpine', CI_PIPELINE_ID: '7002', CI_JOB_ID: '70021' },
      });
      // That of make, for whatever fails.
      expect(codesOf(ends), JSON.stringify(ends)).toEqual([2]);
      expect(ends[0]?.stdout).toContain(`\n${linesOf('alpine').join('\n')}\n`);
      expect(ends[0]?.stderr).toMatch(/^make: \*\*\* \[.*check\] Error 3$/m);
      expect(await filesKept(recipe.kept, runner.folder)).toEqual({
        'artifacts/report.xml': reportOf('alpine', 3),
      });
      expect(await labelled('7002')).toMatchObject([{ vm_name: 'alpine', status: 'failed', exit_code: 2 }]);
      expect(recipe.retried).toEqual([waitCodes.none]);
    },
    patience,
  );

  it(
    'Jenkins tests in both machines at once, and a step that is repeated finds both requests',
    async () => {
      const runner = await runnerOf('a job');
      const recipe = await jenkinsRecipe({
        'env.WORKSPACE_TMP': `${runner.folder}@tmp`,
        'vmo-token': server.token,
      });
      await mkdir(`${runner.folder}@tmp`);
      const tag = 'jenkins-folder-a%2Fjob-7003';
      const env = { ...recipe.env, VMO_URL: server.url, VMO_PACKAGE: published.url, BUILD_TAG: tag };
      expect(Object.keys(recipe.env)).toEqual(expect.arrayContaining(['VMO_URL', 'VMO_PACKAGE']));
      const ends = await runner.run(recipe, env);
      expect(codesOf(ends), JSON.stringify(ends)).toEqual([0, 0, 0]);
      const said = [
        ...linesOf('alpine').map((line) => `alpine    | ${line}`),
        ...linesOf('debian-13').map((line) => `debian-13 | ${line}`),
      ];
      expect(ends[2]?.stdout.trimEnd().split('\n').sort()).toEqual(said.sort());
      expect(ends[2]?.stderr).toMatch(/^alpine {4}\| a warning of alpine$/m);
      const reports = {
        'artifacts/alpine/report.xml': reportOf('alpine'),
        'artifacts/debian-13/report.xml': reportOf('debian-13'),
      };
      expect(await filesKept(recipe.kept, runner.folder)).toEqual(reports);
      const requests = await labelled(tag);
      expect(requests.map(({ vm_name: name, status }) => `${name} ${status}`).sort()).toEqual([
        'alpine done',
        'debian-13 done',
      ]);

      await rm(join(runner.folder, 'artifacts'), { recursive: true });
      const [again] = await runner.run({ ...recipe, scripts: recipe.scripts.slice(-1) }, env);
      expect(again?.code).toBe(0);
      expect(again?.stdout.trimEnd().split('\n').sort()).toEqual(said.sort());
      expect(await filesKept(recipe.kept, runner.folder)).toEqual(reports);
      expect(await labelled(tag)).toEqual(requests);
    },
    patience,
  );
});
