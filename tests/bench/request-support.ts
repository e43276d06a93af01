import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isFinal, type NewRequest, type RequestId, type SimulationRequest } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';

/** A machine as the cockpit starts it. */
export interface Machine {
  pid: number;
  argv: readonly string[];
  /** Its folder; QEMU names its files from there on. */
  directory: string;
}

const contentOf = (path: string) => readFile(path, 'latin1').catch(() => ''); // it has just ended

/**
 * Waits for the QEMU of this request. The shell that becomes it says who it is, and the process bears the name of QEMU from
 * its exec on: to look for one file and one process leaves the processors to what is measured.
 */
export async function machineOf(server: TestServer, uuid: RequestId): Promise<Machine> {
  const directory = join(server.dataDirectory, 'storage', 'vms', uuid);
  for (;;) {
    const pid = Number(/^pid=(\d+)$/m.exec(await contentOf(join(directory, 'qemu.pid')))?.[1] ?? NaN);
    if (pid > 0 && (await contentOf(`/proc/${String(pid)}/comm`)).startsWith('qemu-system')) {
      const argv = (await contentOf(`/proc/${String(pid)}/cmdline`)).split('\0').slice(0, -1);
      return { pid, argv, directory };
    }
    await delay(1);
  }
}

export async function submitRequest(server: TestServer, request: NewRequest): Promise<RequestId> {
  return (await server.client.call('submitRequest', { body: request })).uuid;
}

export const requestOf = (server: TestServer, requestId: RequestId, wait = 0): Promise<SimulationRequest> =>
  server.client.call('getRequest', { params: { requestId }, query: { wait } });

export async function requestEnded(server: TestServer, uuid: RequestId): Promise<SimulationRequest> {
  for (;;) {
    const request = await requestOf(server, uuid, 20);
    if (isFinal(request.status)) return request;
  }
}

export const cancelRequest = (server: TestServer, requestId: RequestId) =>
  server.client.call('deleteRequest', { params: { requestId } });

/**
 * The same QEMU with the same arguments, started by nobody but us: milliseconds until the runner in the guest says that it
 * is there. `directory`: a fresh one beside that of the machine.
 */
export async function plainToReady(argv: readonly string[], directory: string): Promise<number> {
  const [program = '', ...args] = argv;
  const words = args.join(' ');
  const reportSet = /id=vmo-report,path=\/dev\/fdset\/(\d+)/.exec(words)?.[1] ?? '';
  const passed = [...words.matchAll(/fd=(\d+),set=(\d+)/g)].map(([, fd, set]) => ({ fd: Number(fd), set }));
  await mkdir(join(directory, 'run'), { recursive: true });
  const report = join(directory, 'report');
  const log = await open(join(directory, 'qemu.log'), 'a');
  const files = await Promise.all(
    passed.map(({ set }) => open(set === reportSet ? report : join(directory, `set-${set ?? ''}`), 'a')),
  );
  const stdio: ('ignore' | number)[] = ['ignore', log.fd, log.fd];
  passed.forEach(({ fd }, index) => (stdio[fd] = files[index]?.fd ?? 'ignore'));
  const begin = performance.now();
  const child = spawn(program, args, { cwd: directory, stdio });
  try {
    while (!(await readFile(report, 'latin1')).includes(' hello ')) {
      if (child.exitCode !== null)
        throw new Error(`plain QEMU ended: ${await readFile(join(directory, 'qemu.log'), 'utf8')}`);
      await delay(2);
    }
    return performance.now() - begin;
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (const file of [log, ...files]) await file.close();
    await rm(directory, { recursive: true });
  }
}
