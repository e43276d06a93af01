import { appendFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HostId, type Host } from '@vmo/contract';
import { startFaultProxy, startSshd, temporaryDirectory, type FaultProxy, type TestSshd } from '@vmo/testkit';
import { createSshClient, type SshClient, type SshClientOptions } from './client.ts';
import { createSshHosts, type SshHosts } from './hosts.ts';
import { createSshStreamStrategy, type SshStrategyOptions } from './strategy.ts';
import type { Strategy } from '../run.ts';

/** A host for tests: a real sshd whose sessions have a home directory of their own, reached through a proxy that can fail. */
export interface SshPlace extends AsyncDisposable {
  sshd: TestSshd;
  proxy: FaultProxy;
  host: Host;
  /** Of those who log in. */
  home: string;
  /** Of this machine's side: known hosts, sockets, runs. */
  directory: string;
  client: SshClient;
  hosts: SshHosts;
  /** One more, as after a restart of ours. */
  strategy(change?: Partial<SshStrategyOptions>): Strategy;
  /** Names of the run directories on the host. */
  remoteRuns(): Promise<string[]>;
  /** Trusts the key without asking, as a person did before. */
  trust(): Promise<void>;
}

export interface PlaceOptions {
  trusted?: boolean;
  /** More lines of sshd_config. */
  settings?: readonly string[];
  client?: Partial<SshClientOptions>;
}

export async function createSshPlace(options: PlaceOptions = {}): Promise<SshPlace> {
  const stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('vmo-ssh-'));
  const home = join(path, 'home');
  await mkdir(home, { mode: 0o700 });
  const sshd = stack.use(await startSshd([...(options.settings ?? []), `SetEnv HOME=${home}`]));
  const proxy = stack.use(await startFaultProxy(sshd));
  const host: Host = {
    id: HostId.parse('0197f0c0-0000-7000-8000-000000000001'),
    name: 'build',
    address: proxy.host,
    user: sshd.user,
    port: proxy.port,
    identityFile: sshd.identityFile,
    createdAt: new Date(0).toISOString(),
  };
  const clientOptions = {
    knownHostsFile: join(path, 'known', 'known_hosts'),
    controlDirectory: join(path, 'control'),
    configFile: 'none',
    ...options.client,
  };
  const client = createSshClient(clientOptions);
  stack.defer(() => client.closeConnection(host));
  const place: SshPlace = {
    sshd,
    proxy,
    host,
    home,
    directory: path,
    client,
    hosts: createSshHosts({ ...clientOptions, client, otherKnownHosts: [] }),
    strategy: (change = {}) => createSshStreamStrategy({ ...clientOptions, ...change }),
    remoteRuns: async () =>
      (await readdir(join(home, '.vmo', 'runs')).catch(() => [])).filter(
        (name) => !name.startsWith('wrapper-'),
      ),
    async trust() {
      await mkdir(join(path, 'known'), { recursive: true });
      const key = sshd.knownHostsLine.split(' ').slice(1).join(' ');
      await appendFile(clientOptions.knownHostsFile, `[${proxy.host}]:${String(proxy.port)} ${key}\n`);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  if (options.trusted ?? true) await place.trust();
  return place;
}
