import { access, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobId, MachineSpec, Sha256, type ClaimedJob, type MachineRequest } from '@vmo/contract';
import { StartError } from '@vmo/execution';
import type { Driver } from '@vmo/hypervisor';
import { z } from 'zod';
import type { BringOptions, ImageCache } from './image-cache.ts';

/** What the machines of requests are made of, on a machine that is not the server's. */
export interface MachineFiles {
  /** The machine of a job, with its files as they are called here. */
  here(job: Pick<ClaimedJob, 'vm'>): unknown;
  /**
   * Has everything here that it is made of, and keeps it here.
   * @throws StartError when that is impossible
   */
  bring(job: Pick<ClaimedJob, 'id' | 'vm'>, options: BringOptions): Promise<void>;
  /** The job is here, also after a restart: nothing of it is removed. */
  hold(job: Pick<ClaimedJob, 'id'>): void;
  /** It runs no more; images of disks that were kept stay. */
  over(jobId: JobId): Promise<void>;
  /** Jobs that are not here, and of whose machines there are files. */
  left(): Promise<JobId[]>;
  /** Nobody wants these files any more. */
  discard(jobIds: readonly JobId[]): Promise<void>;
}

export interface MachineFilesOptions {
  /** Says of each job, also for the next start, which images its machine lies on. */
  directory: string;
  /** The machines' folder of the storage. */
  machines: string;
  driver: Pick<Driver, 'discard'>;
  cache: ImageCache;
}

/** Told at once; the others when these are gone. */
const maxLeft = 500;
const Needed = z.array(Sha256);

/** @throws Error where it cannot be made */
export async function createMachineFiles(options: MachineFilesOptions): Promise<MachineFiles> {
  const { directory, machines, driver, cache } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const needed = new Map<JobId, string[]>();
  const active = new Set<JobId>();
  const discarding = new Map<JobId, Promise<void>>();
  for (const name of await readdir(directory)) {
    const id = JobId.safeParse(name).data;
    if (id !== undefined) needed.set(id, await readNeeded(join(directory, name)));
  }

  const isInUse = (sha256: string) => [...needed.values()].some((some) => some.includes(sha256));

  async function forget(jobId: JobId): Promise<void> {
    needed.delete(jobId);
    await rm(join(directory, jobId), { force: true });
    await cache.trim(isInUse);
  }

  async function discardOne(jobId: JobId): Promise<void> {
    await driver.discard(jobId, false);
    await forget(jobId);
  }

  return {
    here({ vm }) {
      const spec = MachineSpec.safeParse(vm).data;
      return spec?.request ? inPlace(spec, spec.request, cache) : vm;
    },

    hold({ id }) {
      active.add(id);
    },

    async bring({ id, vm }, how) {
      const images = MachineSpec.safeParse(vm).data?.request?.images;
      if (!images) throw new StartError('what its machine is made of is on the server alone');
      await discarding.get(id);
      const digests = images.map(({ sha256 }) => sha256);
      needed.set(id, digests);
      await writeFile(join(directory, id), JSON.stringify(digests), { mode: 0o600 });
      const missing = images.filter(({ sha256 }) => cache.fileOf(sha256) === null);
      const bytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      if (missing.length > 0) await cache.trim(isInUse, bytes);
      await cache.bring(images, how);
    },

    async over(jobId) {
      active.delete(jobId);
      if (needed.has(jobId) && !(await exists(join(machines, jobId)))) await forget(jobId);
    },

    async left() {
      const ids = (await readdir(machines)).flatMap((name) => JobId.safeParse(name).data ?? []);
      return [...new Set([...ids, ...needed.keys()])].filter((id) => !active.has(id)).slice(0, maxLeft);
    },

    async discard(jobIds) {
      for (const id of jobIds) {
        // It may have been given to us again meanwhile.
        if (active.has(id)) continue;
        const mine = discardOne(id).finally(() => discarding.delete(id));
        discarding.set(id, mine);
        await mine;
      }
    },
  };
}

/** The same machine; images of the server by what they are called here. */
function inPlace(spec: MachineSpec, request: MachineRequest, cache: ImageCache): MachineSpec {
  const names = new Map(
    (request.images ?? []).map(({ name, sha256 }) => [
      `images/${name}`,
      `images/${cache.fileOf(sha256) ?? name}`,
    ]),
  );
  const here = (file: string) => names.get(file) ?? file;
  const { boot } = spec;
  return {
    ...spec,
    boot:
      boot.from === 'kernel'
        ? { ...boot, kernel: here(boot.kernel), initrd: boot.initrd === null ? null : here(boot.initrd) }
        : boot,
    disks: spec.disks.map((disk) => ({ ...disk, file: here(disk.file) })),
    request: {
      ...request,
      overlays: request.overlays.map((overlay) => ({
        ...overlay,
        below: overlay.below.map((below) => ({ ...below, file: here(below.file) })),
      })),
    },
  };
}

/** What cannot be read says nothing; then an image may go under a disk that was kept. */
async function readNeeded(path: string): Promise<string[]> {
  try {
    return Needed.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return [];
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
