import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { AgentId } from '@vmo/contract';
import { processesOfJobs } from './processes.ts';
import type { TestServer } from './server.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const program = join(import.meta.dirname, '..', '..', '..', 'apps', 'agent', 'run.sh');
const readyTimeoutMs = 60_000;

export interface TestAgentOptions {
  name: string;
  /** The address of a proxy in between; default: the server's own. */
  through?: string;
  env?: Readonly<Record<string, string>>;
}

export interface TestAgent extends AsyncDisposable {
  readonly id: AgentId;
  readonly name: string;
  readonly token: string;
  readonly dataDirectory: string;
  readonly pid: number;
  /** Everything it wrote to standard error. */
  readonly log: string;
  /** The pid of the process that ends its runs when its lease is over. */
  guardian(): Promise<number>;
  /** Resolves with its exit code when it ends. */
  exited(): Promise<number | null>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after its end, with the same data and token. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>;
}

/** Makes a token at the server and starts an agent with it, as a process of its own. It ends with this process. */
export async function startTestAgent(server: TestServer, options: TestAgentOptions): Promise<TestAgent> {
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory('vmo-agent-'));
  const { agent, token } = await server.client.call('addAgent', { body: { name: options.name } });
  let child: ChildProcess;
  let log = '';

  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;

  async function launch(env: Readonly<Record<string, string>>): Promise<void> {
    child = spawn('/bin/sh', [program], {
      cwd: directory.path,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        HOME: homedir(),
        VMO_NODE: process.execPath,
        VMO_SERVER: options.through ?? server.url,
        VMO_AGENT_TOKEN: token,
        VMO_AGENT_DATA_DIR: directory.path,
        VMO_LOG_LEVEL: 'warn',
        VMO_EXIT_WITH_PARENT: '1',
        // What QEMU can do here is tried only where requests are to run.
        VMO_AGENT_COUNT: '0',
        ...options.env,
        ...env,
      },
    });
    child.stderr?.on('data', (data: Buffer) => (log += data.toString()));
    if (!child.stdout) throw new Error('the agent has no standard output');
    const lines = createInterface(child.stdout);
    const ready = once(lines, 'line', { signal: AbortSignal.timeout(readyTimeoutMs) });
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the agent ended with ${String(code)} before it was ready: ${log}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ready, ended]);
  }

  async function exited(): Promise<number | null> {
    if (!hasEnded()) await once(child, 'exit');
    return child.exitCode;
  }

  const readGuardian = async () =>
    Number(
      /"pid":(\d+)/.exec(await readFile(join(directory.path, 'guardian'), 'utf8').catch(() => ''))?.[1] ?? 0,
    );

  stack.defer(async () => {
    if (!hasEnded()) {
      child.kill('SIGKILL');
      await exited();
    }
    // Runs and guardian outlive their agent.
    const pid = await readGuardian();
    if (pid > 1) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has gone by itself.
      }
    }
    const runs = await readdir(join(directory.path, 'runs')).catch(() => []);
    for (const left of await processesOfJobs(new Set(runs.map((name) => name.replace(/\.\d+$/, '')))))
      process.kill(left, 'SIGKILL');
  });
  try {
    await launch({});
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
  return {
    ...{ id: agent.id, name: agent.name, token, dataDirectory: directory.path },
    get pid() {
      return child.pid ?? 0;
    },
    get log() {
      return log;
    },
    guardian: readGuardian,
    exited,
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL');
      await exited();
    },
    restart: launch,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
