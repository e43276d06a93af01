import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  CodedError,
  DiskId,
  VmId,
  type MachineRequest,
  type MachineSpec,
  type Vm,
  type VmBoot,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import * as disks from './disks-repository.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Images } from './images.ts';
import type { KeptDisks } from './making.ts';
import { namingOnce } from './naming.ts';
import type { Operations } from './operations.ts';
import { checkBoot, defaultForwards } from './plan.ts';
import * as repository from './repository.ts';
import type { Show } from './show.ts';
import type { Telling } from './telling.ts';

export interface KeptDeps {
  db: Kysely<Database>;
  hypervisor: Hypervisor;
  images: Images;
  operations: Operations;
  telling: Telling;
  show: Show;
}

/** What is there already, or what a throw-away machine was. */
export type Opening =
  | { vmId: VmId }
  | {
      spec: MachineSpec;
      startedAt: Date | null;
      detail: string;
      made(vmId: VmId): Promise<void>;
    };

export interface HowOpened {
  /** Of a new machine. */
  name: string;
  start: boolean;
}

type Overlay = MachineRequest['overlays'][number];

const imageOf = (file: string): string | null => (file.startsWith('images/') ? basename(file) : null);

/** Ordinary machines of the disks that throw-away ones left. */
export function createKept({ db, hypervisor, images, operations, telling, show }: KeptDeps) {
  /** What lies below belongs to a machine, which may have been started since: then the whole is neither this nor that. */
  async function checkBelow({ below }: Overlay, startedAt: Date | null): Promise<void> {
    const { root } = await hypervisor.storage();
    for (const { file } of below) {
      if (imageOf(file) !== null) continue;
      const stats = await stat(join(root, file)).catch(() => null);
      if (stats && startedAt && stats.mtime <= startedAt) continue;
      const what = stats ? 'was written to since' : 'is gone';
      throw new CodedError(
        'VM_WRONG_STATE',
        `the kept disk only says what changed on the disk of a machine, and that one ${what}`,
      );
    }
  }

  /** On an image it can stay; with the disk of somebody's machine below, it becomes a disk of its own. */
  function toDisk(vm: repository.MachineRow, overlay: Overlay, slot: number) {
    const [first] = overlay.below;
    const image = first && overlay.below.length === 1 ? imageOf(first.file) : null;
    const id = DiskId.parse(newId());
    return {
      ...{ id, format: 'qcow2' as const, readOnly: false, createdBy: vm.createdBy, image },
      name: slot === 0 ? vm.name : `${vm.name}-${slot}`,
      file: slot === 0 ? `vms/${vm.id}/root.qcow2` : `disks/${id}.qcow2`,
      ...{ sizeBytes: overlay.sizeBytes, chain: image === null ? [] : overlay.below },
      ...{ vmId: vm.id, slot, attachment: 'attached' as const },
    };
  }

  async function insert(
    trx: Transaction<Database>,
    actor: Actor,
    { spec, startedAt, detail, made }: Extract<Opening, { spec: MachineSpec }>,
    { name, start }: HowOpened,
  ) {
    const find = await images.finder();
    const overlays = spec.request?.overlays ?? [];
    for (const overlay of overlays) await checkBelow(overlay, startedAt);
    const boot = toBoot(spec.boot);
    checkBoot(boot, find);
    const vm = await repository.insertVm(trx, {
      ...{ id: VmId.parse(newId()), name, createdBy: actor.name, templateId: null },
      ...{ cpus: spec.cpus, maxCpus: spec.maxCpus, arguments: spec.arguments, boot, display: 'vnc' },
      ...{ memoryMib: spec.memoryMib, maxMemoryMib: spec.maxMemoryMib },
      network: spec.network.mode === 'user' ? { ...spec.network, forward: defaultForwards } : spec.network,
    });
    const kept: KeptDisks = [];
    for (const [slot, overlay] of overlays.entries()) {
      const disk = toDisk(vm, overlay, slot);
      if (disk.image !== null) find(disk.image, 'disk');
      await disks.insertDisk(trx, disk);
      kept.push({ slot, file: overlay.file, format: 'qcow2', chain: overlay.below });
    }
    await made(vm.id);
    const work = { vm, kind: 'clone', request: { kept }, detail } as const;
    const cloned = await operations.insert(trx, actor, work);
    const started = start ? [await operations.insert(trx, actor, { vm, kind: 'start' })] : [];
    return { vmId: vm.id, inserted: [cloned, ...started] };
  }

  /**
   * Makes the machine that `look` describes, or starts the one that it names where that does not run.
   * @throws CodedError NAME_TAKEN, VM_WRONG_STATE, IMAGE_NOT_FOUND, HYPERVISOR_UNAVAILABLE, what `look` throws
   */
  return async (
    actor: Actor,
    how: HowOpened,
    look: (trx: Transaction<Database>) => Promise<Opening>,
  ): Promise<{ vm: Vm; isNew: boolean }> => {
    const missing = hypervisor.missing();
    const { vmId, inserted, isNew } = await namingOnce(db, how.name, async (trx) => {
      const opening = await look(trx);
      if (!('vmId' in opening)) {
        if (missing !== null) throw new CodedError('HYPERVISOR_UNAVAILABLE', missing);
        return { ...(await insert(trx, actor, opening, how)), isNew: true };
      }
      const vm = await repository.lockVm(trx, opening.vmId);
      const isAsleep = vm !== undefined && ['stopped', 'crashed'].includes(vm.status);
      const isDue = how.start && isAsleep && !operations.isBusy(opening.vmId);
      const started = isDue ? [await operations.insert(trx, actor, { vm, kind: 'start' })] : [];
      return { ...opening, inserted: started, isNew: false };
    });
    await telling.changed(vmId);
    operations.take(...inserted);
    return { vm: await show.vm(vmId), isNew };
  };
}

function toBoot(boot: MachineSpec['boot']): VmBoot {
  if (boot.from === 'disk') return boot;
  const { kernel, initrd, append } = boot;
  return {
    ...{ from: 'kernel', kernel: basename(kernel), append },
    initrd: initrd === null ? null : basename(initrd),
  };
}
