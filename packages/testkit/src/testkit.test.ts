import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import {
  startFaultProxy,
  startSshd,
  startTestServer,
  temporaryDirectory,
  testDatabase,
  until,
} from './index.ts';

const run = promisify(execFile);

describe('the test kit', () => {
  it('gives each test a migrated database of its own', async () => {
    await using first = await testDatabase();
    await using second = await testDatabase();
    await sql`create table mine (n int)`.execute(first.db);
    const found = await sql<{ jobs: string | null; mine: string | null }>`
      select to_regclass('jobs')::text as jobs, to_regclass('mine')::text as mine`.execute(second.db);
    expect(found.rows).toEqual([{ jobs: 'jobs', mine: null }]);
  });

  it('starts the real server, kills it and starts it again on the same port', async () => {
    await using server = await startTestServer();
    const { url } = server;
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    await server.kill();
    await expect(fetch(`${url}/readyz`)).rejects.toThrow();
    await server.restart();
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await server.stop()).toBe(0);
  });

  it('starts a real sshd that lets its key in, also through the proxy, and is cut by it', async () => {
    await using sshd = await startSshd();
    await using proxy = await startFaultProxy(sshd);
    await using directory = await temporaryDirectory();
    const knownHosts = join(directory.path, 'known_hosts');
    await writeFile(knownHosts, sshd.knownHostsLine.replace(String(sshd.port), String(proxy.port)));
    const ssh = (command: string) =>
      run('ssh', [
        ...[
          '-F',
          'none',
          '-o',
          'BatchMode=yes',
          '-o',
          `UserKnownHostsFile=${knownHosts}`,
          '-o',
          'IdentitiesOnly=yes',
        ],
        ...['-i', sshd.identityFile, '-p', String(proxy.port), '-l', sshd.user, '--', proxy.host, command],
      ]);
    expect((await ssh('echo hello')).stdout).toBe('hello\n');
    const sleeping = ssh('echo; sleep 60');
    const connection = connect(proxy.port, proxy.host);
    const cut = once(connection, 'error');
    await once(connection, 'data');
    await until('both connections', () => proxy.connections === 2);
    proxy.cut();
    await expect(sleeping).rejects.toThrow();
    await cut;
    await sshd.stop();
    await expect(ssh('true')).rejects.toThrow();
    await sshd.start();
    expect((await ssh('echo again')).stdout).toBe('again\n');
  });
});
