import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { lineText } from '@vmo/ansi';
import type { MachineRequest } from '@vmo/contract';
import { DriverError, type Driver, type Machine } from '../driver.ts';
import { runner } from './runner.ts';

export interface StartingOptions {
  id: string;
  driver: Driver;
  channel: MachineRequest['channel'];
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
/** A terminal holds 4,095 bytes for a shell that is busy, and loses what is more. */
const typedBytes = 1_000;
const typedMs = 250;
const tailBytes = 2_000;
const prompt = /^.{0,100}[#$]\s*$/;

/**
 * For guests that do not start the runner themselves: has the guest agent start it, or types it at a console where a
 * shell waits. A second runner finds the ports taken and ends, so nothing depends on who is first.
 */
export async function startRunner(options: StartingOptions, signal: AbortSignal): Promise<void> {
  const { driver, id, channel, bootFile, notice } = options;
  if (channel === 'runner' || channel === 'ssh') return;
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
      } else if (
        !isTyped &&
        asks(end) &&
        Date.now() - last.since > (channel === null ? ownRunnerMs : quietMs)
      ) {
        isTyped = true;
        await type(machine, signal);
      }
    } catch (error) {
      if (!(error instanceof DriverError)) throw error;
      notice(`the runner could not be started: ${error.message}`);
    }
  }
}

const asks = (end: string): boolean => prompt.test(lineText(end.split(/\r?\n|\r/).at(-1) ?? ''));

async function tailOf(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const buffer = Buffer.alloc(Math.min(size, tailBytes));
  await file.read(buffer, 0, buffer.length, size - buffer.length);
  return buffer.toString('utf8');
}

/** Packed, since every byte is typed; without echo, so that the console shows little of it. */
async function type(machine: Machine, signal: AbortSignal): Promise<void> {
  const packed = gzipSync(runner, { level: 9 }).toString('base64').replaceAll(/.{72}/g, '$&\n');
  const script = '/tmp/vmo-script';
  const as = '$([ "$(id -u)" = 0 ] || echo sudo -n)';
  const text = [
    `base64 -d <<'END' | gzip -dc >${script}`,
    packed,
    'END',
    `${as} setsid sh ${script} --by-serial </dev/null >/dev/null 2>&1 &`,
    '',
  ].join('\n');
  await machine.input(' stty -echo 2>/dev/null\n');
  for (let at = 0; at < text.length; at += typedBytes) {
    await delay(typedMs, undefined, { signal });
    await machine.input(text.slice(at, at + typedBytes));
  }
}
