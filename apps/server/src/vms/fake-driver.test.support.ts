import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MachineSpec, type StopRung } from '@vmo/contract';
import type { Run, RunEnd, Strategy } from '@vmo/execution';
import { DriverError, type Driver, type Machine, type MachineStatus } from '@vmo/hypervisor';

/** A machine that does as it is told by a test, and notes what it was asked. */
export interface FakeMachine extends Machine {
  asked: string[];
  /** Says so to whoever listens. */
  become(status: MachineStatus): void;
  /** Its process ends. */
  end(rung: StopRung, exitCode?: number, words?: string): void;
  /** Into its standard error. */
  say(words: string): void;
  spec: MachineSpec;
  letGoOf(diskId: string): void;
}

export interface FakeHypervisor {
  driver: Driver;
  strategy: Strategy;
  machines: Map<string, FakeMachine>;
  /** How many have begun, ever. */
  begun: () => number;
  /** The monitor of new machines does not answer until this is set back. */
  silent: boolean;
  /** The next start fails so. */
  failNext: string | null;
  /** Detaching waits for the guest. */
  stubborn: boolean;
}

/** Machines without a hypervisor, for the order of things and for what no real one does when it is told to. */
export function createFakeHypervisor(): FakeHypervisor {
  const runs = new Map<string, { run: Run; machine: FakeMachine }>();
  let begun = 0;

  function begin(jobId: string, spec: MachineSpec, directory: string): Run {
    mkdirSync(directory, { recursive: true });
    for (const name of ['stdout', 'stderr', 'boot']) writeFileSync(join(directory, name), '');
    const startedAt = new Date();
    const over = Promise.withResolvers<RunEnd>();
    const machine = createMachine(spec, {
      ended(exitCode) {
        fake.machines.delete(spec.id);
        const signal = exitCode === 137 ? 'SIGKILL' : null;
        const common = { kind: 'exited' as const, startedAt, finishedAt: new Date(), leftovers: [] };
        over.resolve({ ...common, exitCode, signal });
      },
      say: (words) => {
        appendFileSync(join(directory, 'stderr'), `${words}\n`);
      },
      isStubborn: () => fake.stubborn,
    });
    fake.machines.set(spec.id, machine);
    begun += 1;
    const run: Run = {
      startedAt,
      ended: over.promise,
      cancel: async () => {
        machine.end('acpi');
        return ['asked to end'];
      },
      suspend: () => Promise.resolve(false),
      resume: () => Promise.resolve(),
      detach: () => undefined,
    };
    runs.set(jobId, { run, machine });
    return run;
  }

  const fake: FakeHypervisor = {
    machines: new Map(),
    begun: () => begun,
    ...{ silent: false, failNext: null, stubborn: false },
    strategy: {
      type: 'vm',
      start(spec) {
        const words = fake.failNext;
        fake.failNext = null;
        const parsed = MachineSpec.parse(spec.vm);
        if (words === null) return Promise.resolve(begin(spec.jobId, parsed, spec.directory));
        const run = begin(spec.jobId, parsed, spec.directory);
        fake.machines.get(parsed.id)?.say(words);
        fake.machines.get(parsed.id)?.end('crash', 1, 'its process died');
        return Promise.resolve(run);
      },
      adopt: (spec) => Promise.resolve(runs.get(spec.jobId)?.run ?? null),
    },
    driver: {
      kind: 'qemu',
      dryRun: false,
      prepare: () => Promise.reject(new DriverError('impossible', 'not here')),
      connect(id) {
        if (fake.silent) return Promise.reject(new DriverError('silent', 'its monitor does not answer'));
        return Promise.resolve(fake.machines.get(id) ?? null);
      },
      release: () => Promise.resolve(),
      controlSocket: () => Promise.resolve('/nowhere'),
      sshAccess: () => Promise.resolve(null),
      keepWarm: () => Promise.resolve(false),
      dropWarm: () => Promise.resolve(),
      macOf: () => '52:54:00:00:00:01',
      discard: () => Promise.resolve(null),
      strangers: () => Promise.resolve([]),
      close: () => Promise.resolve(),
    },
  };
  return fake;
}

function createMachine(
  spec: MachineSpec,
  run: { ended(exitCode: number): void; say(words: string): void; isStubborn(): boolean },
): FakeMachine {
  const listeners = new Set<(status: MachineStatus) => void>();
  const detachListeners = new Set<(diskId: string) => void>();
  const ended = Promise.withResolvers<{ rung: StopRung; words: string }>();
  let status: MachineStatus = 'running';
  let samples = 0;
  const note = async (words: string): Promise<void> => {
    machine.asked.push(words);
  };
  const attached = new Map<string, string>(spec.disks.map(({ id, file }) => [id, file]));
  const tags = new Set<string>();
  const disksNow = () =>
    Promise.resolve(
      [...attached].map(([diskId, file]) => ({ diskId, file, state: 'attached' as const, tags: [...tags] })),
    );
  const machine: FakeMachine = {
    id: spec.id,
    spec,
    asked: [],
    ...{ pid: 4321, version: '0.0', accelerator: 'tcg' },
    ports:
      spec.network.mode === 'user'
        ? spec.network.forward.map((guest) => ({ guest, host: 40_000 + guest }))
        : [],
    get status() {
      return status;
    },
    become(next) {
      status = next;
      for (const listener of listeners) listener(next);
    },
    end(rung, exitCode = 0, words = rung) {
      if (status === 'ended') return;
      ended.resolve({ rung, words });
      machine.become('ended');
      run.ended(exitCode);
    },
    say: run.say,
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onEvent: () => () => undefined,
    onDetached(listener) {
      detachListeners.add(listener);
      return () => detachListeners.delete(listener);
    },
    letGoOf(diskId) {
      attached.delete(diskId);
      for (const listener of detachListeners) listener(diskId);
    },
    ended: ended.promise,
    async stop() {
      await note('stop');
      machine.end('acpi');
      return 'acpi';
    },
    async kill() {
      await note('kill');
      machine.end('sigkill', 137);
      return 'sigkill';
    },
    reset: () => note('reset'),
    async pause() {
      await note('pause');
      machine.become('paused');
    },
    async resume() {
      await note('resume');
      machine.become('running');
    },
    attachDisk({ id, file }) {
      attached.set(id, file);
      return note(`attach ${id}`);
    },
    async detachDisk(diskId) {
      await note(`detach ${diskId}`);
      if (run.isStubborn()) return 'pending';
      attached.delete(diskId);
      return 'detached';
    },
    awaitDetached(diskIds) {
      for (const diskId of diskIds.filter((id) => !attached.has(id))) machine.letGoOf(diskId);
      return Promise.resolve();
    },
    resizeDisk: (diskId, size) => note(`resize ${diskId} ${size}`),
    disks: disksNow,
    settleDisks: disksNow,
    goOn: () => Promise.resolve(),
    async resize(change) {
      await note(`resize ${JSON.stringify(change)}`);
      return 'as asked';
    },
    guestMemoryMib: () => Promise.resolve(spec.memoryMib),
    hardware: () => Promise.resolve({ CPUs: String(spec.cpus) }),
    broken: null,
    saveSnapshot(tag) {
      tags.add(tag);
      return note(`save ${tag}`);
    },
    loadSnapshot: (tag) => note(`load ${tag}`),
    deleteSnapshot(tag) {
      tags.delete(tag);
      return note(`forget ${tag}`);
    },
    takeOverlays(overlays) {
      for (const { diskId, file } of overlays) attached.set(diskId, file);
      return note('overlays');
    },
    commitOverlay(diskId, baseFile) {
      attached.set(diskId, baseFile);
      return note('commit');
    },
    vncSocket: () => Promise.resolve(null),
    async screenshot(format = 'png') {
      await note(`screenshot ${format}`);
      if (format === 'png') return Buffer.from('PNG');
      return Buffer.concat([Buffer.from('P6\n320 200\n255\n'), Buffer.alloc(320 * 200 * 3, 0x40)]);
    },
    input: (data) => note(`input ${data}`),
    startInGuest: () => Promise.reject(new DriverError('refused', 'the guest has no guest agent')),
    hasGuestAgent: () => Promise.resolve(false),
    sample() {
      samples += 1;
      return Promise.resolve({
        at: samples * 10_000,
        cpuSeconds: samples * 5,
        memoryMib: 100,
        guestUsedMib: null,
        diskReadBytes: samples * 1000,
        diskWriteBytes: 0,
        networkReceivedBytes: null,
        networkSentBytes: null,
      });
    },
    close() {
      listeners.clear();
      detachListeners.clear();
    },
  };
  return machine;
}
