import type { StopRung } from '@vmo/contract';
import type { LadderTimes } from '../driver.ts';
import type { Execute } from '../qmp/command.ts';
import type { GuestAgent } from './agent.ts';

export const defaultLadder: LadderTimes = { guestAgent: 10_000, acpi: 20_000, quit: 5_000, sigterm: 5_000 };

/** Some guests only wake up at the first press, or take it for a question. */
const betweenPressesMs = 500;
/** Who lives answers at once, QEMU and agent; who does not must not cost the whole rung. */
const answersMs = 2_000;
/** Before the end is given up: a process in the kernel's hands (a dead disk) dies late. */
const sigkillMs = 10_000;

/** The machine, as far as it is brought down. */
export interface Climbed {
  execute: Execute;
  /** null: the guest has none, or it does not listen. */
  agent(timeoutMs: number): Promise<GuestAgent | null>;
  isSilent: () => boolean;
  isPaused: () => boolean;
  /** Whether it has ended, or somebody else goes on with it, within this time. */
  isOver(withinMs: number): Promise<boolean>;
  /** Notes what is tried next: the end is put down to it. */
  trying(rung: StopRung): void;
  signal(name: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/**
 * From the most polite to the least. A paused guest is resumed first: it could not write its files back, and pulling the
 * plug is what `kill` is for. A rung that cannot work now (no agent, no answer) is passed at once.
 */
export async function climb(machine: Climbed, times: LadderTimes): Promise<void> {
  const { execute } = machine;
  const soon = (ms: number) => ({ timeoutMs: Math.min(ms, answersMs) });
  if (!machine.isSilent()) {
    if (machine.isPaused()) await attempt(execute('cont', {}, soon(times.guestAgent)));
    machine.trying('guest-agent');
    const { timeoutMs } = soon(times.guestAgent);
    const agent = await machine.agent(timeoutMs);
    if (agent && (await agent.tell('guest-shutdown', { mode: 'powerdown' }, timeoutMs)))
      if (await machine.isOver(times.guestAgent)) return;
  }
  if (!machine.isSilent()) {
    machine.trying('acpi');
    const press = () => attempt(execute('system_powerdown', {}, soon(times.acpi)));
    if (await press()) {
      if (await machine.isOver(betweenPressesMs)) return;
      await press();
      if (await machine.isOver(times.acpi)) return;
    }
  }
  if (!machine.isSilent()) {
    machine.trying('quit');
    // Answered or not, only its end counts.
    void attempt(execute('quit', {}, soon(times.quit)));
    if (await machine.isOver(times.quit)) return;
  }
  machine.trying('sigterm');
  await machine.signal('SIGTERM');
  if (await machine.isOver(times.sigterm)) return;
  await pull(machine);
}

/** Quit, since QEMU then closes the disks' files; SIGKILL when it does not do that at once. */
export async function plug(machine: Climbed): Promise<void> {
  if (!machine.isSilent()) {
    machine.trying('quit');
    void attempt(machine.execute('quit', {}, { timeoutMs: quitAtOnceMs }));
    if (await machine.isOver(quitAtOnceMs)) return;
  }
  await pull(machine);
}
const quitAtOnceMs = 2_000;

async function pull(machine: Climbed): Promise<void> {
  machine.trying('sigkill');
  await machine.signal('SIGKILL');
  await machine.isOver(sigkillMs);
}

/** False: it was not carried out, for whatever reason; the next rung is less polite. */
const attempt = (action: Promise<unknown>): Promise<boolean> =>
  action.then(
    () => true,
    () => false,
  );
