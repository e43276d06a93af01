import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { temporaryDirectory } from '@vmo/testkit';
import { startQmpMonitor, type QmpMonitor, type QmpMonitorOptions } from './monitor.ts';

export interface TestQemu extends AsyncDisposable {
  /** Of its monitor. Exists a moment after the start. */
  path: string;
  process: ChildProcess;
  exited: Promise<unknown>;
  isAlive: () => boolean;
}

/** A real QEMU without disks and display; `q35` with processors that are emulated and stopped. */
export async function startQemu(machine: 'none' | 'q35'): Promise<TestQemu> {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'qmp.sock');
  const kind = machine === 'none' ? ['none'] : ['q35', '-accel', 'tcg', '-m', '64', '-S'];
  const monitor = `unix:${path},server=on,wait=off`;
  const child = spawn(
    'qemu-system-x86_64',
    ['-machine', ...kind, '-nodefaults', '-display', 'none', '-qmp', monitor],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  return {
    path,
    process: child,
    exited,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      await directory[Symbol.asyncDispose]();
    },
  };
}

export interface Watched extends AsyncDisposable {
  monitor: QmpMonitor;
  /** What was called, in order: `connected`, `disconnected: gone`, `silent`, `answering`, the names of events. */
  calls: string[];
  /** When `call` has been made (again) after everything that was waited for before. */
  next: (call: string) => Promise<void>;
}

/** A monitor whose calls are written down. */
export function watch(options: Partial<QmpMonitorOptions> & { path: string }): Watched {
  const calls: string[] = [];
  let seen = 0;
  let wake = Promise.withResolvers<undefined>();
  function note(call: string): void {
    calls.push(call);
    wake.resolve(undefined);
    wake = Promise.withResolvers();
  }
  const monitor = startQmpMonitor({
    isAlive: () => true,
    ...options,
    async onConnected(client) {
      note('connected');
      await options.onConnected?.(client);
    },
    onDisconnected(reason) {
      note(`disconnected: ${reason.kind}`);
      options.onDisconnected?.(reason);
    },
    onEvent: ({ event }) => note(event),
    onSilent: () => note('silent'),
    onAnswering: () => note('answering'),
  });
  return {
    monitor,
    calls,
    async next(call) {
      for (;;) {
        const found = calls.indexOf(call, seen);
        if (found >= 0) {
          seen = found + 1;
          return;
        }
        await wake.promise;
      }
    },
    [Symbol.asyncDispose]: () => monitor.close(),
  };
}
