import { isAlive, signalProcess, type ProcessIdentity, type ProcessTable } from '@vmo/execution';
import { DriverError, type MachineStatus } from '../driver.ts';
import type { QmpEventOf } from '../qmp/command.ts';
import { isQmpEvent, type Execute } from '../qmp/command.ts';
import type { QmpEvent } from '../qmp/messages.ts';
import { startQmpMonitor } from '../qmp/monitor.ts';
import type { RunState } from '../qmp/schema.generated.ts';
import { ticksAsleep } from './asleep.ts';
import { toDriverError, type Talk } from './talk.ts';
import { within } from '../within.ts';

/** The process is looked at this often, since its death may leave a monitor that says nothing. */
const lookMs = 1_000;
/** A monitor that goes away comes back within 2 s; a QEMU that has just begun has it open within this. */
const reconnectMs = 3_000;
const openMs = 10_000;
/** From the end of a process to the end of what its monitor had said: both are there at once, but read one by one. */
const lastWordsMs = 1_000;

interface LinkOptions {
  id: string;
  path: () => Promise<string>;
  identity: ProcessIdentity;
  table: ProcessTable;
  commandTimeoutMs: number;
  /** After each connect, before anybody is told that it answers. */
  onConnected: (talk: Talk) => Promise<void>;
  onStatus: (status: MachineStatus) => void;
  /** Whether we are about to let it run on: nobody has paused it. */
  isHeldUp: () => boolean;
  onEvent: (event: QmpEvent) => void;
  /** Once, with the last word that QEMU said about its end, or null. */
  onEnded: (shutdown: QmpEventOf<'SHUTDOWN'>['data'] | null) => void;
  onError: (error: unknown) => void;
}

export interface Link extends Talk {
  readonly status: MachineStatus;
  /** When it is known how it stands: it answers, is silent, or has ended. */
  readonly settled: Promise<void>;
  /** Asks whether it runs: afterwards the status is true, also before the event of the change has come. */
  refresh(): Promise<void>;
  close(): void;
}

/** Holds on to a machine's process and monitor, and tells how it stands. */
export function createLink(options: LinkOptions): Link {
  const { identity, table } = options;
  const listeners = new Set<(event: QmpEvent) => void>();
  const settled = Promise.withResolvers<undefined>();
  let status: MachineStatus = 'starting';
  let shutdown: QmpEventOf<'SHUTDOWN'>['data'] | null = null;
  let known: 'running' | 'paused' = 'running';
  let closed = false;
  /** A panic is about to end it. */
  let isLeaving = false;
  /** What its threads had used when they were all found asleep, though it was about to end. */
  let asleep: number | null = null;
  let unreachable = setTimeout(() => become('silent'), openMs);

  function become(next: MachineStatus): void {
    if (closed || status === 'ended' || status === next) return;
    status = next;
    if (next !== 'starting') settled.resolve(undefined);
    options.onStatus(next);
  }

  const alive = () => isAlive(table, identity);

  async function look(): Promise<void> {
    if (closed) return;
    if (await alive()) {
      endHung();
      return;
    }
    // Its last words may still be on their way to us.
    await within(monitor.ended, lastWordsMs);
    finish();
  }

  /**
   * QEMU 7.2 may wait for itself for ever when it is asked something at the moment in which it ends: it has closed its
   * disks by then, and nothing else will end it.
   */
  function endHung(): void {
    const before = asleep;
    asleep = shutdown !== null && status === 'silent' ? ticksAsleep(identity.pid) : null;
    if (asleep === null || asleep !== before) return;
    options.onError(new Error(`QEMU of ${options.id} hung when it was about to end, and was killed`));
    signalProcess(identity.pid, 'SIGKILL');
  }

  function finish(): void {
    if (closed || status === 'ended') return;
    become('ended');
    close();
    options.onEnded(shutdown);
  }

  /** @param passing the event of a change: what QEMU does for a moment by itself is none */
  async function readState(execute: Execute, passing: boolean): Promise<void> {
    const { status: state, running } = await execute('query-status');
    if (passing && isPassing(state)) return;
    known = running || state === 'suspended' ? 'running' : 'paused';
  }

  function hear(event: QmpEvent): void {
    if (isQmpEvent(event, 'SHUTDOWN')) shutdown = event.data;
    // A guest that was reset has not shut down, though it may have been about to.
    if (isQmpEvent(event, 'RESET')) shutdown = null;
    if (isQmpEvent(event, 'GUEST_PANICKED')) isLeaving = event.data.action === 'poweroff';
    else if (isQmpEvent(event, 'RESET')) isLeaving = false;
    for (const listener of [...listeners]) listener(event);
    options.onEvent(event);
    if (!['STOP', 'RESUME', 'RESET', 'SUSPEND', 'WAKEUP', 'GUEST_PANICKED'].includes(event.event)) return;
    // One that is about to end is left in peace, see above.
    if (options.isHeldUp() || isLeaving) return;
    refresh(true).catch(() => undefined); // told by what the monitor tells of itself
  }

  async function refresh(passing = false): Promise<void> {
    await readState(execute, passing);
    if (status === 'running' || status === 'paused') become(known);
  }

  const monitor = startQmpMonitor({
    path: options.path,
    isAlive: alive,
    commandTimeoutMs: options.commandTimeoutMs,
    async onConnected(client) {
      const { UUID: uuid } = await client.execute('query-uuid');
      if (uuid !== options.id) throw new Error(`the QEMU that answers is ${uuid}`);
      await readState(client.execute, false);
      await options.onConnected(talk);
      clearTimeout(unreachable);
      become(known);
    },
    onDisconnected() {
      clearTimeout(unreachable);
      unreachable = setTimeout(() => become('silent'), reconnectMs);
      look().catch(options.onError);
    },
    onSilent: () => become('silent'),
    onAnswering: () => {
      if (monitor.state === 'connected') become(known);
    },
    onEvent: hear,
    onError: options.onError,
  });
  monitor.ended.then((how) => {
    if (how === 'dead') finish();
  }, options.onError);
  const watch = setInterval(() => {
    look().catch(options.onError);
  }, lookMs);
  watch.unref();

  const execute: Execute = async (command, ...rest) => {
    if (closed && status !== 'ended') throw new DriverError('gone', 'the machine was let go of');
    try {
      return await monitor.execute(command, ...rest);
    } catch (error) {
      throw toDriverError(error, status === 'ended' || !(await alive()));
    }
  };

  function close(): void {
    if (closed) return;
    closed = true;
    clearTimeout(unreachable);
    clearInterval(watch);
    listeners.clear();
    settled.resolve(undefined);
    monitor.close().catch(options.onError);
  }

  const talk: Talk = {
    id: options.id,
    execute,
    waitFor: (pick, timeoutMs) =>
      new Promise((resolve) => {
        const stop = (found: ReturnType<typeof pick>) => {
          clearTimeout(timer);
          listeners.delete(listener);
          resolve(found);
        };
        const timer = setTimeout(() => stop(null), timeoutMs);
        const listener = (event: QmpEvent) => {
          const found = pick(event);
          if (found !== null) stop(found);
        };
        listeners.add(listener);
      }),
  };
  return {
    ...talk,
    get status() {
      return status;
    },
    settled: settled.promise,
    refresh,
    close,
  };
}

/** While a snapshot is written or read, or on the way out: nobody has paused it. */
const isPassing = (state: RunState): boolean =>
  ['save-vm', 'restore-vm', 'finish-migrate', 'shutdown'].includes(state);
