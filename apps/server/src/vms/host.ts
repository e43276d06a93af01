import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, rename, rm, statfs } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError, type VmHost } from '@vmo/contract';
import type { HostCapabilities } from '@vmo/hypervisor';
import type { Logger } from '../kernel/logger.ts';
import type { Hypervisor } from './hypervisor.ts';
import { freeMemoryBytes } from './metrics-host.ts';
import type { Images } from './images.ts';

const mib = 1024 * 1024;
export const smallGuest = { kernel: 'small-guest.kernel', initrd: 'small-guest.initrd' } as const;

const kvmWords =
  'What this machine can do is being tried: guests are booted with and without KVM, which takes some seconds';
/** What is remembered is there within this time, and need not be asked for again. */
const recallMs = 500;

export interface HostDeps {
  hypervisor: Hypervisor;
  images: Images;
  /** Machines of ours that may have a process. */
  listOurs(): Promise<ReadonlySet<string>>;
  logger: Logger;
}

/** What this host can do for machines. */
export function createHost({ hypervisor, images, listOurs, logger }: HostDeps) {
  let known: HostCapabilities | null = null;
  /** Why the last trial told nothing. */
  let failure: string | null = null;
  let trial: { again: boolean; over: Promise<void> } | null = null;

  async function probe(again: boolean): Promise<void> {
    try {
      known = await hypervisor.probe(again);
      failure = null;
    } catch (error) {
      logger.warn({ err: error }, 'what this host can do for machines could not be tried');
      failure = error instanceof Error ? error.message : String(error);
    }
  }

  /** In the background, one trial at a time: a new one follows one that may only remember. */
  function begin(again: boolean): void {
    if (trial && (trial.again || !again)) return;
    const before = trial?.over ?? Promise.resolve();
    const mine = { again, over: before.then(() => probe(again)) };
    trial = mine;
    void mine.over.then(() => {
      if (trial === mine) trial = null;
    });
  }

  function words(): string {
    if (known && failure === null) return known.words.join('. ');
    if (trial) return hypervisor.missing() ?? kvmWords;
    return failure === null ? kvmWords : `it could not be tried: ${failure}`;
  }

  async function describe(): Promise<VmHost> {
    const [{ root }, missing, ours] = await Promise.all([
      hypervisor.storage(),
      hypervisor.smallGuest.missing(),
      listOurs(),
    ]);
    const disk = await statfs(root).catch(() => null);
    const strangers = await hypervisor.driver.strangers(ours).catch((error: unknown) => {
      logger.warn({ err: error }, 'other machines of this host could not be looked for');
      return [];
    });
    const features = known ? Object.entries(known.features).filter(([, there]) => there) : [];
    return {
      qemu: known?.qemu ?? null,
      accelerator: known?.accelerator ?? null,
      kvm: known?.kvm ?? 'absent',
      words: words(),
      features: features.map(([name]) => kebab(name)),
      cpus: availableParallelism(),
      memoryMib: Math.floor(totalmem() / mib),
      freeMemoryMib: Math.floor(freeMemoryBytes() / mib),
      storagePath: root,
      freeStorageBytes: disk ? disk.bavail * disk.bsize : null,
      storageBytes: disk ? disk.blocks * disk.bsize : null,
      probedAt: known?.probedAt.toISOString() ?? null,
      probing: trial !== null,
      tryVm: {
        possible: missing === null && hypervisor.missing() === null,
        install: missing ?? hypervisor.missing(),
      },
      strangers: strangers.map(({ pid, name, evidence }) => ({ pid, name, evidence })),
      dryRun: hypervisor.dryRun,
    };
  }

  return {
    /** What is not known yet is being found out from now on, in the background. */
    look() {
      if (!known && failure === null) begin(false);
    },

    /** Almost at once: what is not known yet, nor remembered, is being tried in the background. */
    async get(): Promise<VmHost> {
      if (!known && failure === null) {
        begin(false);
        await Promise.race([trial?.over, delay(recallMs, undefined, { ref: false })]);
      }
      return describe();
    },

    /** Also at once: `probing` until it is known. */
    async tryAgain(): Promise<VmHost> {
      begin(true);
      return describe();
    },

    /**
     * Puts the small guest among the images.
     * @throws CodedError VM_IMPOSSIBLE which names what to install
     */
    async buildSmallGuest(): Promise<void> {
      const missing = hypervisor.missing() ?? (await hypervisor.smallGuest.missing());
      if (missing !== null) throw new CodedError('VM_IMPOSSIBLE', missing);
      const built = await hypervisor.smallGuest.build();
      const folder = await images.folder();
      await mkdir(folder, { recursive: true });
      await put(built.kernel, join(folder, smallGuest.kernel));
      await put(built.initrd, join(folder, smallGuest.initrd));
      await images.scan();
    },
  };
}

export type VmsHost = ReturnType<typeof createHost>;

/** Whole or not at all: machines that run have their kernel in memory, and read it no more. */
async function put(source: string, target: string): Promise<void> {
  const temporary = join(dirname(target), `.${randomUUID()}.new`);
  try {
    await copyFile(source, temporary);
    await rename(temporary, target);
  } finally {
    await rm(temporary, { force: true });
  }
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
