import { CodedError } from '@vmo/contract';
import { isUniqueViolation, type Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';

/** In a transaction that gives a machine this name. @throws CodedError NAME_TAKEN */
export async function namingOnce<T>(
  db: Kysely<Database>,
  name: string,
  write: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  try {
    return await db.transaction().execute(write);
  } catch (error) {
    if (!isUniqueViolation(error, 'idx_vms_name')) throw error;
    throw new CodedError('NAME_TAKEN', `there is a machine with the name ${name} already`);
  }
}
