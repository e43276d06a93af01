import { existsSync, readFileSync } from 'node:fs';
import { DriverError } from '../driver.ts';
import { findProgram, lastWords, runProgram } from '../program.ts';
import type { Owner } from './confinement.ts';

async function ip(...args: string[]): Promise<void> {
  const program = findProgram('ip');
  if (program === null) throw new DriverError('impossible', 'ip (iproute2) is missing: a bridge needs it');
  const end = await runProgram(program, args, { timeoutMs: 10_000 });
  if (end.code !== 0)
    throw new DriverError('impossible', `ip ${args.join(' ')}: ${lastWords(end) || String(end.code)}`);
}

/**
 * A network device of the host that the machine's user may open, in a bridge.
 * @throws DriverError impossible: we are not root, there is no such bridge, or the system says no
 */
export async function makeTap(name: string, bridge: string, owner: Owner | null): Promise<void> {
  if (owner === null)
    throw new DriverError(
      'impossible',
      `only root can put a machine into the bridge ${bridge}; take network mode user`,
    );
  if (!existsSync(`/sys/class/net/${bridge}/bridge`))
    throw new DriverError('impossible', `this host has no bridge ${bridge}`);
  await removeTap(name);
  await ip('tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', String(owner.uid));
  try {
    await ip('link', 'set', name, 'master', bridge, 'up');
  } catch (error) {
    await removeTap(name);
    throw error;
  }
}

export async function removeTap(name: string): Promise<void> {
  if (existsSync(`/sys/class/net/${name}`)) await ip('tuntap', 'del', 'dev', name, 'mode', 'tap');
}

/** Bytes from the guest's point of view: what the host receives from the device, the guest has sent. */
export function readTap(name: string): { received: number; sent: number } | null {
  const read = (counter: string) =>
    Number(readFileSync(`/sys/class/net/${name}/statistics/${counter}`, 'utf8'));
  try {
    return { received: read('tx_bytes'), sent: read('rx_bytes') };
  } catch {
    return null;
  }
}
