import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { endWithThisProcess } from './reaper.ts';
import { temporaryDirectory } from './temporary-directory.ts';
import { until } from './until.ts';

const run = promisify(execFile);

export interface TestSshd extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The account of this process. */
  readonly user: string;
  /** A private key that is let in. */
  readonly identityFile: string;
  /** The host key, as `SHA256:…`. */
  readonly fingerprint: string;
  /** A line for a known_hosts file. */
  readonly knownHostsLine: string;
  /** Everything it wrote to standard error. */
  readonly log: string;
  /** Ends the daemon and every connection, as a machine that goes down. */
  stop(): Promise<void>;
  /** Starts it again on the same port with the same key. */
  start(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => {
      resolve(false);
    });
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/**
 * The real sshd on a free loopback port, with its own host key and one authorised key.
 * @param settings lines of sshd_config, such as `SetEnv HOME=…`; the first line about a setting counts, so they go first
 */
export async function startSshd(settings: readonly string[] = []): Promise<TestSshd> {
  const stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('vmo-sshd-'));
  const file = (name: string) => join(path, name);
  const port = await freePort();
  const user = userInfo().username;
  for (const key of ['host_key', 'user_key']) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', key, '-f', file(key)]);
  }
  await writeFile(file('authorized_keys'), await readFile(file('user_key.pub')), { mode: 0o600 });
  await chmod(path, 0o700);
  const hostKey = (await readFile(file('host_key.pub'), 'utf8')).trim().split(' ').slice(0, 2).join(' ');
  const { stdout } = await run('ssh-keygen', ['-l', '-E', 'sha256', '-f', file('host_key.pub')]);
  const fingerprint = stdout.split(' ')[1] ?? '';
  await writeFile(
    file('config'),
    [
      ...settings,
      'ListenAddress 127.0.0.1',
      `Port ${String(port)}`,
      `HostKey ${file('host_key')}`,
      `AuthorizedKeysFile ${file('authorized_keys')}`,
      `PidFile ${file('pid')}`,
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      'MaxStartups 100',
      'MaxSessions 100',
      '',
    ].join('\n'),
  );
  // Debian's sshd insists on this directory for its unprivileged half.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });

  let log = '';
  let end: () => Promise<void> = () => Promise.resolve();

  async function start(): Promise<void> {
    // sshd runs itself again for every connection, hence the absolute path.
    const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', file('config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.on('data', (data: Buffer) => (log += data.toString()));
    const exited = once(child, 'exit');
    if (child.pid !== undefined) endWithThisProcess(child.pid, `${path}/pid`);
    end = async () => {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      await endConnections(child.pid);
      child.kill('SIGTERM');
      await exited;
    };
    await until('sshd', () => {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${log}`);
      return takesConnections(port);
    });
  }

  await start();
  stack.defer(() => end());
  return {
    host: '127.0.0.1',
    port,
    user,
    identityFile: file('user_key'),
    fingerprint,
    knownHostsLine: `[127.0.0.1]:${String(port)} ${hostKey}`,
    get log() {
      return log;
    },
    stop: () => end(),
    start,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Each connection is a child of the daemon (in a session of its own); what it runs may go on, as on a real machine. */
async function endConnections(daemon: number): Promise<void> {
  const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(daemon)]).catch(() => ({ stdout: '' }));
  for (const pid of stdout.split('\n').map(Number).filter(Boolean)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it ended by itself in the meantime
    }
  }
}
