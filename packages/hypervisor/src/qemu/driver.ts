import type { MachineSpec } from '@vmo/contract';
import {
  createProcessTable,
  isAlive,
  readIdentity,
  type ProcessIdentity,
  type ProcessTable,
} from '@vmo/execution';
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DriverError,
  type Driver,
  type LadderTimes,
  type Machine,
  type PreparedMachine,
  type PrepareOptions,
} from '../driver.ts';
import { ImageError } from '../images/errors.ts';
import type { Storage } from '../images/storage.ts';
import { isOwnProgram, programFolders } from '../program.ts';
import type { HostCapabilities } from '../probe/probe.ts';
import { askFile, keyFile, makeAccess } from '../request/access.ts';
import { readLayers, type Layer } from './block.ts';
import { buildArguments, macOf } from './command-line.ts';
import { admit, ownSocket, confine, findOwner, makeFolders } from './confinement.ts';
import { defaultDetachMs } from './disks.ts';
import { defaultLadder } from './ladder.ts';
import { within } from '../within.ts';
import { launcher, requestLauncher, warmLauncher } from './launcher.ts';
import { identityFile, longestSocket, maxSocketPath, sockets, tapName } from './layout.ts';
import { QemuMachine } from './machine.ts';
import { createPortFinder } from './ports.ts';
import { keepDisksOnly, makeOverlays, withoutOverlays } from './overlays.ts';
import { readRecord, writeRecord } from './record.ts';
import { findStrangers } from './strangers.ts';
import { makeTap, removeTap } from './tap.ts';
import { dropWarm, findWarm, mayBeWarm, memoryPath, onKept } from './warm.ts';

export interface QemuDriverOptions {
  storage: () => Promise<Storage>;
  /** What this host can do; asked at every start, so it should remember. */
  host: () => Promise<Pick<HostCapabilities, 'qemu' | 'accelerator' | 'features' | 'words'>>;
  /** As root: the user that QEMU runs as. Default: `libvirt-qemu` where there is one, else `nobody`. */
  user?: string | undefined;
  /** Says what it would do, and starts nothing. */
  dryRun?: boolean;
  ladder?: Partial<LadderTimes>;
  /** Of a command to QEMU. Default 10 s. */
  commandTimeoutMs?: number;
  /** How long a guest may take to let go of a disk before that is `pending`. Default 5 s. */
  detachMs?: number;
  table?: ProcessTable;
  /** Told what listeners threw, and what went wrong where nobody waits. */
  onError?: (error: unknown) => void;
}

/** That sshd listens at, in a guest. */
const sshPort = 22;
/** How long `connect` waits to know how a machine stands. */
const settleMs = 5_000;

export function createQemuDriver(options: QemuDriverOptions): Driver {
  const { dryRun = false, table = createProcessTable() } = options;
  const onError = options.onError ?? ((error) => process.emitWarning(String(error)));
  const ports = createPortFinder();
  const machines = new Map<string, Promise<QemuMachine | null>>();

  async function findProcess(vmDirectory: string): Promise<ProcessIdentity | null> {
    const identity = await readIdentity(vmDirectory, identityFile);
    return identity && (await isAlive(table, identity)) ? identity : null;
  }

  async function capabilities() {
    const host = await options.host();
    const { qemu, accelerator } = host;
    if (qemu && accelerator) return { qemu, accelerator, features: host.features };
    throw new DriverError('no-hypervisor', host.words.join(' · ') || 'QEMU is missing');
  }

  async function prepare(spec: MachineSpec, { runDirectory }: PrepareOptions): Promise<PreparedMachine> {
    const { qemu, accelerator, features } = await capabilities();
    const storage = await options.storage();
    const directory = storage.vmDirectory(spec.id);
    const socket = longestSocket(directory);
    if (Buffer.byteLength(socket) > maxSocketPath)
      throw new DriverError(
        'impossible',
        `the storage path is too long: a socket at ${socket} cannot be opened`,
      );
    const running = await findProcess(directory);
    if (running) throw new DriverError('impossible', `${spec.name} runs already, as process ${running.pid}`);
    if (spec.network.mode === 'user' && !features.userNetworking)
      throw new DriverError(
        'impossible',
        'this QEMU was built without user networking: take network mode none or bridge',
      );
    if (spec.display === 'vnc' && !features.vnc)
      throw new DriverError('impossible', 'this QEMU was built without VNC: take display none');

    const isWarm = spec.request !== null && !dryRun && mayBeWarm(spec.request);
    const warm = isWarm
      ? await findWarm(spec, { storage, version: qemu.version, binary: qemu.path, accelerator })
      : null;
    const kept = warm?.kept ?? null;
    if (spec.request && !dryRun) {
      await makeOverlays(storage, spec.id, warm?.kept ? onKept(spec.request, warm.key) : spec.request);
      await makeAccess(storage, spec.id, spec.request);
    }
    // A dry run has made no overlay: what it would lie on is looked at instead.
    const layers: Layer[][] = [];
    for (const disk of dryRun ? withoutOverlays(spec) : spec.disks)
      layers.push(await readLayers(storage, disk));
    const { boot } = spec;
    const others =
      boot.from === 'kernel' ? [boot.kernel, ...(boot.initrd === null ? [] : [boot.initrd])] : [];
    const owner = await findOwner(options.user);
    const files = new Set([...others, ...layers.flat().map(({ file }) => file)]);
    if (dryRun) for (const file of files) await (await storage.openInside(file)).file.close();
    else {
      await makeFolders(storage, directory, files, owner);
      for (const file of files) await admit(storage, file, owner);
    }

    const forwards = [];
    for (const guest of spec.network.mode === 'user' ? new Set(spec.network.forward) : [])
      forwards.push({ guest, host: await ports.find() });
    const tap = spec.network.mode === 'bridge' ? tapName(spec.id) : null;
    const program = [...(await confine(owner, accelerator === 'kvm')), qemu.path];
    const args = buildArguments({
      ...{ spec, layers, accelerator, features, tap },
      ports: forwards,
      isRestored: kept !== null,
    });
    if (!dryRun) {
      await rm(join(directory, identityFile), { force: true });
      await writeRecord(directory, {
        ...{ version: qemu.version, accelerator, ports: forwards, tap, owner },
        vnc: spec.display === 'vnc',
        heldUp: false,
        broken: null,
        warm: warm && {
          ...{ key: warm.key, restored: kept !== null },
          disks: spec.request?.overlays.map(({ file }) => file) ?? [],
        },
      });
      if (tap !== null && spec.network.mode === 'bridge') await makeTap(tap, spec.network.bridge, owner);
    }
    const launch = warm?.kept
      ? warmLauncher(memoryPath(warm.key))
      : spec.request
        ? requestLauncher
        : launcher;
    return {
      argv: [...['/bin/sh', '-c', launch, 'vmo-machine', runDirectory], ...[...program, ...args]],
      shown: [...program, ...args],
      directory,
      environment: { PATH: programFolders.join(':'), LC_ALL: 'C' },
      ...{ accelerator, version: qemu.version, ports: forwards, warm: kept },
    };
  }

  async function takeHold(id: string): Promise<QemuMachine | null> {
    const storage = await options.storage();
    const vmDirectory = storage.vmDirectory(id);
    const identity = await findProcess(vmDirectory);
    const record = identity && (await readRecord(vmDirectory));
    if (!identity || !record) return null;
    const machine: QemuMachine = new QemuMachine({
      ...{ id, identity, record, vmDirectory, storage, table, onError },
      ladder: { ...defaultLadder, ...options.ladder },
      commandTimeoutMs: options.commandTimeoutMs ?? 10_000,
      detachMs: options.detachMs ?? defaultDetachMs,
      onClosed: () => machines.delete(id),
    });
    await within(machine.settled, settleMs);
    return machine.status === 'ended' ? null : machine;
  }

  return {
    kind: 'qemu',
    dryRun,

    async prepare(spec, how) {
      try {
        return await prepare(spec, how);
      } catch (error) {
        if (error instanceof ImageError) throw new DriverError('impossible', error.message, { cause: error });
        throw error;
      }
    },

    async connect(id): Promise<Machine | null> {
      const known = machines.get(id);
      if (known) return known;
      const mine = takeHold(id);
      machines.set(id, mine);
      try {
        const machine = await mine;
        if (!machine) machines.delete(id);
        return machine;
      } catch (error) {
        machines.delete(id);
        throw error;
      }
    },

    async release(id) {
      await removeTap(tapName(id));
    },

    async controlSocket(id) {
      const directory = (await options.storage()).vmDirectory(id);
      const record = await readRecord(directory);
      if (!record) throw new DriverError('gone', 'there is no record of this machine');
      return ownSocket(join(directory, sockets.control), record.owner);
    },

    macOf,

    async keepWarm(id, report, uptime) {
      const machine = await this.connect(id);
      return machine instanceof QemuMachine && machine.keepWarm(report, uptime);
    },

    async dropWarm(id) {
      const storage = await options.storage();
      const record = await readRecord(storage.vmDirectory(id));
      if (record?.warm) await dropWarm(storage, record.warm.key);
    },

    async sshAccess(id) {
      const directory = (await options.storage()).vmDirectory(id);
      const port = (await readRecord(directory))?.ports.find(({ guest }) => guest === sshPort)?.host;
      if (port === undefined) return null;
      const there = async (name: string) =>
        access(join(directory, name)).then(
          () => join(directory, name),
          () => null,
        );
      return { port, keyFile: await there(keyFile), askFile: await there(askFile) };
    },

    async discard(id, keepDisks) {
      const directory = (await options.storage()).vmDirectory(id);
      if (keepDisks) await keepDisksOnly(directory);
      else await rm(directory, { recursive: true, force: true });
      return keepDisks ? directory : null;
    },

    async strangers(ours) {
      const storage = await options.storage();
      const pids = new Set<number>();
      for (const id of ours) {
        const identity = await findProcess(storage.vmDirectory(id));
        if (identity) pids.add(identity.pid);
      }
      const strangers = [];
      for (const stranger of findStrangers(pids)) {
        // What is being tried on this host right now is no machine of others.
        const found = await table.find(stranger.pid);
        if (!found || !isOwnProgram(found.session)) strangers.push(stranger);
      }
      return strangers;
    },

    async close() {
      for (const machine of await Promise.allSettled(machines.values()))
        if (machine.status === 'fulfilled') machine.value?.close();
    },
  };
}
