import { join } from 'node:path';
import type { ImageCopy } from '@vmo/contract';
import type { ProcessTable, Strategy } from '@vmo/execution';
import { createQemuHost, createVmRunStrategy } from '@vmo/hypervisor';
import type { AgentLogger } from './agent.ts';
import type { AgentConfig } from './config.ts';
import { createImageCache } from './image-cache.ts';
import { createKeptSender, type KeptSender } from './kept-sender.ts';
import { createMachineFiles, type MachineFiles } from './machine-files.ts';
import type { HttpAgentApi } from './http-api.ts';

/** What a renewal has room for. */
const maxAnnounced = 1_000;

/** QEMU and the storage of an agent that is a program of its own. */
export interface Machines {
  strategy: Strategy;
  files: MachineFiles;
  /** Sends kept disks that the server wants. */
  kept: KeptSender;
  /** What there is for requests; null: nothing yet, or no QEMU. */
  offer(): { accelerators: string[]; images: ImageCopy[] } | null;
  /**
   * Tries what QEMU can do here, and looks which images there are: seconds, at the first start.
   * @returns why there can be no machines; null: there can
   */
  look(): Promise<string | null>;
  /** Lets go of machines, which go on. */
  close(): Promise<void>;
}

export interface MachinesOptions {
  config: AgentConfig;
  table: ProcessTable;
  local: Strategy;
  api: Pick<HttpAgentApi, 'image' | 'kept' | 'keptPiece'>;
  logger: AgentLogger;
}

export async function createMachines({
  config,
  table,
  local,
  api,
  logger,
}: MachinesOptions): Promise<Machines> {
  const { dataDirectory, storageDirectory, qemu, imageCacheBytes } = config;
  const host = createQemuHost({
    ...{ storageDirectory, cacheDirectory: dataDirectory, table },
    ...{ qemuBinary: qemu.binary, accelerator: qemu.accelerator, user: qemu.user },
    onError: (error) => {
      logger.warn({ err: error }, 'something went wrong with a machine');
    },
  });
  const { root } = await host.storage();
  const cache = createImageCache({
    folder: join(root, 'images'),
    maxBytes: imageCacheBytes,
    source: (sha256, offset, signal) => api.image(sha256, offset, signal),
  });
  const files = await createMachineFiles({
    ...{ directory: join(dataDirectory, 'machines'), machines: join(root, 'vms') },
    ...{ driver: host.driver, cache },
  });
  const kept = createKeptSender({ machines: join(root, 'vms'), api, logger });
  let hasLooked = false;

  return {
    files,
    kept,
    strategy: createVmRunStrategy({ driver: host.driver, local }),
    offer: () =>
      hasLooked ? { accelerators: host.accelerators(), images: cache.list().slice(0, maxAnnounced) } : null,

    async look() {
      const missing = host.missing();
      if (missing !== null) return missing;
      const [{ accelerator, words }] = await Promise.all([host.probe(false), cache.scan()]);
      hasLooked = accelerator !== null;
      return hasLooked ? null : words.join('. ');
    },

    async close() {
      await kept.close();
      await host.driver.close();
    },
  };
}
