import { allowedActions, isVmLive, VmId, type Vm, type VmFilter, type VmPage } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { listDisksOf, type DiskRow } from './disks-repository.ts';
import { noSuchVm } from './errors.ts';
import type { Live } from './live.ts';
import type { Load } from './metrics.ts';
import * as repository from './repository.ts';

/** A guest that does not answer must not hold up whoever looks at its machine. */
const guestPatienceMs = 400;
/** As QEMU cuts the serials of virtio disks. */
const serialLength = 20;

export type Show = ReturnType<typeof createShow>;

/** Machines as people see them. */
export function createShow({ db, live, load }: { db: Kysely<Database>; live: Live; load: Load }) {
  return {
    async vm(vmId: VmId): Promise<Vm> {
      const row = await repository.findVm(db, vmId);
      if (!row) throw noSuchVm(vmId);
      const disks = await listDisksOf(db, vmId);
      const machine = isVmLive(row.status) ? live.get(vmId) : null;
      const answers = machine && (row.status === 'running' || row.status === 'paused');
      const [guestMemoryMib, guestAgent] = answers
        ? await Promise.all([
            soon(machine.guestMemoryMib(), null),
            row.status === 'running' ? soon(machine.hasGuestAgent(), false) : false,
          ])
        : [null, false];
      return {
        ...withoutArguments(row),
        load: [...load.of(vmId)],
        allowed: [...allowedActions[row.status]],
        guestMemoryMib,
        guestAgent,
        disks: disks.map(toVmDisk),
      };
    },

    async list(filter: VmFilter): Promise<VmPage> {
      const { rows, total } = await repository.listVms(db, filter);
      const vms = rows
        .slice(0, filter.limit)
        .map((row) => repository.toSummary(row, load.of(VmId.parse(row.id))));
      return { vms, total, nextAfter: rows.length > filter.limit ? (vms.at(-1)?.name ?? null) : null };
    },
  };
}

/** What the template file gave is the business of whoever wrote it. */
function withoutArguments({ arguments: _arguments, ...shown }: repository.MachineRow) {
  return shown;
}

function toVmDisk({ id, name, format, sizeBytes, readOnly, slot, attachment, state }: DiskRow) {
  return {
    ...{ id, name, format, sizeBytes, readOnly },
    root: slot === 0,
    state: state === 'creating' || state === 'failed' ? state : (attachment ?? ('attached' as const)),
    guestName: id.replaceAll('-', '').slice(0, serialLength),
  };
}

async function soon<T>(answer: Promise<T>, otherwise: T): Promise<T> {
  const { promise: late, resolve } = Promise.withResolvers<T>();
  const timer = setTimeout(resolve, guestPatienceMs, otherwise);
  return Promise.race([answer.catch(() => otherwise), late]).finally(() => {
    clearTimeout(timer);
  });
}
