import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { MachineRequest } from '@vmo/contract';
import { DriverError, type Driver } from '../driver.ts';
import { createConsoleLogin } from './console-login.ts';
import { runner } from './runner.ts';
import { startOverSsh } from './ssh.ts';

export interface StartingOptions {
  id: string;
  driver: Driver;
  request: Pick<MachineRequest, 'channel' | 'login'>;
  /** What the serial console has said. */
  bootFile: string;
  /** It did not work, in words. */
  notice: (line: string) => void;
}

const everyMs = 1_000;
/** A guest that has a runner of its own starts it about when its agent answers, or its console asks. */
const ownRunnerMs = 4_000;
/** A console has asked when it has said nothing since. */
const quietMs = 2_000;
const tailBytes = 2_000;

/**
 * For guests that do not start the runner themselves: has the guest agent start it, logs in over SSH, or types it at a
 * console. A second runner finds the ports taken and ends, so nothing depends on who is first.
 */
export async function startRunner(options: StartingOptions, signal: AbortSignal): Promise<void> {
  const { channel, login } = options.request;
  if (channel === 'runner') return;
  const may = (one: MachineRequest['channel']) => channel === null || channel === one;
  await Promise.all([
    may('guest-agent') || may('serial') ? byAgentOrConsole(options, signal) : undefined,
    may('ssh') && login ? bySsh(options, login, signal) : undefined,
  ]);
}

async function byAgentOrConsole(options: StartingOptions, signal: AbortSignal): Promise<void> {
  const { driver, id, bootFile, notice, request } = options;
  const { channel } = request;
  const console = createConsoleLogin(request.login, notice);
  let isAgentTried = channel === 'serial';
  let isTyped = channel === 'guest-agent';
  let last = { end: '', since: Date.now() };
  while (!signal.aborted && !(isAgentTried && isTyped)) {
    await delay(everyMs, undefined, { signal });
    const end = await tailOf(bootFile);
    if (end !== last.end) last = { end, since: Date.now() };
    const machine = await driver.connect(id).catch(() => null);
    if (!machine) continue;
    try {
      if (!isAgentTried && (await machine.hasGuestAgent())) {
        isAgentTried = true;
        if (channel === null) await delay(ownRunnerMs, undefined, { signal });
        await machine.startInGuest(runner, '--by-guest-agent');
        isTyped = true;
      } else if (!isTyped && Date.now() - last.since > patienceOf(channel, console.isIn)) {
        isTyped = await console.answer(end, machine, signal);
      }
    } catch (error) {
      if (!(error instanceof DriverError)) throw error;
      notice(`the runner could not be started: ${error.message}`);
    }
  }
}

const patienceOf = (channel: MachineRequest['channel'], isIn: boolean): number =>
  channel === null && !isIn ? ownRunnerMs : quietMs;

async function bySsh(
  { driver, id, notice, request }: StartingOptions,
  { user }: NonNullable<MachineRequest['login']>,
  signal: AbortSignal,
): Promise<void> {
  const afterSeconds = request.channel === null ? ownRunnerMs / 1000 : 0;
  let said = '';
  while (!signal.aborted) {
    await delay(everyMs, undefined, { signal });
    const access = await driver.sshAccess(id).catch(() => null);
    if (!access) continue;
    const problem = await startOverSsh({ user, access, script: runner, afterSeconds }, signal);
    if (problem === null) return;
    // Until the guest listens, QEMU closes every connection: nothing that anybody needs to know.
    if (problem !== said && !/Connection (closed|reset|timed out)|timed out|banner/i.test(problem)) {
      notice(`SSH into the guest: ${problem}`);
    }
    said = problem;
  }
}

async function tailOf(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const buffer = Buffer.alloc(Math.min(size, tailBytes));
  await file.read(buffer, 0, buffer.length, size - buffer.length);
  return buffer.toString('utf8');
}
