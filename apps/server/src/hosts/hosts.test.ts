import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostId } from '@vmo/contract';
import { startSshd } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusal, startHostPlace, type HostPlace } from './host.test.support.ts';

let place: HostPlace;
beforeAll(async () => {
  place = await startHostPlace();
}, 60_000);
afterAll(() => place[Symbol.asyncDispose]());

const call = (name: 'testHost' | 'removeHost', hostId: HostId) =>
  place.server.client.call(name, { params: { hostId } });
const testOf = async (hostId: HostId) =>
  (await place.server.client.call('testHost', { params: { hostId } })).test;

describe('a host', () => {
  it('is added, listed, changed and removed', async () => {
    const { client } = place.server;
    const added = await client.call('addHost', { body: { name: 'first', address: 'build.example.com' } });
    expect(added.host).toMatchObject({ name: 'first', user: null, port: null, identityFile: null });
    const params = { hostId: added.host.id };
    const { host } = await client.call('changeHost', { params, body: { port: 2222, user: 'ci' } });
    expect(host).toEqual({ ...added.host, port: 2222, user: 'ci' });
    const again = client.call('addHost', { body: { name: 'FIRST', address: 'x' } });
    expect(await refusal(again)).toMatchObject({ code: 'NAME_TAKEN' });
    expect((await client.call('listHosts')).hosts).toContainEqual(host);
    await call('removeHost', host.id);
    expect((await client.call('listHosts')).hosts).not.toContainEqual(host);
    expect(await refusal(call('removeHost', host.id))).toMatchObject({ code: 'HOST_NOT_FOUND' });
    expect(await refusal(call('testHost', host.id))).toMatchObject({ code: 'HOST_NOT_FOUND' });
  });

  it('shows its fingerprint, and lets in once that is trusted', async () => {
    const { host } = await place.addHost('to be trusted');
    const { fingerprint } = place.sshd;
    const before = await testOf(host.id);
    expect(before).toMatchObject({ ok: false, keys: [{ type: 'ssh-ed25519', fingerprint, trusted: false }] });
    expect(before.message).toMatch(/is not trusted: open Hosts/);
    const params = { hostId: host.id };
    const other = { fingerprint: `SHA256:${'A'.repeat(43)}` };
    expect(await refusal(place.server.client.call('trustHost', { params, body: other }))).toMatchObject({
      code: 'HOST_KEY_UNTRUSTED',
    });
    const { test } = await place.server.client.call('trustHost', { params, body: { fingerprint } });
    expect(test).toMatchObject({ ok: true, keys: [{ fingerprint, trusted: true }] });
    expect(await testOf(host.id)).toMatchObject({ ok: true, latencyMs: expect.any(Number) as number });
  });

  it('that presents another key than the trusted one is refused with a warning, until that is trusted', async () => {
    await using other = await startSshd();
    const target = { host: '127.0.0.1', port: place.sshd.port };
    const { host, proxy } = await place.addHost('swapped', target);
    const params = { hostId: host.id };
    const { client } = place.server;
    const trust = (fingerprint: string) => client.call('trustHost', { params, body: { fingerprint } });
    expect((await trust(place.sshd.fingerprint)).test.ok).toBe(true);
    target.port = other.port;
    proxy.cut();
    const changed = await testOf(host.id);
    expect(changed).toMatchObject({ ok: false, keys: [{ fingerprint: other.fingerprint, trusted: false }] });
    expect(changed.message).toMatch(/another key than the trusted one/);
    const job = await place.when(await place.submit({ command: 'true', host: 'swapped' }));
    expect(job).toMatchObject({ status: 'failed', exitCode: null });
    expect(job.reason).toMatch(/another key than the trusted one/);
    await client.call('changeHost', { params, body: { identityFile: other.identityFile } });
    expect((await trust(other.fingerprint)).test).toMatchObject({ ok: true, keys: [{ trusted: true }] });
  });

  it('that cannot be reached says so, and what to check', async () => {
    const { host, proxy } = await place.addHost('switched off');
    await proxy[Symbol.asyncDispose]();
    const test = await testOf(host.id);
    expect(test).toMatchObject({ ok: false, keys: [], latencyMs: null });
    expect(test.message).toMatch(/cannot be reached .*check the address and port/);
    const fingerprint = { fingerprint: place.sshd.fingerprint };
    const trust = place.server.client.call('trustHost', { params: { hostId: host.id }, body: fingerprint });
    expect(await refusal(trust)).toMatchObject({ code: 'HOST_UNREACHABLE' });
  });

  it('stays while a workspace is on it', async () => {
    const { host } = await place.trustedHost('with a workspace');
    const body = { name: 'far away', directory: place.home, hostId: host.id };
    const { workspace } = await place.server.client.call('addWorkspace', { body });
    const { code, message } = await refusal(call('removeHost', host.id));
    expect([code, message]).toEqual(['HOST_IN_USE', expect.stringContaining('workspace')]);
    await place.server.client.call('removeWorkspace', { params: { workspaceId: workspace.id } });
    await call('removeHost', host.id);
  });

  it('stays while a job on it has not ended', async () => {
    const { host } = await place.trustedHost('with a job');
    const job = await place.submit({ command: 'sleep 600', host: host.name });
    await place.when(job, ({ status }) => status === 'running');
    const { code, message } = await refusal(call('removeHost', host.id));
    expect([code, message]).toEqual([
      'HOST_IN_USE',
      expect.stringContaining('a job on this host has not ended'),
    ]);
    await place.server.client.call('cancelJob', { body: { jobId: job.id } });
    expect((await place.when(job)).status).toBe('cancelled');
    await call('removeHost', host.id);
    expect(await place.when(job)).toMatchObject({ status: 'cancelled', hostId: null });
  }, 30_000);

  it('that is removed while a job is submitted either goes, and the job is refused, or stays', async () => {
    for (let round = 0; round < 20; round++) {
      const name = `contended ${round}`;
      const { host } = await place.server.client.call('addHost', {
        body: { name, address: '127.0.0.1', port: 1 },
      });
      const [job, removal] = await Promise.allSettled([
        place.server.client.call('submitJob', { body: { command: 'true', host: name } }),
        call('removeHost', host.id),
      ]);
      if (job.status === 'rejected') expect(job.reason).toMatchObject({ code: 'HOST_NOT_FOUND' });
      if (removal.status === 'rejected') expect(removal.reason).toMatchObject({ code: 'HOST_IN_USE' });
      expect([job.status, removal.status]).toContain('fulfilled');
    }
  });
});

describe('what ssh or a shell could misunderstand', () => {
  const noCanary = async () => {
    expect((await readdir(place.home)).filter((name) => name.includes('canary'))).toEqual([]);
    expect(existsSync(join(place.server.startDirectory, 'canary'))).toBe(false);
  };
  const canary = () => join(place.home, 'canary');

  it.each([
    ['-oProxyCommand=touch CANARY'],
    ['-oProxyCommand=touch${IFS}CANARY'],
    ['--'],
    ['$(touch CANARY)'],
    ['`touch CANARY`'],
    ['127.0.0.1\n-oProxyCommand=touch CANARY'],
    ['127.0.0.1\0'],
    ['127.0.0.1,touch CANARY'],
    ['127.0.0.1 -oProxyCommand=x'],
    ['127.0.0.1;touch CANARY'],
    ['%n'],
    ['root@127.0.0.1'],
  ])('is refused as address and as user: %j', async (pattern) => {
    const { client } = place.server;
    const text = pattern.replaceAll('CANARY', canary());
    const address = client.call('addHost', { body: { name: 'evil', address: text } });
    expect(await refusal(address)).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('address') as string,
    });
    const user = client.call('addHost', { body: { name: 'evil', address: 'localhost', user: text } });
    expect(await refusal(user)).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('user') as string,
    });
    await noCanary();
  });

  it('is refused as a change, and as the host of a job', async () => {
    const { host } = await place.addHost('honest');
    const evil = `-oProxyCommand=touch ${canary()}`;
    const params = { hostId: host.id };
    for (const body of [{ address: evil }, { user: evil }]) {
      const change = place.server.client.call('changeHost', { params, body });
      expect(await refusal(change)).toMatchObject({ code: 'INVALID_INPUT' });
    }
    expect(await refusal(place.submit({ command: 'true', type: 'ssh', host: evil }))).toMatchObject({
      code: 'HOST_NOT_FOUND',
    });
    await noCanary();
  });

  it('is one literal word as name, identity file, directory and variable', async () => {
    const { client } = place.server;
    const evil = `$(touch ${canary()})'"; touch ${canary()} #%h`;
    const { host } = await place.trustedHost(`-oProxyCommand=${evil}`.slice(0, 100));
    const params = { hostId: host.id };
    const nowhere = { name: 'nowhere', directory: `/${evil}`, hostId: host.id };
    expect(await refusal(client.call('addWorkspace', { body: nowhere }))).toMatchObject({
      code: 'DIRECTORY_UNUSABLE',
      message: expect.stringContaining('does not exist') as string,
    });
    const job = await place.submit({ command: 'printf %s "$WORD"', host: host.id, env: { WORD: evil } });
    expect(await place.when(job)).toMatchObject({ status: 'done' });
    expect((await place.bytes(job, 'stdout')).toString()).toBe(evil);
    const lost = await place.submit({ command: 'true', host: host.id, cwd: `/${evil}` });
    expect(await place.when(lost)).toMatchObject({ status: 'failed' });
    for (const identityFile of [`/${evil}`, '/key\nProxyCommand touch canary']) {
      await client.call('changeHost', { params, body: { identityFile } });
      expect((await testOf(host.id)).ok).toBe(false);
    }
    await noCanary();
  }, 30_000);
});
