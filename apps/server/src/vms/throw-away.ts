import {
  CodedError,
  DiskId,
  isVmLive,
  VmId,
  type DiskFormat,
  type GuestLogin,
  type JobId,
  type MachineRequest,
  type MachineSpec,
  type NeededImage,
  type SimulationRequest,
  type VmNetwork,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { newId } from '../kernel/ids.ts';
import { listDisksOf } from './disks-repository.ts';
import { smallGuest, type VmsHost } from './host.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { ImageCopies } from './image-copies.ts';
import type { Images } from './images.ts';
import { listImages } from './images-repository.ts';
import { checkSizes, planVm, specBoot, type Plan } from './plan.ts';
import { findVmByName, listVmNames, type MachineRow } from './repository.ts';
import type { Templates } from './templates.ts';
import { closestTo } from './words.ts';

/** The small guest, where no template of the person's is called so: it needs nothing to be there. */
const smallGuestName = 'small-guest';
const smallGuestMemoryMib = 256;
const sshPort = 22;
const endings = ['.qcow2', '.img', '.raw'];

export interface ThrowAwayDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  images: Images;
  copies: ImageCopies;
  templates: Templates;
  host: VmsHost;
  /** Makes the files of a machine's disks what its rows say. */
  settle: (vmId: VmId) => Promise<unknown>;
}

/** A machine that can be started again and again, each time as it was. */
export interface ThrowAway {
  kind: SimulationRequest['vm_kind'];
  /** That its template says. */
  login: GuestLogin | null;
  network: VmNetwork;
  spec(id: JobId, request: Omit<MachineRequest, 'overlays' | 'images' | 'seed'>): MachineSpec;
}

type Finder = Awaited<ReturnType<Images['finder']>>;

interface Base extends Pick<Plan, 'cpus' | 'memoryMib' | 'boot' | 'network' | 'arguments'> {
  disks: { sizeBytes: number; below: MachineRequest['overlays'][number]['below'] }[];
  /** null: it is made of what only this machine has. */
  images: NeededImage[] | null;
}

interface Found extends Pick<ThrowAway, 'kind' | 'login'> {
  base: Base;
}

/** Machines that are thrown away: what a name means, and what is made of it. */
export function createThrowAway(deps: ThrowAwayDeps) {
  const { db, hypervisor, images, copies, templates, host, settle } = deps;
  let building: Promise<void> | null = null;

  /** Once: it is the same as long as this process lives. */
  function buildSmallGuest(): Promise<void> {
    building ??= host.buildSmallGuest().catch((error: unknown) => {
      building = null;
      throw error;
    });
    return building;
  }

  async function find(name: string): Promise<Found> {
    const known = await templates.list();
    const template = known.find((one) => one.name === name);
    if (template) {
      const usable = await templates.get(template.id);
      const finder = await images.finder();
      const base = await toBase(planVm({ name }, usable, finder), finder);
      return { kind: 'template', base, login: usable.login };
    }
    if (name === smallGuestName) {
      await buildSmallGuest();
      const boot = { from: 'kernel', ...smallGuest, append: hypervisor.smallGuest.kernelArguments } as const;
      const finder = await images.finder();
      const plan = planVm({ name, boot, memoryMib: smallGuestMemoryMib }, null, finder);
      return { kind: 'template', base: await toBase(plan, finder), login: null };
    }
    const finder = await images.finder();
    const disks = (await listImages(db)).filter(({ kind }) => kind === 'disk').map((image) => image.name);
    const image = [name, ...endings.map((ending) => name + ending)].find((one) => disks.includes(one));
    if (image !== undefined) {
      return {
        kind: 'image',
        base: await toBase(planVm({ name: 'image', image }, null, finder), finder),
        login: null,
      };
    }
    const vm = await findVmByName(db, name);
    if (vm) return { kind: 'vm', base: await baseOf(vm), login: null };
    const all = [...known.map((one) => one.name), ...disks, ...(await listVmNames(db)), smallGuestName];
    const near = closestTo(name, [...new Set(all)]);
    throw new CodedError(
      'VM_NOT_FOUND',
      `there is no template, image or machine ${name}; there is ${near.join(', ')}`,
    );
  }

  async function toBase(plan: Plan, finder: Finder): Promise<Base> {
    const { cpus, memoryMib, boot, network, arguments: words, disk } = plan;
    const image = disk?.image ?? null;
    const initrd = boot.from === 'kernel' ? boot.initrd : null;
    const needed = [
      ...(image === null ? [] : [finder(image, 'disk')]),
      ...(boot.from === 'kernel' ? [finder(boot.kernel, 'kernel')] : []),
      ...(initrd === null ? [] : [finder(initrd, 'initrd')]),
    ];
    return {
      ...{ cpus, memoryMib, boot, network, arguments: words, disks: disk ? [disk] : [] },
      // Words for QEMU from a file of the server's owner may name anything of the server's machine.
      images: words.length > 0 ? null : await Promise.all(needed.map((row) => copies.needed(row))),
    };
  }

  /** A machine that runs changes its disks: what lies on them would be neither this nor that. */
  async function baseOf(vm: MachineRow): Promise<Base> {
    if (isVmLive(vm.status)) {
      throw new CodedError(
        'VM_WRONG_STATE',
        `${vm.name} is ${vm.status}: its disks can be read only while it is stopped. Stop it, or make a template of it`,
      );
    }
    await settle(vm.id);
    const disks = await listDisksOf(db, vm.id);
    return {
      ...vm,
      images: null,
      disks: disks.map(({ sizeBytes, file, format, chain }) => {
        return { sizeBytes, below: [{ file, format }, ...chain] };
      }),
    };
  }

  return {
    /**
     * What a name means: a template, an image, a stopped machine.
     * @throws CodedError VM_NOT_FOUND with the nearest names, VM_WRONG_STATE, VM_IMPOSSIBLE, HYPERVISOR_UNAVAILABLE
     */
    async plan(name: string, wanted: { cpus?: number; memoryMib?: number }): Promise<ThrowAway> {
      const { kind, base, login } = await find(name);
      const cpus = wanted.cpus ?? base.cpus;
      const memoryMib = wanted.memoryMib ?? base.memoryMib;
      checkSizes({ cpus, memoryMib, maxCpus: cpus, maxMemoryMib: memoryMib });
      const missing = hypervisor.missing();
      if (missing !== null) throw new CodedError('HYPERVISOR_UNAVAILABLE', missing);
      return {
        ...{ kind, login, network: base.network },
        spec(jobId, request) {
          const id = VmId.parse(jobId);
          const overlays = base.disks.map((disk, index) => {
            return { ...disk, file: `vms/${id}/${index === 0 ? 'root' : `disk-${index}`}.qcow2` };
          });
          const mayUseSsh = request.login !== null && ['ssh', null].includes(request.channel);
          const seed = mayUseSsh && request.login?.password === null ? `vms/${id}/seed.raw` : null;
          return {
            ...{ id, name: `request-${jobId.slice(-12)}` },
            ...{ cpus, maxCpus: cpus, memoryMib, maxMemoryMib: memoryMib },
            boot: specBoot(base.boot),
            disks: [
              ...overlays.map(({ file }) => toDisk(file, 'qcow2')),
              ...(seed === null ? [] : [{ ...toDisk(seed, 'raw'), readOnly: true }]),
            ],
            network: withForward(base.network, mayUseSsh),
            display: 'none',
            arguments: base.arguments,
            request: { ...request, overlays, images: base.images, seed },
          };
        },
      };
    },

    /** The disks that were kept of a failed one go. May be called again. */
    async discard(id: JobId): Promise<void> {
      await hypervisor.driver.discard(id, false);
    },
  };
}

const toDisk = (file: string, format: DiskFormat) => {
  return { id: DiskId.parse(newId()), file, format, readOnly: false };
};

/** Nobody but its own commands talks to it, and we where SSH brings them in. */
const withForward = (network: VmNetwork, mayUseSsh: boolean): VmNetwork =>
  network.mode === 'user' ? { ...network, forward: mayUseSsh ? [sshPort] : [] } : network;
