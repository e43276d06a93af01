import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Actor } from '../kernel/actor.ts';
import { insertAudit, insertAudits, type AuditRow } from './repository.ts';

export const audit = {
  /**
   * Writes who did what to which thing. Call it with the transaction that makes the change, so that there is
   * neither a change without its row nor a row without its change.
   * @param action `noun.verb`, for example `job.cancel`
   * @param subject id of the thing
   */
  record(
    trx: Kysely<Database>,
    actor: Actor,
    action: string,
    subject: string,
    detail: Record<string, unknown> = {},
  ): Promise<void> {
    return insertAudit(trx, { actor: actor.name, address: actor.address, action, subject, detail });
  },

  /** The same action on many things, in one statement. */
  recordMany(
    trx: Kysely<Database>,
    actor: Actor,
    action: string,
    entries: readonly Pick<AuditRow, 'subject' | 'detail'>[],
  ): Promise<void> {
    return insertAudits(trx, { actor: actor.name, address: actor.address, action }, entries);
  },
};
