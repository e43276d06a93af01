import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startTestServer, temporaryDirectory, testDatabase, until } from '@vmo/testkit';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';

const main = join(import.meta.dirname, 'main.ts');

/** Starts the server, which must not come up. @returns how it ended and what it said */
async function failToStart(
  env: Record<string, string>,
): Promise<{ code: number | null; stderr: string; stdout: string }> {
  await using start = await temporaryDirectory();
  const child = spawn(process.execPath, [main], {
    cwd: start.path,
    env: {
      PATH: '/usr/sbin:/usr/bin:/bin',
      HOME: start.path,
      VMO_DATA_DIR: join(start.path, 'data'),
      VMO_PORT: '0',
      VMO_LOG_LEVEL: 'silent',
      ...env,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

const oneLine = (words: RegExp) => ({
  code: 1,
  stdout: '',
  stderr: expect.stringMatching(new RegExp(`^vmo: [^\\n]*${words.source}[^\\n]*\\n$`)) as string,
});

describe('a start that cannot succeed ends with one line and exit code 1', () => {
  it('when a setting is wrong', async () => {
    expect(await failToStart({ VMO_PORT: 'eighty' })).toEqual(
      oneLine(/VMO_PORT is "eighty": it takes a whole number/),
    );
  });

  it('when the database does not answer', async () => {
    const answer = await failToStart({ DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' });
    expect(answer).toEqual(oneLine(/DATABASE_URL cannot be used: .*ECONNREFUSED/));
    expect(answer.stderr).not.toContain('hunter2');
  });

  it('when the data directory can never be made, as below /proc', async () => {
    expect(await failToStart({ VMO_DATA_DIR: '/proc/vmo/data' })).toEqual(
      oneLine(/the data directory \/proc\/vmo\/data cannot be used/),
    );
  });

  it('when the data directory is none', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'file');
    await writeFile(file, '');
    expect(await failToStart({ VMO_DATA_DIR: file })).toEqual(
      oneLine(/the data directory .* cannot be used/),
    );
  });

  it('when the port is taken, and leaves no database running', async () => {
    await using directory = await temporaryDirectory();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = address !== null && typeof address === 'object' ? String(address.port) : '';
    expect(await failToStart({ VMO_PORT: port, VMO_DATA_DIR: directory.path })).toEqual(
      oneLine(/the port is in use/),
    );
    other.close();
    await expect(stat(join(directory.path, 'postgres', 'data', 'postmaster.pid'))).rejects.toThrow('ENOENT');
    await expect(stat(join(directory.path, 'server.lock'))).rejects.toThrow('ENOENT');
  }, 60_000);

  it('when the database was written by a newer version', async () => {
    await using database = await testDatabase();
    await sql`insert into kysely_migration (name, timestamp) values ('29990101T0000_future', '')`.execute(
      database.db,
    );
    expect(await failToStart({ DATABASE_URL: database.url })).toEqual(oneLine(/newer version/));
  });
});

describe('a data directory', () => {
  it('belongs to one server at a time, as its database does, and to the next one after a kill', async () => {
    await using database = await testDatabase();
    await using server = await startTestServer({ env: { DATABASE_URL: database.url } });
    const elsewhere = await failToStart({ DATABASE_URL: database.url });
    expect(elsewhere).toEqual(oneLine(/another server uses this database/));
    const second = await failToStart({ VMO_DATA_DIR: server.dataDirectory });
    expect(second).toEqual(oneLine(new RegExp(`another server \\(pid ${String(server.pid)}\\)`)));
    await server.kill();
    await server.restart();
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  }, 60_000);

  it('is taken over from a server whose pid another process has now', async () => {
    await using server = await startTestServer();
    await server.stop();
    const stale = { pid: process.pid, start: 'long ago', boot: 'another' };
    await writeFile(join(server.dataDirectory, 'server.lock'), JSON.stringify(stale));
    await server.restart();
    expect(JSON.parse(await readFile(join(server.dataDirectory, 'server.lock'), 'utf8'))).toMatchObject({
      pid: server.pid,
    });
  }, 60_000);

  it('keeps the token closed to others', async () => {
    await using database = await testDatabase();
    await using directory = await temporaryDirectory();
    await using server = await startTestServer({
      env: { VMO_TOKEN: '', VMO_DATA_DIR: directory.path, DATABASE_URL: database.url },
    });
    const { mode } = await stat(join(directory.path, 'token'));
    expect(mode & 0o777).toBe(0o600);
    const token = (await readFile(join(directory.path, 'token'), 'utf8')).trim();
    expect(
      (await fetch(`${server.url}/api/v1/jobs`, { headers: { authorization: `Bearer ${token}` } })).status,
    ).toBe(200);
  }, 60_000);
});

describe('the address of a server', () => {
  it('stands in the data directory while it runs, closed to others', async () => {
    await using server = await startTestServer();
    const path = join(server.dataDirectory, 'address.json');
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ url: server.url, pid: server.pid });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await server.stop();
    await expect(stat(path)).rejects.toThrow('ENOENT');
  }, 60_000);
});

describe('a stop', () => {
  it('ends with 0 in time, and running jobs go on and are found again', async () => {
    await using server = await startTestServer();
    const flag = join(server.startDirectory, 'go');
    const command = `echo before; until [ -e ${flag} ]; do sleep 0.05; done; echo after`;
    const { job } = await server.client.call('submitJob', { body: { command } });
    const state = async () => (await server.client.call('getJob', { params: { jobId: job.id } })).job;
    await until('the job to run', async () => (await state()).status === 'running');
    const began = Date.now();
    expect(await server.stop()).toBe(0);
    expect(Date.now() - began).toBeLessThan(10_000);
    await server.restart();
    expect((await state()).status).toBe('running');
    await mkdir(flag);
    await until('the end', async () => (await state()).status === 'done');
    const log = await server.client.download('getLog', { params: { jobId: job.id }, query: {} });
    expect(await log.text()).toBe('before\nafter\n');
  }, 60_000);
});
