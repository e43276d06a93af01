import { CodedError, isFinal, type RequestId, type Vm } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Vms } from '../vms/index.ts';
import { noSuchRequest } from './errors.ts';
import * as repository from './repository.ts';
import { whyClosed } from './show.ts';

export interface OpeningDeps {
  db: Kysely<Database>;
  jobs: Pick<Jobs, 'get'>;
  vms: Pick<Vms, 'openKept'>;
}

/** As its machine was called. */
const nameOf = (id: RequestId) => `request-${id.slice(-12)}`;

/** Machines of what failed requests left. */
export function createOpening({ db, jobs, vms }: OpeningDeps) {
  /**
   * A machine with a copy of the disks, in the state that they were left in. It is somebody's from then on, and stays
   * when the time of the kept disks is over. While it is there, it is the answer.
   * @throws CodedError REQUEST_NOT_FOUND, REQUEST_WRONG_STATE with the reason, and all that making a machine may throw
   */
  return async (actor: Actor, id: RequestId, start: boolean): Promise<{ vm: Vm; message: string }> => {
    if ((await repository.findBatchOf(db, id)) === undefined) throw noSuchRequest(id);
    const job = await jobs.get(id);
    const { vm, isNew } = await vms.openKept(actor, { name: nameOf(id), start }, async (trx) => {
      await repository.lockRequest(trx, id);
      const row = await repository.findRequest(trx, id);
      if (!row) throw noSuchRequest(id);
      if (row.openedVm) return { vmId: row.openedVm };
      const closed = whyClosed(row, job);
      if (closed !== null) {
        const words = isFinal(job.status) ? 'there is nothing to open' : 'the request cannot be opened';
        throw new CodedError('REQUEST_WRONG_STATE', `${words}: ${closed}`);
      }
      const { spec, startedAt } = await repository.findMachine(trx, id);
      return {
        ...{ spec, startedAt },
        detail: `the disk of request ${id.slice(-8)}`,
        made: (vmId) => repository.setOpened(trx, id, vmId),
      };
    });
    const message = isNew
      ? `${vm.name} is being made of the kept disk`
      : `the request was opened before: as ${vm.name}`;
    return { vm, message };
  };
}
