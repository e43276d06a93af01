import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram, lastWords, runProgram, type ProgramEnd } from '../program.ts';
import { bootSector, exitStatus, proof } from './boot-sector.ts';

/** How a guest that was to be booted ended. */
export interface Trial {
  booted: boolean;
  milliseconds: number;
  /** Why it did not boot; empty when it did. */
  reason: string;
}

/** The firmware takes a disk without a whole cylinder for none. */
const diskBytes = 1024 * 1024;

const bare = ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'];

/**
 * Runs QEMU with a deadline that also holds when we die meanwhile, as far as timeout (coreutils) is there to keep it: a
 * guest that hangs takes a processor for ever.
 */
function runQemu(
  qemu: string,
  args: readonly string[],
  deadlineMs: number,
  input?: string,
): Promise<ProgramEnd> {
  const timeout = findProgram('timeout');
  const seconds = String(Math.ceil(deadlineMs / 1000) + 5);
  const [program, rest] =
    timeout === null ? [qemu, args] : [timeout, ['--signal=KILL', seconds, qemu, ...args]];
  return runProgram(program, rest, {
    timeoutMs: deadlineMs,
    ...(input === undefined ? {} : { input }),
  });
}

/** A temporary folder, whose path is ours and has nothing in it that QEMU would take for an option. */
async function inTemporaryFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'vmo-probe-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Boots a guest of one sector, and sees whether it runs: nothing less shows that an accelerator works. */
export function tryAccelerator(qemu: string, accelerator: 'kvm' | 'tcg', deadlineMs: number): Promise<Trial> {
  return inTemporaryFolder(async (folder) => {
    const filename = join(folder, 'disk');
    await writeFile(filename, bootSector());
    await truncate(filename, diskBytes);
    const disk = {
      ...{ driver: 'raw', 'node-name': 'disk', 'read-only': true },
      file: { driver: 'file', filename },
    };
    const started = performance.now();
    const end = await runQemu(
      qemu,
      [
        ...['-machine', `q35,accel=${accelerator}`, '-cpu', 'max', '-m', '32', ...bare],
        ...['-blockdev', JSON.stringify(disk), '-device', 'virtio-blk-pci,drive=disk'],
        ...['-chardev', 'stdio,id=proof', '-device', 'isa-debugcon,iobase=0xe9,chardev=proof'],
        ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=1'],
      ],
      deadlineMs,
    );
    const booted = end.code === exitStatus && end.stdout.includes(proof);
    return { booted, milliseconds: Math.round(performance.now() - started), reason: reason(booted, end) };
  });
}

function reason(booted: boolean, end: ProgramEnd): string {
  if (booted) return '';
  if (end.timedOut) return 'it started and never ran';
  return lastWords(end) || `QEMU ended with ${String(end.code ?? end.signal)}`;
}

/** What this QEMU can do; each was tried by starting it so. */
export interface QemuFeatures {
  /** Whether it may be locked in with seccomp, with everything denied that a guest does not need. */
  sandbox: boolean;
  microvm: boolean;
  virtioMem: boolean;
  userNetworking: boolean;
  vnc: boolean;
}

/** In the way it will be started: a QEMU without spawn=deny, say, is none that can be locked in. */
export const sandboxArgument = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/** @param onTimeout told of a trial that was not over in time: it counts as not working, and tells nothing for good */
export function tryFeatures(qemu: string, deadlineMs: number, onTimeout: () => void): Promise<QemuFeatures> {
  return inTemporaryFolder(async (folder) => {
    // Stopped before the first instruction, and told to quit: it ends with 0 when it took all its arguments.
    const starts = async (...args: string[]) => {
      const whole = [...args, ...bare, '-S', '-monitor', 'stdio'];
      const end = await runQemu(qemu, whole, deadlineMs, 'quit\n');
      if (end.timedOut) onTimeout();
      return end.code === 0;
    };
    const q35 = ['-machine', 'q35,accel=tcg', '-cpu', 'max'];
    const more = 'memory-backend-ram,id=more,size=128M';
    // One after the other: each takes a whole processor.
    return {
      sandbox: await starts('-machine', 'none', '-sandbox', sandboxArgument),
      microvm: await starts('-machine', 'microvm,accel=tcg', '-cpu', 'max', '-m', '32'),
      virtioMem: await starts(
        ...[...q35, '-m', '128M,maxmem=256M,slots=1', '-object', more],
        ...['-device', 'virtio-mem-pci,memdev=more'],
      ),
      userNetworking: await starts(
        ...[...q35, '-m', '32', '-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net'],
      ),
      vnc: await starts(...[...q35, '-m', '32', '-device', 'VGA', '-vnc', `unix:${join(folder, 'vnc')}`]),
    };
  });
}
