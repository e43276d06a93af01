import { createHash, randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CodedError, type HostKey, type HostTest } from '@vmo/contract';
import {
  createSshClient,
  runProgram,
  type SshClient,
  type SshClientOptions,
  type SshTarget,
} from './client.ts';
import { converse, defaultReadyTimeoutMs } from './converse.ts';
import { lastLine, SshError } from './failure.ts';
import { callScript } from './remote-script.ts';

export interface RemoteCall {
  /** Absent: empty. */
  stdin?: string;
  /** Default 30 s. */
  timeoutMs?: number;
  /** Of stdout and of stderr; default 4 MiB. More is cut, and `truncated` says so. */
  maxBytes?: number;
}

export interface RemoteAnswer {
  code: number;
  stdout: string;
  stderr: string;
  truncated: boolean;
}

/** What people do with the hosts of the inventory. */
export interface SshHosts {
  /** Looks at the keys that the host presents, and logs in. Never throws for what is wrong with the host. */
  testHost(host: SshTarget): Promise<HostTest>;
  /**
   * Adds exactly the key with this fingerprint to our known hosts, when the host presents it now.
   * @throws CodedError HOST_KEY_UNTRUSTED when it presents others, HOST_UNREACHABLE when it presents none
   */
  trustHostKey(host: SshTarget, fingerprint: string): Promise<HostTest>;
  /**
   * Runs a script of POSIX sh on the host, to its end.
   * @throws CodedError HOST_UNREACHABLE, HOST_KEY_UNTRUSTED
   */
  runOnHost(host: SshTarget, script: string, call?: RemoteCall): Promise<RemoteAnswer>;
}

export interface SshHostsOptions extends SshClientOptions {
  /** Shares connections with others; absent: one of its own, after the other options. */
  client?: SshClient;
  /** Known hosts beside ours; default: the person's and the machine's. */
  otherKnownHosts?: readonly string[];
}

/** A line of known_hosts, or of ssh-keyscan. */
interface KeyLine {
  type: string;
  blob: string;
}

/** Where ssh goes for an address, after the person's configuration. */
interface Route {
  /** The name that known_hosts has it under. */
  knownAs: string;
  hostname: string;
  port: number;
  /** A jump host or proxy command is in between: nobody but ssh itself gets there. */
  proxied: boolean;
}

const fingerprintOf = ({ blob }: KeyLine) =>
  `SHA256:${createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '')}`;

/** `[marker] names type base64 [comment]`; what is marked (revoked, an authority) is not a key of a host. */
function parseKeyLines(text: string): KeyLine[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [names = '', type, blob] = line.trim().split(/\s+/);
    return names === '' || /^[#@]/.test(names) || !type || !blob || !/^[A-Za-z0-9+/]+=*$/.test(blob)
      ? []
      : [{ type, blob }];
  });
}

export function createSshHosts(options: SshHostsOptions): SshHosts {
  const client = options.client ?? createSshClient(options);
  const { knownHostsFile, keyscanProgram = 'ssh-keyscan', keygenProgram = 'ssh-keygen' } = client.options;
  const environment = { env: client.options.env };
  const others = options.otherKnownHosts ?? [
    join(homedir(), '.ssh', 'known_hosts'),
    '/etc/ssh/ssh_known_hosts',
  ];
  /** One writer of the file at a time. */
  let writing: Promise<unknown> = Promise.resolve();

  async function routeOf(host: SshTarget): Promise<Route> {
    const { code, stdout, stderr } = await client.run(host, ['-G']);
    if (code !== 0) {
      const message = `the OpenSSH client does not accept its configuration (${lastLine(stderr)}): check ~/.ssh/config`;
      throw new SshError({ kind: 'misconfigured', message });
    }
    const set = (key: string) => {
      const value = new RegExp(`^${key} (.+)$`, 'm').exec(stdout)?.[1];
      return value === undefined || value === 'none' ? '' : value;
    };
    const hostname = set('hostname').toLowerCase();
    const port = Number(set('port'));
    const alias = set('hostkeyalias');
    return {
      hostname,
      port,
      knownAs: alias || (port === 22 ? hostname : `[${hostname}]:${port}`),
      proxied: set('proxyjump') !== '' || set('proxycommand') !== '',
    };
  }

  /** The keys that the host presents now. */
  async function presentedKeys(host: SshTarget, { hostname, port, proxied }: Route): Promise<KeyLine[]> {
    if (proxied || !/^[A-Za-z0-9_:][A-Za-z0-9._:-]*$/.test(hostname)) return keyThroughProxy(host);
    const { stdout } = await runProgram(keyscanProgram, ['-T', '5', '-p', String(port), '--', hostname], {
      ...environment,
      timeoutMs: 20_000,
    });
    return parseKeyLines(stdout);
  }

  /** ssh itself learns the key on the way into a login that is not tried. */
  async function keyThroughProxy(host: SshTarget): Promise<KeyLine[]> {
    const file = `${knownHostsFile}.${randomUUID()}.scan`;
    const learning = [
      'StrictHostKeyChecking=accept-new',
      `UserKnownHostsFile="${file.replaceAll('%', '%%').replace(/["\\]/g, '\\$&')}"`,
      'GlobalKnownHostsFile=/dev/null',
      'HashKnownHosts=no',
      'PreferredAuthentications=none',
    ];
    await client.run(
      host,
      learning.flatMap((option) => ['-o', option]),
      'exit',
    );
    const text = await readFile(file, 'utf8').catch(() => '');
    await rm(file, { force: true });
    return parseKeyLines(text);
  }

  /** The keys that known_hosts files have for the host, also under hashed names. */
  async function knownKeys({ knownAs }: Route): Promise<KeyLine[]> {
    const found = await Promise.all(
      [knownHostsFile, ...others].map(async (file) => {
        const { stdout } = await runProgram(keygenProgram, ['-F', knownAs, '-f', file], {
          ...environment,
          timeoutMs: 5_000,
        });
        return parseKeyLines(stdout);
      }),
    );
    return found.flat();
  }

  const same = (one: KeyLine) => (other: KeyLine) => one.type === other.type && one.blob === other.blob;

  async function look(host: SshTarget): Promise<{ route: Route; presented: KeyLine[]; keys: HostKey[] }> {
    const route = await routeOf(host);
    const [presented, known] = await Promise.all([presentedKeys(host, route), knownKeys(route)]);
    const keys = presented.map((key) => ({
      type: key.type,
      fingerprint: fingerprintOf(key),
      trusted: known.some(same(key)),
    }));
    return { route, presented, keys };
  }

  async function call(host: SshTarget, script: string, how: RemoteCall): Promise<RemoteAnswer> {
    const { stdin, timeoutMs = defaultReadyTimeoutMs, maxBytes = 4 * 1024 * 1024 } = how;
    const answer = await converse(client, host, (nonce) => callScript(nonce, script, stdin !== undefined), {
      words: ['vmo-call'],
      segments: 3,
      timeoutMs,
      maxBytes,
      ...(stdin === undefined ? {} : { stdin }),
    });
    return {
      // Absent when the answer was cut.
      code: Number(/^code (\d+)$/m.exec(answer.text('stdout', 2))?.[1] ?? 255),
      stdout: answer.text('stdout', 1),
      stderr: answer.text('stderr', 1),
      truncated: answer.truncated,
    };
  }

  async function testHost(host: SshTarget): Promise<HostTest> {
    let keys: HostKey[] = [];
    try {
      ({ keys } = await look(host));
      const before = performance.now();
      const { stdout } = await call(host, 'printf "%s\\n%s\\n" "$(id -un)" "$(uname -n)"', {});
      const latencyMs = Math.round(performance.now() - before);
      const [user = '', machine = ''] = stdout.split('\n');
      return { ok: true, message: `logged in as ${user} on ${machine}`, keys, latencyMs };
    } catch (error) {
      if (!(error instanceof SshError)) throw error;
      return { ok: false, message: error.message, keys, latencyMs: null };
    }
  }

  /** The file without what it had for this host and type of key, and with this key; there whole or not at all. */
  async function write(knownAs: string, key: KeyLine): Promise<void> {
    const before = await readFile(knownHostsFile, 'utf8').catch(() => '');
    const kept = before.split('\n').filter((line) => {
      const [name, type] = line.split(' ');
      return line.trim() !== '' && !(name === knownAs && type === key.type);
    });
    const temporary = `${knownHostsFile}.${randomUUID()}.tmp`;
    await writeFile(temporary, [...kept, `${knownAs} ${key.type} ${key.blob}`, ''].join('\n'), {
      mode: 0o600,
    });
    await rename(temporary, knownHostsFile);
  }

  return {
    testHost,

    async trustHostKey(host, fingerprint) {
      const wanted = fingerprint.replace(/=+$/, '');
      const { route, presented } = await look(host).catch(asCoded);
      const key = presented.find((candidate) => fingerprintOf(candidate) === wanted);
      if (presented.length === 0)
        throw new CodedError(
          'HOST_UNREACHABLE',
          `${host.name} presents no key: check the address and port, and that its SSH server runs`,
        );
      if (!key) {
        const words = presented.map((one) => `${one.type} ${fingerprintOf(one)}`).join(', ');
        throw new CodedError(
          'HOST_KEY_UNTRUSTED',
          `${host.name} does not present the key ${wanted}, so nothing was trusted; it presents ${words}`,
        );
      }
      const written = writing.then(() => write(route.knownAs, key));
      writing = written.catch(() => undefined);
      await written;
      return testHost(host);
    },

    runOnHost: (host, script, how = {}) => call(host, script, how).catch(asCoded),
  };
}

/** In the words of the contract. */
function asCoded(error: unknown): never {
  if (!(error instanceof SshError)) throw error;
  const untrusted = error.kind === 'unknown-key' || error.kind === 'changed-key';
  throw new CodedError(untrusted ? 'HOST_KEY_UNTRUSTED' : 'HOST_UNREACHABLE', error.message, {
    cause: error,
  });
}
