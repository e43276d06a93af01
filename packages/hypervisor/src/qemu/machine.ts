import type { MachineDisk, StopRung } from '@vmo/contract';
import { isAlive, signalProcess, type ProcessIdentity, type ProcessTable } from '@vmo/execution';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import {
  DriverError,
  type DiskNow,
  type LadderTimes,
  type Machine,
  type MachineEvent,
  type MachineSample,
  type MachineStatus,
} from '../driver.ts';
import { ImageError } from '../images/errors.ts';
import type { Storage } from '../images/storage.ts';
import { createGuestAgent, type GuestAgent } from './agent.ts';
import { readLayers } from './block.ts';
import { admit, ownSocket, readOwn } from './confinement.ts';
import { createDiskActions, type DiskActions } from './disks.ts';
import { climb, plug, type Climbed } from './ladder.ts';
import { describeHardware } from './hardware.ts';
import { createHoldUp, type HoldUp } from './hold-up.ts';
import { within } from '../within.ts';
import { runFolder, sockets } from './layout.ts';
import { createLink, type Link } from './link.ts';
import { createNotes, type MachineRecord, type Notes } from './record.ts';
import { guestMemoryMib, resize, type ResizeChange } from './resize.ts';
import { beginStats, takeSample } from './sample.ts';
import { createSerialInput, type SerialInput } from './serial.ts';
import { createSnapshotActions, type SnapshotActions } from './snapshots.ts';
import { createTurns } from './talk.ts';
import { goOn, saveWarm } from './warm.ts';
import { describeEvent, endOf, type MachineEnd } from './words.ts';

interface MachineOptions {
  id: string;
  identity: ProcessIdentity;
  record: MachineRecord;
  vmDirectory: string;
  storage: Storage;
  table: ProcessTable;
  ladder: LadderTimes;
  commandTimeoutMs: number;
  detachMs: number;
  /** It has ended, or was let go of. */
  onClosed: () => void;
  onError: (error: unknown) => void;
}

const agentAnswersMs = 2_000;
/** Of the largest screen that a guest can have; what it shows decides how well it is packed. */
const maxScreenBytes = 64 * 1024 * 1024;

/** A machine that somebody has started, perhaps long ago: all that is known of it comes from its files and itself. */
export class QemuMachine implements Machine {
  readonly id: string;
  readonly pid: number;
  readonly version: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly ports: MachineRecord['ports'];
  readonly ended: Promise<MachineEnd>;
  readonly #options: MachineOptions;
  readonly #link: Link;
  readonly #agent: GuestAgent;
  readonly #disks: DiskActions;
  readonly #snapshots: SnapshotActions;
  readonly #notes: Notes;
  readonly #holdUp: HoldUp;
  readonly #serial: SerialInput;
  /** Disks and snapshots change the same tree of nodes. */
  readonly #inTurn = createTurns();
  readonly #onStatus = new Set<(status: MachineStatus) => void>();
  readonly #onEvent = new Set<(event: MachineEvent) => void>();
  readonly #onDetached = new Set<(diskId: string) => void>();
  #tried: StopRung | null = null;
  #climb: Promise<void> | null = null;
  #closed = false;

  constructor(options: MachineOptions) {
    const { id, identity, record, vmDirectory, storage, table, onError } = options;
    this.#options = options;
    this.id = id;
    this.pid = identity.pid;
    this.version = record.version;
    this.accelerator = record.accelerator;
    this.ports = record.ports;
    this.#notes = createNotes(vmDirectory, record);
    const end = Promise.withResolvers<MachineEnd>();
    this.ended = end.promise;
    this.#agent = createGuestAgent(this.#socket('agent'));
    this.#serial = createSerialInput(this.#socket('serial'));
    this.#link = createLink({
      ...{ id, identity, table, onError, commandTimeoutMs: options.commandTimeoutMs },
      path: this.#socket('qmp'),
      onConnected: async (talk) => {
        await Promise.all([beginStats(talk), this.#disks.lookAgain()]);
      },
      onStatus: (status) => this.#tell(this.#onStatus, status),
      isHeldUp: () => this.#notes.now.heldUp,
      onEvent: (event) => {
        this.#disks.heard(event);
        const described = describeEvent(event);
        if (described) this.#tell(this.#onEvent, described);
      },
      onEnded: (shutdown) => {
        end.resolve(endOf(shutdown?.reason ?? null, this.#tried));
        this.close();
      },
    });
    const { execute } = this.#link;
    this.#holdUp = createHoldUp({
      ...{ notes: this.#notes, isPaused: () => this.status === 'paused' },
      pause: () => execute('stop'),
      resume: () => execute('cont'),
    });
    const fileOf = (name: string) => relative(storage.root, resolve(vmDirectory, name));
    this.#disks = createDiskActions(this.#link, {
      ...{ detachMs: options.detachMs, fileOf, inTurn: this.#inTurn },
      onDetached: (diskId) => this.#tell(this.#onDetached, diskId),
    });
    this.#snapshots = createSnapshotActions(this.#link, {
      ...{ storage, owner: record.owner, holdUp: this.#holdUp, fileOf, listDisks: this.#disks.list },
    });
  }

  /** When it is known how it stands. */
  get settled(): Promise<void> {
    return this.#link.settled;
  }

  get status(): MachineStatus {
    return this.#link.status;
  }

  onStatus(listener: (status: MachineStatus) => void): () => void {
    return listen(this.#onStatus, listener);
  }

  onEvent(listener: (event: MachineEvent) => void): () => void {
    return listen(this.#onEvent, listener);
  }

  onDetached(listener: (diskId: string) => void): () => void {
    return listen(this.#onDetached, listener);
  }

  #socket(name: keyof typeof sockets): () => Promise<string> {
    const { vmDirectory, record } = this.#options;
    return () => ownSocket(join(vmDirectory, sockets[name]), record.owner);
  }

  async vncSocket(): Promise<string | null> {
    return this.#options.record.vnc ? this.#socket('vnc')() : null;
  }

  #tell<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.#options.onError(error);
      }
    }
  }

  async stop(times: Partial<LadderTimes> = {}): Promise<StopRung> {
    const all = { ...this.#options.ladder, ...times };
    this.#climb ??= climb(this.#climbed(), all).finally(() => {
      this.#climb = null;
    });
    await this.#climb;
    return this.#howItEnded();
  }

  async kill(): Promise<StopRung> {
    await plug(this.#climbed());
    return this.#howItEnded();
  }

  async #howItEnded(): Promise<StopRung> {
    if (this.status === 'ended') return (await this.ended).rung;
    if (this.#closed) throw new DriverError('gone', 'the machine was let go of while it was stopped');
    throw new DriverError('silent', `process ${this.pid} lives on after SIGKILL: it hangs in the kernel`);
  }

  #climbed(): Climbed {
    return {
      execute: this.#link.execute,
      agent: (timeoutMs) => this.#agentIfThere(timeoutMs),
      isSilent: () => this.status === 'silent',
      isPaused: () => this.status === 'paused',
      isOver: async (ms) => this.#closed || (await within(this.ended, ms)) || this.#closed,
      trying: (rung) => {
        this.#tried = rung;
      },
      signal: async (name) => {
        const { table, identity } = this.#options;
        if (!this.#closed && (await isAlive(table, identity))) signalProcess(identity.pid, name);
      },
    };
  }

  async reset(): Promise<void> {
    await this.#link.execute('system_reset');
  }

  async pause(): Promise<void> {
    await this.#link.execute('stop');
    await this.#link.refresh();
  }

  async resume(): Promise<void> {
    await this.#link.execute('cont');
    await this.#link.refresh();
  }

  attachDisk(disk: MachineDisk): Promise<void> {
    return this.#inTurn(async () => {
      const { storage, record } = this.#options;
      try {
        const layers = await readLayers(storage, disk);
        for (const { file } of layers) await admit(storage, file, record.owner);
        await this.#disks.attach(disk, layers);
      } catch (error) {
        if (error instanceof ImageError) throw new DriverError('impossible', error.message, { cause: error });
        throw error;
      }
    });
  }

  detachDisk(diskId: string): Promise<'detached' | 'pending'> {
    return this.#inTurn(() => this.#disks.detach(diskId));
  }

  awaitDetached(diskIds: readonly string[]): Promise<void> {
    return this.#disks.await(diskIds);
  }

  resizeDisk(diskId: string, sizeBytes: number): Promise<void> {
    return this.#inTurn(() => this.#disks.resize(diskId, sizeBytes));
  }

  disks(): Promise<DiskNow[]> {
    return this.#disks.list();
  }

  settleDisks(): Promise<DiskNow[]> {
    return this.#inTurn(() => this.#snapshots.settle());
  }

  goOn(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#holdUp.end();
      await this.#link.refresh();
    });
  }

  resize(change: ResizeChange): Promise<string> {
    return this.#inTurn(() => resize(this.#link, () => this.#agentIfThere(), change));
  }

  async guestMemoryMib(): Promise<number | null> {
    return guestMemoryMib(this.#link);
  }

  saveSnapshot(tag: string, diskIds: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#snapshots.save(tag, diskIds));
  }

  loadSnapshot(tag: string, diskIds: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      await this.#snapshots.checkLoad(tag, diskIds);
      // Before, since QEMU may be at it while we die: the disks have gone back then, and the memory perhaps not.
      await this.#notes.change({
        broken: `its memory was to be filled from ${tag}, and nobody knows how that went`,
      });
      try {
        await this.#snapshots.load(tag, diskIds);
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        await this.#notes.change({ broken: words });
        await this.#link.refresh();
        throw error;
      }
      await this.#notes.change({ broken: null });
      await this.#link.refresh();
    });
  }

  hardware(): Promise<Record<string, string>> {
    return describeHardware(this.#link, this.#notes.now);
  }

  get broken(): string | null {
    return this.#notes.now.broken;
  }

  deleteSnapshot(tag: string, diskIds: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#snapshots.delete(tag, diskIds));
  }

  takeOverlays(overlays: readonly { diskId: string; file: string }[]): Promise<void> {
    return this.#inTurn(() => this.#snapshots.takeOverlays(overlays));
  }

  commitOverlay(diskId: string, baseFile: string): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#snapshots.commitOverlay(diskId, baseFile);
      } finally {
        await this.#link.refresh();
      }
    });
  }

  async screenshot(format: 'png' | 'ppm' = 'png'): Promise<Buffer> {
    if (!this.#options.record.vnc) throw new DriverError('impossible', 'it has no screen');
    const name = `${runFolder}/screen-${randomUUID()}.${format}`;
    const path = join(this.#options.vmDirectory, name);
    try {
      await this.#link.execute('screendump', { filename: name, format });
      return await readOwn(path, maxScreenBytes);
    } finally {
      await rm(path, { force: true });
    }
  }

  async input(data: string): Promise<void> {
    if (this.status === 'ended') throw new DriverError('gone', 'the machine has ended');
    await this.#serial.write(data);
  }

  async startInGuest(script: string, argument: string): Promise<void> {
    const agent = await this.#agentIfThere();
    if (!agent) throw new DriverError('refused', 'the guest has no guest agent');
    // Its standard input is the script; a session of its own outlives the agent.
    const shell = `umask 077; cat >/tmp/vmo-script && exec setsid sh /tmp/vmo-script "$1" </dev/null >/dev/null 2>&1`;
    const call = {
      ...{ path: '/bin/sh', arg: ['-c', shell, 'sh', argument] },
      'input-data': Buffer.from(script).toString('base64'),
    };
    try {
      await agent.ask('guest-exec', call, agentAnswersMs);
    } catch (error) {
      throw new DriverError('refused', error instanceof Error ? error.message : String(error), {
        cause: error,
      });
    }
  }

  /** See the driver. */
  async keepWarm(report: string, uptime: (at: number) => number): Promise<boolean> {
    const { record, storage, vmDirectory } = this.#options;
    if (!record.warm || record.warm.restored) return false;
    await goOn(this.#link);
    const { key, disks } = record.warm;
    await this.#inTurn(() =>
      saveWarm(this.#link, {
        ...{ storage, vmDirectory, key, disks },
        kept: (stoppedAt) => ({ report, uptime: uptime(stoppedAt) }),
      }),
    );
    return true;
  }

  async hasGuestAgent(): Promise<boolean> {
    return (await this.#agentIfThere())?.answers(agentAnswersMs) ?? false;
  }

  /** Whether the guest has its end of the port open: else every question would have to run into its timeout. */
  async #agentIfThere(timeoutMs = agentAnswersMs): Promise<GuestAgent | null> {
    const chardevs = await this.#link.execute('query-chardev', {}, { timeoutMs }).catch(() => []);
    return chardevs.some(({ label, 'frontend-open': open }) => label === 'qga0' && open) ? this.#agent : null;
  }

  sample(): Promise<MachineSample> {
    const { record } = this.#options;
    return takeSample(this.#link, {
      ...{ pid: this.pid, tap: record.tap },
      agent: () => this.#agentIfThere(),
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link.close();
    this.#serial.close();
    for (const listeners of [this.#onStatus, this.#onEvent, this.#onDetached]) listeners.clear();
    this.#options.onClosed();
  }
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
