import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { HostId, type Host } from '@vmo/contract';
import { startSshd, temporaryDirectory, until } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSshClient } from './client.ts';
import { createSshHosts } from './hosts.ts';
import { createSshStreamStrategy } from './strategy.ts';
import { buildSpec } from '../testing.ts';
import { createSshPlace, type SshPlace } from './testing.ts';

describe('a host whose key nobody has trusted', () => {
  let place: SshPlace;
  beforeAll(async () => {
    place = await createSshPlace({ trusted: false });
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it('shows its key, is not connected to, and refuses every command', async () => {
    const test = await place.hosts.testHost(place.host);
    expect(test).toEqual({
      ok: false,
      message: 'the key of build is not trusted: open Hosts, test it, compare the fingerprint and trust it',
      keys: [{ type: 'ssh-ed25519', fingerprint: place.sshd.fingerprint, trusted: false }],
      latencyMs: null,
    });
    await expect(place.hosts.runOnHost(place.host, 'true')).rejects.toMatchObject({
      code: 'HOST_KEY_UNTRUSTED',
    });
  });

  it('trusts no key that the host does not present', async () => {
    const wanted = `SHA256:${'A'.repeat(43)}`;
    await expect(place.hosts.trustHostKey(place.host, wanted)).rejects.toMatchObject({
      code: 'HOST_KEY_UNTRUSTED',
      message: `build does not present the key ${wanted}, so nothing was trusted; it presents ssh-ed25519 ${place.sshd.fingerprint}`,
    });
    await expect(readFile(place.client.options.knownHostsFile)).rejects.toThrow('ENOENT');
  });

  it('trusts the key with the fingerprint, in a file of its own, and then logs in', async () => {
    const test = await place.hosts.trustHostKey(place.host, `${place.sshd.fingerprint}=`);
    expect(test).toMatchObject({ ok: true, keys: [{ trusted: true }] });
    expect(test.message).toContain(`logged in as ${userInfo().username} on `);
    expect(test.latencyMs).toBeGreaterThan(0);
    const { knownHostsFile } = place.client.options;
    expect((await stat(knownHostsFile)).mode & 0o777).toBe(0o600);
    expect((await stat(join(knownHostsFile, '..'))).mode & 0o777).toBe(0o700);
    expect((await readFile(knownHostsFile, 'utf8')).split('\n')).toHaveLength(2);
    await place.hosts.trustHostKey(place.host, place.sshd.fingerprint);
    expect((await readFile(knownHostsFile, 'utf8')).split('\n')).toHaveLength(2);
  });

  it('names a changed key as a possible attack, until somebody trusts the new one', async () => {
    await using other = await startSshd();
    const key = other.knownHostsLine.split(' ').slice(1).join(' ');
    const { knownHostsFile } = place.client.options;
    await writeFile(knownHostsFile, `[127.0.0.1]:${String(place.proxy.port)} ${key}\n`);
    await place.client.closeConnection(place.host);
    const test = await place.hosts.testHost(place.host);
    expect(test.ok).toBe(false);
    expect(test.message).toContain('possible attack');
    await expect(place.hosts.runOnHost(place.host, 'true')).rejects.toMatchObject({
      code: 'HOST_KEY_UNTRUSTED',
    });
    expect(await place.hosts.trustHostKey(place.host, place.sshd.fingerprint)).toMatchObject({ ok: true });
    expect(await readFile(knownHostsFile, 'utf8')).not.toContain(key);
  });
});

describe('a host that is trusted', () => {
  let place: SshPlace;
  beforeAll(async () => {
    place = await createSshPlace();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it('runs scripts with and without input, and tells their exit code', async () => {
    const { hosts, host, home } = place;
    expect(await hosts.runOnHost(host, 'echo out; echo "it\'s" >&2; cat; umask; exit 3')).toMatchObject({
      code: 3,
      stdout: `out\n${execFileSync('sh', ['-c', 'umask'], { encoding: 'utf8' }).trim()}\n`,
      stderr: "it's\n",
      truncated: false,
    });
    expect(await hosts.runOnHost(host, 'cat; echo "$HOME"', { stdin: 'two\nlines' })).toEqual({
      code: 0,
      stdout: `two\nlines${home}\n`,
      stderr: '',
      truncated: false,
    });
  });

  it('is not confused by a login shell that talks', async () => {
    await writeFile(join(place.home, '.bashrc'), 'echo welcome; echo warning >&2\n');
    try {
      expect(await place.hosts.runOnHost(place.host, 'echo out; echo err >&2')).toMatchObject({
        stdout: 'out\n',
        stderr: 'err\n',
      });
    } finally {
      await rm(join(place.home, '.bashrc'));
    }
  });

  it('cuts an answer that is too long', async () => {
    const answer = await place.hosts.runOnHost(place.host, 'while :; do echo 123456789; done', {
      maxBytes: 100_000,
    });
    expect(answer.truncated).toBe(true);
    expect(answer.stdout.length).toBeLessThanOrEqual(100_000);
  });

  it('gives a script its time, and ends it with what it started', async () => {
    const file = join(place.home, 'pid');
    const script = `sh -c 'echo $$ >${file}; exec sleep 300'; true`;
    // Long enough for a busy host to begin it.
    await expect(place.hosts.runOnHost(place.host, script, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'HOST_UNREACHABLE',
      message: 'build did not answer within 2 s',
    });
    const pid = (await readFile(file, 'utf8')).trim();
    await until('its end', () =>
      stat(`/proc/${pid}`).then(
        () => false,
        () => true,
      ),
    );
  });

  it('refuses a user whom it does not know with what to do', async () => {
    const test = await place.hosts.testHost({ ...place.host, user: 'nobody-here' });
    expect(test).toMatchObject({ ok: false, keys: [{ trusted: true }] });
    expect(test.message).toMatch(/^build refused the login .*authorized_keys/);
  });

  it('says that nobody answers', async () => {
    place.proxy.set({ kind: 'refuse' });
    await place.client.closeConnection(place.host);
    try {
      const test = await place.hosts.testHost(place.host);
      expect(test).toMatchObject({ ok: false, keys: [], latencyMs: null });
      expect(test.message).toContain('build');
      await expect(place.hosts.trustHostKey(place.host, place.sshd.fingerprint)).rejects.toMatchObject({
        code: 'HOST_UNREACHABLE',
      });
    } finally {
      place.proxy.set({ kind: 'pass' });
    }
  });

  it('uses one connection for all, and a new one when the shared one is stale', async () => {
    const { hosts, host, client, proxy } = place;
    await hosts.runOnHost(host, 'true');
    await Promise.all([hosts.runOnHost(host, 'true'), hosts.runOnHost(host, 'true')]);
    expect(proxy.connections).toBe(1);
    await client.dropConnection(host);
    expect(await hosts.runOnHost(host, 'true')).toMatchObject({ code: 0 });
    expect(proxy.connections).toBe(2);
    proxy.cut();
    expect(await hosts.runOnHost(host, 'true').catch(() => hosts.runOnHost(host, 'true'))).toMatchObject({
      code: 0,
    });
    const { controlDirectory } = client.options;
    expect((await stat(controlDirectory)).mode & 0o777).toBe(0o700);
    expect((await readdir(controlDirectory)).filter((name) => name.startsWith('log-'))).toEqual([]);
  });

  it('can be a name of the SSH configuration, with an alias for its key, and behind a jump host', async () => {
    const { sshd, directory, host } = place;
    const key = sshd.knownHostsLine.split(' ').slice(1).join(' ');
    const knownHostsFile = join(directory, 'aliases', 'known_hosts');
    const jumps = join(directory, 'jump-known-hosts');
    await writeFile(jumps, `${sshd.knownHostsLine}\n`);
    const configFile = join(directory, 'config');
    const login = `User ${sshd.user}\n  IdentityFile ${sshd.identityFile}\n  HostName 127.0.0.1\n  Port ${String(sshd.port)}`;
    await writeFile(
      configFile,
      `Host inner\n  ${login}\n  ProxyJump gate\n  HostKeyAlias inner-key\nHost gate\n  ${login}\n  UserKnownHostsFile ${jumps}\n`,
    );
    const client = createSshClient({ ...place.client.options, knownHostsFile, configFile });
    const hosts = createSshHosts({ ...client.options, client, otherKnownHosts: [] });
    const inner: Host = {
      ...host,
      name: 'inner',
      address: 'inner',
      user: null,
      port: null,
      identityFile: null,
    };
    try {
      expect(await hosts.testHost(inner)).toMatchObject({
        ok: false,
        keys: [{ fingerprint: sshd.fingerprint, trusted: false }],
      });
      expect(await hosts.trustHostKey(inner, sshd.fingerprint)).toMatchObject({
        ok: true,
        keys: [{ trusted: true }],
      });
      expect(await readFile(knownHostsFile, 'utf8')).toBe(`inner-key ${key.trim()}\n`);
    } finally {
      await client.closeConnection(inner);
    }
  });

  it('reports a configuration that ssh does not take', async () => {
    const configFile = join(place.directory, 'bad-config');
    await writeFile(configFile, 'NoSuchOption yes\n');
    const hosts = createSshHosts({ ...place.client.options, configFile });
    expect(await hosts.testHost(place.host)).toMatchObject({ ok: false, keys: [] });
    await expect(hosts.trustHostKey(place.host, place.sshd.fingerprint)).rejects.toMatchObject({
      code: 'HOST_UNREACHABLE',
    });
  });

  it('fails as a bug does when our own files cannot be there', async () => {
    const file = join(place.directory, 'a-file');
    await writeFile(file, '');
    const hosts = createSshHosts({ ...place.client.options, knownHostsFile: join(file, 'known_hosts') });
    await expect(hosts.testHost(place.host)).rejects.toThrow(file);
    await expect(hosts.runOnHost(place.host, 'true')).rejects.toThrow(file);
  });

  it('needs the OpenSSH client', async () => {
    for (const change of [{ program: '/no/such/ssh' }, { keyscanProgram: '/no/such/keyscan' }]) {
      const hosts = createSshHosts({ ...place.client.options, ...change });
      const test = await hosts.testHost(place.host);
      expect(test).toMatchObject({ ok: false, keys: [] });
      expect(test.message).toContain('cannot be run');
    }
    const hosts = createSshHosts({ ...place.client.options, program: '/no/such/ssh' });
    await expect(hosts.runOnHost(place.host, 'true')).rejects.toMatchObject({ code: 'HOST_UNREACHABLE' });
  });
});

describe('the sockets of shared connections', () => {
  const long = (path: string) => join(path, 'a-directory-with-a-very-long-name'.repeat(3));

  it('have a short path where the directory has a long one', async () => {
    await using place = await createSshPlace();
    const { knownHostsFile } = place.client.options;
    const client = createSshClient({ knownHostsFile, controlDirectory: long(place.directory) });
    const hosts = createSshHosts({ ...client.options, client });
    expect(await hosts.runOnHost(place.host, 'echo yes')).toMatchObject({ stdout: 'yes\n' });
    expect(place.proxy.connections).toBe(1);
    await client.closeConnection(place.host);
    const short = join(
      tmpdir(),
      `vmo-ssh-${String(userInfo().uid)}-${createHash('sha256').update(long(place.directory)).digest('hex').slice(0, 8)}`,
    );
    await chmod(short, 0o755);
    const again = createSshClient(client.options);
    await expect(again.open(place.host)).rejects.toThrow('is not a directory of our own');
    const spec = buildSpec(place.directory, 'true', { host: place.host });
    await expect(createSshStreamStrategy({ ...client.options, client: again }).start(spec)).rejects.toThrow(
      'is not a directory of our own',
    );
    await rm(short, { recursive: true });
  });
});

describe('hostile addresses, users and keys', () => {
  it('are refused or are one literal argument: the canary never appears', async () => {
    await using directory = await temporaryDirectory();
    const canary = join(directory.path, 'canary');
    const client = createSshClient({
      knownHostsFile: join(directory.path, 'known_hosts'),
      controlDirectory: await mkdtemp(join(directory.path, 'c-')),
      configFile: 'none',
    });
    const hosts = createSshHosts({ ...client.options, client });
    const host: Host = {
      id: HostId.parse('0197f0c0-0000-7000-8000-000000000001'),
      name: 'build',
      address: '127.0.0.1',
      user: null,
      port: 1,
      identityFile: null,
      createdAt: new Date(0).toISOString(),
    };
    const proxy = `-oProxyCommand=touch ${canary}`;
    const hostile = [
      ...[
        proxy,
        '-oProxyCommand=x',
        `a\n${proxy}`,
        `a\0b`,
        `a,b`,
        `$(touch ${canary})`,
        '`id`',
        'a b',
        '',
        '-',
      ],
    ];
    for (const words of hostile) {
      for (const change of [{ address: words }, { user: words }, { identityFile: words }]) {
        const test = await hosts.testHost({ ...host, ...change });
        expect(test).toMatchObject({ ok: false, keys: [] });
        expect(test.message).toContain('cannot be used');
      }
    }
    for (const port of [0, 65_536, 1.5])
      expect((await hosts.testHost({ ...host, port })).message).toContain('the port of this host');
    // A path may hold anything; ssh must take it for a path.
    const odd = join(directory.path, '-oProxyCommand=touch %h $(touch canary) "x"');
    await mkdir(odd);
    expect(await hosts.testHost({ ...host, identityFile: odd })).toMatchObject({ ok: false });
    await expect(stat(canary)).rejects.toThrow('ENOENT');
    expect((await readdir(directory.path)).filter((name) => name.startsWith('canary'))).toEqual([]);
  });
});
