import type { VmId, VmOperation } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Bus } from '../kernel/bus.ts';
import { findVmSummary, toSummary } from './repository.ts';

export type Telling = ReturnType<typeof createTelling>;

/** Tells what has been committed. */
export function createTelling({
  db,
  bus,
  loadOf,
}: {
  db: Kysely<Database>;
  bus: Bus;
  loadOf: (vmId: VmId) => readonly number[];
}) {
  return {
    /** Reads the row again, so that what is told last is what is stored last. */
    async changed(vmId: VmId): Promise<void> {
      const row = await findVmSummary(db, vmId);
      if (row) bus.emit('vm:changed', toSummary(row, loadOf(vmId)));
    },
    operation(operation: VmOperation): void {
      bus.emit('vm:event', { type: 'operation', vmId: operation.vmId, operation });
    },
    deleted(vmId: VmId): void {
      bus.emit('vm:event', { type: 'deleted', vmId });
    },
  };
}
