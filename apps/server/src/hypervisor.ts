import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import type { ProcessTable } from '@vmo/execution';
import {
  buildSmallGuest,
  createQemuDriver,
  createQemuImg,
  examineImage,
  findProgram,
  findSmallGuestParts,
  ImageError,
  openStorage,
  probeHost,
  smallGuestKernelArguments,
  type HostCapabilities,
  type Storage,
} from '@vmo/hypervisor';
import { defaultQemuBinary, type Config } from './config.ts';
import type { Logger } from './kernel/logger.ts';
import type { Hypervisor } from './vms/index.ts';

const install =
  'Debian, Ubuntu: apt-get install qemu-system-x86 qemu-utils; Fedora: dnf install qemu-kvm; macOS: brew install qemu';

/** QEMU on this machine, in the words of the domain of machines. Nothing is looked at before it is needed. */
export function createHypervisor(config: Config, table: ProcessTable, logger: Logger): Hypervisor {
  const { dataDirectory, storageDirectory, qemuBinary, qemuAccelerator, dryRun } = config;
  const images = createQemuImg();
  let opened: Promise<Storage> | null = null;
  let known: Promise<HostCapabilities> | null = null;

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
      // With the usual name, it is looked for under those that distributions give it.
      qemuBinary: qemuBinary === defaultQemuBinary ? undefined : qemuBinary,
      cacheDirectory: dataDirectory,
      storage: storageDirectory,
      again,
    });
    return qemuAccelerator === 'auto' ? found : { ...found, accelerator: found.qemu && qemuAccelerator };
  }

  function probe(again: boolean): Promise<HostCapabilities> {
    if (again) known = null;
    known ??= tryHost(again)
      .then((found) => {
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
    dryRun,
    storage,
    images,
    probe,
    driver: createQemuDriver({
      storage,
      host: () => probe(false),
      user: config.qemuUser ?? undefined,
      dryRun,
      ladder: config.stopLadder,
      table,
      onError: (error) => {
        logger.warn({ err: error }, 'something went wrong with a machine');
      },
    }),
    async inspect(image) {
      try {
        return await images.inspectImage(image.path, image.format);
      } catch (error) {
        // Images can be brought before QEMU is there; our own look says what matters.
        if (error instanceof ImageError && error.problem === 'no-program') {
          return examineImage(image.path, image.format);
        }
        throw error;
      }
    },
    missing() {
      if (findQemu() === null) return `QEMU (${qemuBinary}) is missing. ${install}`;
      return findProgram('qemu-img') === null ? `qemu-img is missing. ${install}` : null;
    },
    smallGuest: {
      missing: async () => (await findSmallGuestParts()).missing,
      build: () => buildSmallGuest(join(dataDirectory, 'small-guest')),
      kernelArguments: smallGuestKernelArguments,
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
