import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isFinal, type Host, type Job, type JobSubmission } from '@vmo/contract';
import {
  startFaultProxy,
  startSshd,
  startTestServer,
  temporaryDirectory,
  until,
  type FaultProxy,
  type TestServer,
  type TestSshd,
} from '@vmo/testkit';

/** The real server, and a real sshd whose sessions have a home directory of their own. */
export interface HostPlace extends AsyncDisposable {
  server: TestServer;
  sshd: TestSshd;
  /** Of those who log in there. */
  home: string;
  /** A host of the inventory behind a proxy, so that each has a port, and with it a known key, of its own. */
  addHost(name: string, target?: { host: string; port: number }): Promise<{ host: Host; proxy: FaultProxy }>;
  /** The same, with its key trusted. */
  trustedHost(name: string): Promise<{ host: Host; proxy: FaultProxy }>;
  /** Submits over the socket. */
  submit(submission: JobSubmission): Promise<Job>;
  /** The job when `is` holds for it; at its end by default. */
  when(job: Job, is?: (job: Job) => boolean): Promise<Job>;
  bytes(job: Job, stream?: 'stdout' | 'stderr' | 'system'): Promise<Buffer>;
}

export async function startHostPlace(environment = ''): Promise<HostPlace> {
  const stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('vmo-hosts-'));
  const home = join(path, 'home');
  await mkdir(home, { mode: 0o700 });
  const sshd = stack.use(await startSshd([`SetEnv HOME=${home} ${environment}`]));
  const server = stack.use(await startTestServer({ env: { VMO_CANCEL_GRACE_SECONDS: '1' } }));
  const { client } = server;

  async function addHost(name: string, target: { host: string; port: number } = sshd) {
    const proxy = stack.use(await startFaultProxy(target));
    const { user, identityFile } = sshd;
    const body = { name, address: proxy.host, port: proxy.port, user, identityFile };
    const { host } = await client.call('addHost', { body });
    return { host, proxy };
  }

  return {
    server,
    sshd,
    home,
    addHost,
    async trustedHost(name) {
      const added = await addHost(name);
      const { fingerprint } = sshd;
      await client.call('trustHost', { params: { hostId: added.host.id }, body: { fingerprint } });
      return added;
    },
    async submit(submission) {
      const connection = server.connect();
      try {
        return (await connection.command('execute-command', submission)).job;
      } finally {
        connection.close();
      }
    },
    when: ({ id }, is = ({ status }) => isFinal(status)) =>
      until(
        `job ${id}`,
        async () => {
          const { job } = await client.call('getJob', { params: { jobId: id } });
          return is(job) && job;
        },
        { timeoutMs: 30_000 },
      ),
    async bytes({ id }, stream) {
      const query = stream === undefined ? {} : { stream };
      const response = await client.download('getLog', { params: { jobId: id }, query });
      return Buffer.from(await response.arrayBuffer());
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** What a call is refused with. */
export async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await call;
  } catch (error) {
    if (error instanceof CodedError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('it was not refused');
}
