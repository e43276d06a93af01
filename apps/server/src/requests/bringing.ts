import {
  CodedError,
  isFinal,
  type JobId,
  type KeptFiles,
  type MachineSpec,
  type RequestId,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import type { Logger } from '../kernel/logger.ts';
import { sizeInWords } from '../kernel/words.ts';
import type { Vms } from '../vms/index.ts';
import { noSuchRequest } from './errors.ts';
import * as repository from './repository.ts';
import { whyClosed } from './show.ts';

/** What the storage must have left when the disk is here: logs and machines need room as well. */
const reserveBytes = 1024 ** 3;

export interface BringingDeps {
  db: Kysely<Database>;
  bus: Bus;
  jobs: Pick<Jobs, 'get'>;
  vms: Pick<Vms, 'received'>;
  maxKeptBytes: number;
  logger: Logger;
}

type Overlays = NonNullable<MachineSpec['request']>['overlays'];

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);
const hasCode = (error: unknown, code: string) =>
  error instanceof Error && 'code' in error && error.code === code;

/**
 * Kept disks on their way from the machines of their agents. An agent hears at its renewal which are wanted, and sends
 * them piece by piece; what is here stays, so that it goes on there after whatever cut it.
 */
export function createBringing({ db, bus, jobs, vms, maxKeptBytes, logger }: BringingDeps) {
  const { received } = vms;
  /** What their agents said of them to this process. */
  const announced = new Map<JobId, KeptFiles['files']>();
  const checking = new Set<JobId>();

  async function fail(id: JobId, reason: string): Promise<null> {
    announced.delete(id);
    await received.discard(id);
    await repository.updateBringing(db, id, { state: 'failed', reason, received: 0 });
    return null;
  }

  /** null: nobody wants it of this agent. */
  async function findWanted(agent: string, id: JobId): Promise<Overlays | null> {
    if (!(await repository.listBringing(db, agent)).includes(id)) return null;
    return (await repository.findMachine(db, id)).spec.request?.overlays ?? [];
  }

  async function check(id: JobId, overlays: Overlays, files: KeptFiles['files']): Promise<void> {
    try {
      await repository.updateBringing(db, id, { state: 'checking' });
      const digests = files.map(({ sha256 }) => sha256);
      await received.complete(id, overlays, digests);
      await repository.updateBringing(db, id, { state: 'here' });
      announced.delete(id);
    } catch (error) {
      if (error instanceof CodedError) await fail(id, error.message);
      else throw error;
    }
  }

  /** Nobody waits for it: it reads all that came. */
  function checkSoon(id: JobId, overlays: Overlays, files: KeptFiles['files']): void {
    if (checking.has(id)) return;
    checking.add(id);
    check(id, overlays, files)
      .catch((error: unknown) => {
        logger.error(
          { err: error, jobId: id },
          'a kept disk could not be checked; again when its agent asks',
        );
      })
      .finally(() => checking.delete(id));
  }

  return {
    /**
     * Somebody wants to open it here. Asked again, it goes on.
     * @throws CodedError REQUEST_NOT_FOUND, REQUEST_WRONG_STATE with the reason, IMAGE_NOT_FOUND
     */
    async ask(actor: Actor, id: RequestId): Promise<void> {
      if ((await repository.findBatchOf(db, id)) === undefined) throw noSuchRequest(id);
      const job = await jobs.get(id);
      await db.transaction().execute(async (trx) => {
        await repository.lockRequest(trx, id);
        const row = await repository.findRequest(trx, id);
        if (!row) throw noSuchRequest(id);
        const closed = whyClosed({ ...row, isHere: true }, job);
        if (closed !== null || !isFinal(job.status))
          throw new CodedError('REQUEST_WRONG_STATE', `there is nothing to bring: ${closed ?? 'it goes on'}`);
        if (row.isHere) throw new CodedError('REQUEST_WRONG_STATE', 'its disk is here: it can be opened');
        const state = row.bringing?.state ?? null;
        if (state !== null && state !== 'failed') return;
        if ((await repository.findKeeper(trx, id)) === undefined)
          throw new CodedError(
            'REQUEST_WRONG_STATE',
            `its disk lies with the agent ${job.agent ?? ''}, which is none of this server’s any more`,
          );
        const { spec } = await repository.findMachine(trx, id);
        await received.requireImages(spec.request?.images ?? []);
        await repository.updateBringing(trx, id, { state: 'waiting', received: 0, size: null, reason: null });
        await audit.record(trx, actor, 'request.bring', id, { agent: job.agent });
      });
      if (job.agent !== null) bus.emit('agent:renew', { agent: job.agent });
    },

    /** Of which requests this agent is to send the disks. */
    wantedOf: (agent: string): Promise<JobId[]> => repository.listBringing(db, agent),

    /** @returns where each file goes on; null: nobody wants them, or they cannot be taken */
    async begin(agent: string, id: JobId, { files }: KeptFiles): Promise<number[] | null> {
      const overlays = await findWanted(agent, id);
      if (!overlays) return null;
      if (files.length !== overlays.length) return fail(id, 'its agent has not got it any more');
      const sizes = files.map(({ sizeBytes }) => sizeBytes);
      const size = sum(sizes);
      if (size > maxKeptBytes)
        return fail(
          id,
          `it has ${sizeInWords(size)}, and this server takes ${sizeInWords(maxKeptBytes)} at most (VMO_MAX_KEPT_GIB)`,
        );
      const offsets = await received.offsets(id, files.length);
      const free = await received.freeBytes();
      if (size - sum(offsets) + reserveBytes > free)
        return fail(
          id,
          `it has ${sizeInWords(size)}, and the storage of this server ${sizeInWords(free)} free, of which ${sizeInWords(reserveBytes)} must be left`,
        );
      announced.set(id, files);
      if (checking.has(id)) return offsets;
      await repository.updateBringing(db, id, { state: 'sending', size, received: sum(offsets) });
      if (offsets.every((offset, index) => offset >= (sizes[index] ?? 0))) checkSoon(id, overlays, files);
      return offsets;
    },

    /** @returns where this file goes on; null: to be begun again */
    async take(
      agent: string,
      id: JobId,
      { index, offset, bytes }: { index: number; offset: number; bytes: Uint8Array },
    ): Promise<number | null> {
      const [overlays, files] = [await findWanted(agent, id), announced.get(id)];
      const file = files?.[index];
      if (!overlays || !files || !file || checking.has(id)) return null;
      const before = await received.offsets(id, files.length);
      if (before[index] !== offset) return before[index] ?? 0;
      const end = offset + bytes.length;
      if (end > file.sizeBytes)
        throw new CodedError(
          'INVALID_INPUT',
          `more bytes than the ${String(file.sizeBytes)} that were announced`,
        );
      try {
        await received.write(id, index, offset, bytes);
      } catch (error) {
        if (hasCode(error, 'ENOSPC')) return fail(id, 'no space was left in the storage of this server');
        throw error;
      }
      const after = before.with(index, end);
      await repository.updateBringing(db, id, { received: sum(after) });
      if (files.every(({ sizeBytes }, at) => after[at] === sizeBytes)) checkSoon(id, overlays, files);
      return end;
    },
  };
}
