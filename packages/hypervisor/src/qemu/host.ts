import type { ProcessTable } from '@vmo/execution';
import { availableParallelism, totalmem } from 'node:os';
import type { Driver, LadderTimes } from '../driver.ts';
import { openStorage, type Storage } from '../images/storage.ts';
import { acceleratorsOf, probeHost, type HostCapabilities } from '../probe/probe.ts';
import { findProgram } from '../program.ts';
import { createQemuDriver } from './driver.ts';

/** QEMU's name where a person has said nothing else: then it is also looked for under those that distributions give it. */
export const defaultQemuBinary = 'qemu-system-x86_64';

const install =
  'Debian, Ubuntu: apt-get install qemu-system-x86 qemu-utils; Fedora: dnf install qemu-kvm; macOS: brew install qemu';

export interface QemuHostOptions {
  storageDirectory: string;
  /** Where is remembered what was tried. */
  cacheDirectory: string;
  qemuBinary: string;
  accelerator: 'auto' | 'kvm' | 'tcg';
  /** As whom QEMU runs where we are root; null: the hypervisor's own choice. */
  user: string | null;
  dryRun?: boolean;
  ladder?: Partial<LadderTimes>;
  table: ProcessTable;
  /** Told what went wrong with a machine where nobody waits. */
  onError: (error: unknown) => void;
}

export interface QemuHost {
  driver: Driver;
  /** Where everything of machines lies. Made at the first need. */
  storage(): Promise<Storage>;
  /** What this host can do. Remembered: only the first time, and with `again`, it is tried, which takes seconds. */
  probe(again: boolean): Promise<HostCapabilities>;
  /** What guests can be started with here, best first; empty as long as nobody has asked for what this host can do. */
  accelerators(): string[];
  /** What to install before any machine can run; null: it is there. A look at a few files. */
  missing(): string | null;
}

/** QEMU on this machine, with its storage. Nothing is looked at before it is needed. */
export function createQemuHost(options: QemuHostOptions): QemuHost {
  const { storageDirectory, cacheDirectory, qemuBinary, accelerator, dryRun = false } = options;
  let opened: Promise<Storage> | null = null;
  let known: Promise<HostCapabilities> | null = null;
  let latest: HostCapabilities | null = null;

  /** A storage that cannot be opened now may be there the next time. */
  function storage(): Promise<Storage> {
    opened ??= openStorage(storageDirectory).catch((error: unknown) => {
      opened = null;
      throw error;
    });
    return opened;
  }

  const findQemu = () =>
    findProgram(qemuBinary) ?? (qemuBinary === defaultQemuBinary ? findProgram('qemu-kvm') : null);

  async function tryHost(again: boolean): Promise<HostCapabilities> {
    if (dryRun) return assumeHost(findQemu());
    const found = await probeHost({
      qemuBinary: qemuBinary === defaultQemuBinary ? undefined : qemuBinary,
      cacheDirectory,
      storage: storageDirectory,
      again,
    });
    return accelerator === 'auto' ? found : { ...found, accelerator: found.qemu && accelerator };
  }

  function probe(again: boolean): Promise<HostCapabilities> {
    if (again) known = null;
    known ??= tryHost(again)
      .then((found) => {
        latest = found;
        // What was missing may be installed by the next time.
        if (!found.accelerator) known = null;
        return found;
      })
      .catch((error: unknown) => {
        known = null;
        throw error;
      });
    return known;
  }

  return {
    storage,
    probe,
    accelerators: () => (latest ? acceleratorsOf(latest) : []),
    driver: createQemuDriver({
      storage,
      host: () => probe(false),
      user: options.user ?? undefined,
      dryRun,
      ...(options.ladder && { ladder: options.ladder }),
      table: options.table,
      onError: options.onError,
    }),
    missing() {
      if (findQemu() === null) return `QEMU (${qemuBinary}) is missing. ${install}`;
      return findProgram('qemu-img') === null ? `qemu-img is missing. ${install}` : null;
    },
  };
}

/** A dry run starts nothing, so nothing is tried either. */
function assumeHost(qemu: string | null): HostCapabilities {
  return {
    qemu: qemu === null ? null : { path: qemu, version: 'unknown' },
    qemuImg: null,
    accelerator: qemu === null ? null : 'tcg',
    kvm: 'absent',
    bootMilliseconds: { kvm: null, tcg: null },
    features: { sandbox: true, microvm: true, virtioMem: true, userNetworking: true, vnc: true },
    host: { memoryBytes: totalmem(), cpuCount: availableParallelism() },
    storage: null,
    words: [qemu === null ? 'QEMU is missing' : 'VMO_DRY_RUN is set: nothing was tried'],
    probedAt: new Date(),
  };
}
