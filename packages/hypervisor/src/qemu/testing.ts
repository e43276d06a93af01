import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MachineSpec } from '@vmo/contract';
import { createLocalStreamStrategy, createProcessTable, type Run, type RunSpec } from '@vmo/execution';
import { temporaryDirectory } from '@vmo/testkit';
import { expect, vi } from 'vitest';
import type { Driver, Machine } from '../driver.ts';
import { buildSmallGuest, smallGuestKernelArguments, smallGuestPrompt } from '../guest/small-guest.ts';
import { openStorage, type Storage } from '../images/storage.ts';
import { createVmRunStrategy } from '../run-strategy.ts';
import { createQemuDriver, type QemuDriverOptions } from './driver.ts';

const execute = promisify(execFile);
export const mib = 1024 * 1024;
/** Kept between runs: it is the same as long as the machine's kernel and busybox are. */
const guestCache = join(import.meta.dirname, '../../../../.cache/test/guests');
/** Without KVM, on a machine that runs the other tests beside it. */
const patienceMs = 60_000;

export interface Started {
  spec: MachineSpec;
  runSpec: RunSpec;
  run: Run;
  machine: Machine;
  /** What the serial console has said, from the first byte. */
  boot(): Promise<string>;
  /** Waits until the console shows it, from where the last wait ended. @returns what came up to it */
  see(words: string): Promise<string>;
  /** Types a command, and waits for what it prints. */
  command(line: string): Promise<string>;
}

export interface Workshop extends AsyncDisposable {
  storage: Storage;
  driver: Driver;
  newDriver(options?: Partial<QemuDriverOptions>): Driver;
  /** A fresh qcow2 disk. */
  disk(megabytes?: number): Promise<MachineSpec['disks'][number]>;
  spec(change?: Partial<MachineSpec>): MachineSpec;
  /** With the small guest. */
  guest(how?: { agent?: boolean; ssh?: boolean; append?: string }): Promise<Pick<MachineSpec, 'boot'>>;
  runSpec(spec: MachineSpec): RunSpec;
  start(spec: MachineSpec, driver?: Driver): Promise<Started>;
}

export const host: QemuDriverOptions['host'] = async () => ({
  qemu: { path: '/usr/bin/qemu-system-x86_64', version: '7.2' },
  accelerator: 'tcg',
  features: { sandbox: true, microvm: true, virtioMem: true, userNetworking: true, vnc: true },
  words: [],
});

/** A storage, and machines that end with the test. */
export async function openWorkshop(): Promise<Workshop> {
  const folder = await temporaryDirectory();
  const storage = await openStorage(join(folder.path, 's'));
  const table = createProcessTable();
  const local = createLocalStreamStrategy({ table, cgroups: null });
  const runs: Run[] = [];
  const drivers: Driver[] = [];
  const newDriver = (options: Partial<QemuDriverOptions> = {}) => {
    const driver = createQemuDriver({ storage: async () => storage, host, table, ...options });
    drivers.push(driver);
    return driver;
  };
  const driver = newDriver();

  const runSpec = (spec: MachineSpec): RunSpec => {
    const jobId = randomUUID();
    return {
      ...{ jobId, command: '', cwd: null, env: {}, cols: 80, rows: 24, host: null, vm: spec },
      directory: join(folder.path, 'jobs', jobId),
      notice: () => undefined,
    };
  };

  return {
    storage,
    driver,
    newDriver,
    runSpec,
    async disk(megabytes = 64) {
      const id = randomUUID();
      const path = storage.diskPath(id, 'qcow2');
      await execute('qemu-img', ['create', '-q', '-f', 'qcow2', path, `${megabytes}M`]);
      return MachineSpec.shape.disks.element.parse({
        ...{ id, file: `disks/${id}.qcow2`, format: 'qcow2', readOnly: false },
      });
    },
    spec: (change = {}) =>
      MachineSpec.parse({
        ...{ id: randomUUID(), name: 'test', cpus: 1, maxCpus: 1, memoryMib: 128, maxMemoryMib: 128 },
        ...{ boot: { from: 'disk' }, disks: [], network: { mode: 'none' }, display: 'none', arguments: [] },
        ...change,
      }),
    async guest({ agent = false, ssh = false, append = '' } = {}) {
      const guest = await buildSmallGuest(guestCache, { guestAgent: agent, ssh });
      await copyFile(guest.kernel, storage.imagePath('kernel'));
      const initrd = `initrd${agent ? '-agent' : ''}${ssh ? '-ssh' : ''}`;
      await copyFile(guest.initrd, storage.imagePath(initrd));
      const words = `${smallGuestKernelArguments} ${append}`;
      return { boot: { from: 'kernel', kernel: 'images/kernel', initrd: `images/${initrd}`, append: words } };
    },
    async start(spec, by = driver) {
      const strategy = createVmRunStrategy({ driver: by, local });
      const started = runSpec(spec);
      const run = await strategy.start(started);
      runs.push(run);
      const machine = await vi.waitFor(
        async () => {
          const found = await by.connect(spec.id);
          if (!found) throw new Error(await readFile(join(started.directory, 'stderr'), 'utf8'));
          return found;
        },
        { timeout: patienceMs, interval: 20 },
      );
      return { spec, runSpec: started, run, machine, ...watch(started, machine) };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(runs.map((run) => run.cancel(0)));
      for (const each of drivers) await each.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function watch(spec: RunSpec, machine: Machine): Pick<Started, 'boot' | 'see' | 'command'> {
  let seen = 0;
  const boot = () => readFile(join(spec.directory, 'boot'), 'utf8');
  const see = (words: string) =>
    vi.waitFor(
      async () => {
        const rest = (await boot()).slice(seen);
        const at = rest.indexOf(words);
        if (at < 0) throw new Error(`the console does not show ${words}:\n${rest.slice(-2_000)}`);
        seen += at + words.length;
        return rest.slice(0, at);
      },
      { timeout: patienceMs, interval: 20 },
    );
  return {
    boot,
    see,
    async command(line) {
      const mark = randomUUID().slice(0, 8);
      // The quotes keep the echo of what is typed from being taken for what it prints.
      await machine.input(`echo be''gin-${mark}; ${line}; echo en''d-${mark}\n`);
      await see(`begin-${mark}`);
      const printed = await see(`end-${mark}`);
      // What is typed before the shell listens is shown twice.
      await see(smallGuestPrompt);
      return printed.trim();
    },
  };
}

/** What the kernel says of a process. */
export async function statusOf(pid: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return new Map(
    text.split('\n').map((line): [string, string] => {
      const at = line.indexOf(':');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
}

export async function checkImage(path: string): Promise<void> {
  const { stdout } = await execute('qemu-img', ['check', '--output=json', '-f', 'qcow2', path]);
  const check: unknown = JSON.parse(stdout);
  expect(check).not.toHaveProperty('corruptions');
  expect(check).not.toHaveProperty('leaks');
}
