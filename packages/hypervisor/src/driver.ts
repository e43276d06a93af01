import type { MachineDisk, MachineSpec, StopRung } from '@vmo/contract';

/**
 * What stands between the cockpit and a hypervisor: QEMU today, libvirt, Proxmox and clouds later. Nothing above it
 * knows which. Every file is named below the storage path.
 */
export interface Driver {
  readonly kind: 'qemu';
  /** Says what it would do: nothing is made, changed or started. */
  readonly dryRun: boolean;
  /**
   * Makes everything ready for a start: directory, rights, ports. What it answers is run detached, as any job.
   * @throws DriverError when this host cannot run it, and provably nothing was started
   */
  prepare(spec: MachineSpec, options: PrepareOptions): Promise<PreparedMachine>;
  /**
   * Takes hold of a machine that runs, also of one that an earlier process of ours has started: by its identity (pid,
   * start time, boot id) and then by its own word (`query-uuid`). null: it does not run.
   */
  connect(id: string): Promise<Machine | null>;
  /** Takes away what was made on the host for a machine that has ended, as its network device. May be called again. */
  release(id: string): Promise<void>;
  /** The Unix socket of the runner in the machine of a simulation request. @throws DriverError it is not there (yet) */
  controlSocket(id: string): Promise<string>;
  /**
   * Keeps the machine of a simulation request as it is now, for others to go on from.
   * @param report what its runner has told
   * @param uptime seconds since its guest booted, at a time in milliseconds since 1970
   * @returns whether there was anything to be done
   */
  keepWarm(id: string, report: string, uptime: (at: number) => number): Promise<boolean>;
  /** What a machine was to go on from cannot be used, and goes. */
  dropWarm(id: string): Promise<void>;
  /** The MAC address that a machine has. */
  macOf(id: string): string;
  /** How the guest of a simulation request is reached over SSH; null: it is not. */
  sshAccess(id: string): Promise<SshAccess | null>;
  /**
   * Removes what a throw-away machine has left behind, with `keepDisks` all but its disks. May be called again.
   * @returns the directory of the disks that were kept
   */
  discard(id: string, keepDisks: boolean): Promise<string | null>;
  /** Hypervisor processes that are none of ours, with what speaks for it. They are never touched. */
  strangers(ours: ReadonlySet<string>): Promise<Stranger[]>;
  /** Lets go of everything; machines run on. */
  close(): Promise<void>;
}

/** Absolute paths; null: there is none. */
export interface SshAccess {
  /** On 127.0.0.1. */
  port: number;
  keyFile: string | null;
  /** A program that tells the password. */
  askFile: string | null;
}

export interface PrepareOptions {
  /** The run directory: the machine's own words go to its `stdout` and `stderr`, its serial console to `boot`. */
  runDirectory: string;
}

export interface PreparedMachine {
  /** Program and arguments, to be run in `directory`. */
  argv: readonly string[];
  /** The hypervisor's own command, for people. */
  shown: readonly string[];
  directory: string;
  environment: Readonly<Record<string, string>>;
  accelerator: 'kvm' | 'tcg';
  version: string;
  /** Forwarded ports, on 127.0.0.1. */
  ports: readonly { guest: number; host: number }[];
  /** What it goes on from; null: it boots. */
  warm: { report: string; uptime: number } | null;
}

export interface Stranger {
  pid: number;
  name: string;
  evidence: string;
}

/**
 * running and paused as the hypervisor says · silent: it does not answer, and is not dead · ended: its process is gone.
 */
export type MachineStatus = 'starting' | 'running' | 'paused' | 'silent' | 'ended';

export interface MachineEvent {
  /** As the hypervisor calls it, for example SHUTDOWN, RESET, DEVICE_DELETED, GUEST_PANICKED. */
  name: string;
  words: string;
}

export interface DiskNow {
  diskId: string;
  state: 'attached' | 'detaching';
  /** Below the storage path; null: none of ours. */
  file: string | null;
  /** Tags of the snapshots that lie within the file. */
  tags: readonly string[];
}

/** How long each rung of the stop ladder may take, in milliseconds. */
export interface LadderTimes {
  guestAgent: number;
  /** From the second press of the power button, 500 ms after the first. */
  acpi: number;
  quit: number;
  sigterm: number;
}

/** One running machine. It outlives us: `close` lets go of it. Every method may throw {@link DriverError}. */
export interface Machine {
  readonly id: string;
  readonly pid: number;
  readonly version: string;
  readonly accelerator: 'kvm' | 'tcg';
  /** Forwarded ports, on 127.0.0.1. */
  readonly ports: readonly { guest: number; host: number }[];
  readonly status: MachineStatus;
  /** Told after every change of status. @returns the way to stop */
  onStatus(listener: (status: MachineStatus) => void): () => void;
  onEvent(listener: (event: MachineEvent) => void): () => void;
  /** When it is gone: which rung of the ladder it was, and the words for it. Never rejects. */
  readonly ended: Promise<{ rung: StopRung; words: string }>;

  /** Climbs: guest agent, power button twice, quit, SIGTERM, SIGKILL. Joins a climb that is under way. */
  stop(times?: Partial<LadderTimes>): Promise<StopRung>;
  /** Pulls the plug: quit, at once SIGKILL where that is not answered. */
  kill(): Promise<StopRung>;
  reset(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;

  attachDisk(disk: MachineDisk): Promise<void>;
  /** pending: the guest has not let go of it; `onDetached` tells when it has. */
  detachDisk(diskId: string): Promise<'detached' | 'pending'>;
  /**
   * Waits on for disks that an earlier process of ours has asked the guest for. Of those that are gone by now,
   * `onDetached` tells at once.
   */
  awaitDetached(diskIds: readonly string[]): Promise<void>;
  onDetached(listener: (diskId: string) => void): () => void;
  resizeDisk(diskId: string, sizeBytes: number): Promise<void>;
  /** Disks that it has now, by the ids that we gave them. */
  disks(): Promise<DiskNow[]>;
  /**
   * As `disks`, after everything that an earlier process of ours left under way has ended: from here on no disk changes
   * its file by itself. A guest that stands still for a switch of files goes on by `goOn` only.
   */
  settleDisks(): Promise<DiskNow[]>;
  /** Lets the guest run on that a switch of files held up, when nobody of us was left to do so. */
  goOn(): Promise<void>;

  /**
   * CPUs and memory now. @returns what came of it, in words
   * @throws DriverError `impossible` with the reason, before anything is tried
   */
  resize(change: { cpus?: number; memoryMib?: number; balloonMib?: number }): Promise<string>;
  /** What the guest really has. */
  guestMemoryMib(): Promise<number | null>;

  /** Memory, devices and disks into the disks themselves, under this tag. The machine goes on. */
  saveSnapshot(tag: string, diskIds: readonly string[]): Promise<void>;
  /**
   * Into a machine with the same hardware. When it fails in the middle of it the machine is `broken`.
   * @throws DriverError `impossible` before anything is touched
   */
  loadSnapshot(tag: string, diskIds: readonly string[]): Promise<void>;
  /** What memory that is kept of it fits to: part by part in words, a disk by its id. */
  hardware(): Promise<Record<string, string>>;
  /** Why what it is cannot be told any more, so that it can only be ended; null: all is well. */
  readonly broken: string | null;
  /** Of the given ones, those that have it; it may have been half deleted. */
  deleteSnapshot(tag: string, diskIds: readonly string[]): Promise<void>;
  /** From now on each of these disks is written to a fresh overlay on what it is now. */
  takeOverlays(overlays: readonly { diskId: string; file: string }[]): Promise<void>;
  /**
   * Puts the top overlay of a disk into what lies below it, and goes on with that. The overlay's file is removed while
   * the guest stands still, for a moment: so as long as the file is there, it holds all of the disk, and when it is not,
   * the base does. Whoever finds only files can tell which is the disk.
   */
  commitOverlay(diskId: string, baseFile: string): Promise<void>;

  /** PNG, unless otherwise asked; PPM costs the machine less. */
  screenshot(format?: 'png' | 'ppm'): Promise<Buffer>;
  /** Into its serial console. */
  input(data: string): Promise<void>;
  /** The Unix socket of its screen (RFB); null: it has none. */
  vncSocket(): Promise<string | null>;
  /**
   * Has the guest agent start this shell script, as root, and does not wait for its end.
   * @throws DriverError `refused` where the guest has no agent, or one that starts nothing
   */
  startInGuest(script: string, argument: string): Promise<void>;
  /** Whether the guest agent answers now. */
  hasGuestAgent(): Promise<boolean>;
  /** Counters since its start, for rates. */
  sample(): Promise<MachineSample>;
  close(): void;
}

/** Counters grow; null: not told. */
export interface MachineSample {
  at: number;
  cpuSeconds: number | null;
  memoryMib: number | null;
  guestUsedMib: number | null;
  diskReadBytes: number | null;
  diskWriteBytes: number | null;
  networkReceivedBytes: number | null;
  networkSentBytes: number | null;
}

/**
 * no-hypervisor: it is not installed · impossible: not on this host, not in this state, not with this guest ·
 * refused: the hypervisor said no · silent: it does not answer · gone: it has ended.
 */
export type DriverProblem = 'no-hypervisor' | 'impossible' | 'refused' | 'silent' | 'gone';

/** The message is for people. */
export class DriverError extends Error {
  readonly problem: DriverProblem;

  constructor(problem: DriverProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DriverError';
    this.problem = problem;
  }
}
