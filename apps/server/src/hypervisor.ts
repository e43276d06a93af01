import { join } from 'node:path';
import type { ProcessTable } from '@vmo/execution';
import {
  buildSmallGuest,
  createQemuHost,
  createQemuImg,
  examineImage,
  findSmallGuestParts,
  ImageError,
  smallGuestKernelArguments,
} from '@vmo/hypervisor';
import type { Config } from './config.ts';
import type { Logger } from './kernel/logger.ts';
import type { Hypervisor } from './vms/index.ts';

/** QEMU on this machine, in the words of the domain of machines. Nothing is looked at before it is needed. */
export function createHypervisor(config: Config, table: ProcessTable, logger: Logger): Hypervisor {
  const { dataDirectory, storageDirectory, qemuBinary, qemuAccelerator, qemuUser, dryRun } = config;
  const images = createQemuImg();
  const host = createQemuHost({
    ...{ storageDirectory, cacheDirectory: dataDirectory, qemuBinary, dryRun, table },
    ...{ accelerator: qemuAccelerator, user: qemuUser, ladder: config.stopLadder },
    onError: (error) => {
      logger.warn({ err: error }, 'something went wrong with a machine');
    },
  });

  return {
    ...host,
    dryRun,
    images,
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
    smallGuest: {
      missing: async () => (await findSmallGuestParts()).missing,
      build: () => buildSmallGuest(join(dataDirectory, 'small-guest')),
      kernelArguments: smallGuestKernelArguments,
    },
  };
}
