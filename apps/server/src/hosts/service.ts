import { CodedError, HostId, type Host, type HostChange, type HostTest, type NewHost } from '@vmo/contract';
import { isForeignKeyViolation, isUniqueViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import * as repository from './repository.ts';

/** What this domain needs of SSH. */
export interface HostReach {
  /** Tries the connection and looks at the keys that the host presents. */
  test(host: Host): Promise<HostTest>;
  /** Adds the key with this fingerprint to the trusted ones, when the host presents it now. */
  trust(host: Host, fingerprint: string): Promise<HostTest>;
}

export interface Hosts {
  list(): Promise<Host[]>;
  /** @throws CodedError HOST_NOT_FOUND */
  get(id: HostId): Promise<Host>;
  /** @throws CodedError HOST_NOT_FOUND */
  find(nameOrId: string): Promise<Host>;
  /** @throws CodedError NAME_TAKEN */
  add(actor: Actor, host: NewHost): Promise<Host>;
  change(actor: Actor, id: HostId, change: HostChange): Promise<Host>;
  /** @throws CodedError HOST_NOT_FOUND; HOST_IN_USE while a workspace is on it or a job there has not ended */
  remove(actor: Actor, id: HostId): Promise<void>;
  test(id: HostId): Promise<HostTest>;
  trust(actor: Actor, id: HostId, fingerprint: string): Promise<HostTest>;
}

export function createHosts({ db, reach }: { db: Kysely<Database>; reach: HostReach }): Hosts {
  const notFound = (id: string) => new CodedError('HOST_NOT_FOUND', `there is no host ${id}`);

  async function get(id: HostId): Promise<Host> {
    const host = await repository.findHost(db, id);
    if (!host) throw notFound(id);
    return host;
  }

  async function namingOnce<T>(name: string | undefined, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isUniqueViolation(error, 'idx_hosts_name')) throw error;
      throw new CodedError('NAME_TAKEN', `there is a host with the name ${name ?? ''} already`);
    }
  }

  return {
    list: () => repository.listHosts(db),
    get,

    async find(nameOrId) {
      const id = HostId.safeParse(nameOrId);
      const host =
        (await repository.findHostByName(db, nameOrId)) ??
        (id.success ? await repository.findHost(db, id.data) : undefined);
      if (!host) throw notFound(nameOrId);
      return host;
    },

    add: (actor, { name, address, user = null, port = null, identityFile = null }) =>
      namingOnce(name, () =>
        db.transaction().execute(async (trx) => {
          const fields = { name, address, user, port, identityFile };
          const host = await repository.insertHost(trx, HostId.parse(newId()), fields, actor.name);
          await audit.record(trx, actor, 'host.add', host.id, fields);
          return host;
        }),
      ),

    change: (actor, id, { name, address, user, port, identityFile }) =>
      namingOnce(name, () =>
        db.transaction().execute(async (trx) => {
          const change = {
            ...(name === undefined ? {} : { name }),
            ...(address === undefined ? {} : { address }),
            ...(user === undefined ? {} : { user }),
            ...(port === undefined ? {} : { port }),
            ...(identityFile === undefined ? {} : { identityFile }),
          };
          const host = await repository.updateHost(trx, id, change);
          if (!host) throw notFound(id);
          await audit.record(trx, actor, 'host.change', id, change);
          return host;
        }),
      ),

    async remove(actor, id) {
      try {
        await db.transaction().execute(async (trx) => {
          const removal = await repository.deleteIdleHost(trx, id);
          if (!removal) throw notFound(id);
          if (removal.openJobs > 0) {
            const jobs = removal.openJobs === 1 ? 'a job' : `${String(removal.openJobs)} jobs`;
            throw new CodedError(
              'HOST_IN_USE',
              `${jobs} on this host ${removal.openJobs === 1 ? 'has' : 'have'} not ended: wait, or cancel first`,
            );
          }
          await audit.record(trx, actor, 'host.remove', id);
        });
      } catch (error) {
        if (!isForeignKeyViolation(error)) throw error;
        throw new CodedError('HOST_IN_USE', 'a workspace is on this host: remove the workspace first');
      }
    },

    test: async (id) => reach.test(await get(id)),

    async trust(actor, id, fingerprint) {
      const result = await reach.trust(await get(id), fingerprint);
      await audit.record(db, actor, 'host.trust', id, { fingerprint });
      return result;
    },
  };
}
