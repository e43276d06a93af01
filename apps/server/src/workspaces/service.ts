import { basename } from 'node:path';
import {
  CodedError,
  WorkspaceId,
  type Host,
  type HostId,
  type NewWorkspace,
  type TargetList,
  type Workspace,
  type WorkspaceChange,
} from '@vmo/contract';
import { isUniqueViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import { checkLocalDirectory } from './directory.ts';
import { hostMakeDirectory } from './host-make.ts';
import { checkHostDirectory, type HostShell } from './host-shell.ts';
import { localMakeDirectory } from './local-make.ts';
import * as repository from './repository.ts';
import { createTargets } from './targets.ts';

export interface Workspaces {
  list(): Promise<Workspace[]>;
  /** @throws CodedError WORKSPACE_NOT_FOUND */
  get(id: WorkspaceId): Promise<Workspace>;
  /** @throws CodedError NAME_TAKEN, DIRECTORY_UNUSABLE, HOST_NOT_FOUND and what the host's SSH answers */
  add(actor: Actor, workspace: NewWorkspace): Promise<Workspace>;
  change(actor: Actor, id: WorkspaceId, change: WorkspaceChange): Promise<Workspace>;
  remove(actor: Actor, id: WorkspaceId): Promise<void>;
  /** @throws CodedError MAKE_FAILED with make's own words, DIRECTORY_UNUSABLE and what the host's SSH answers */
  targets(id: WorkspaceId): Promise<TargetList>;
  /**
   * Adds directories of this machine where they are usable and not workspaces yet: `first` only as long as there has
   * never been a workspace, so that a removed one stays away; `always` at every start.
   */
  seed(directories: { first: readonly string[]; always: readonly string[] }): Promise<void>;
}

export interface WorkspacesDeps {
  db: Kysely<Database>;
  findHost: (id: HostId) => Promise<Host>;
  hostShell: HostShell;
  /** The environment in which make runs on this machine. */
  environment: Readonly<Record<string, string>>;
}

const cockpit: Actor = { name: 'cockpit', sessionId: null, address: null };

export function createWorkspaces({ db, findHost, hostShell, environment }: WorkspacesDeps): Workspaces {
  const targets = createTargets();
  const notFound = (id: string) => new CodedError('WORKSPACE_NOT_FOUND', `there is no workspace ${id}`);

  async function get(id: WorkspaceId): Promise<Workspace> {
    const workspace = await repository.findWorkspace(db, id);
    if (!workspace) throw notFound(id);
    return workspace;
  }

  async function checkDirectory(hostId: HostId | null, directory: string): Promise<string> {
    return hostId === null
      ? checkLocalDirectory(directory)
      : checkHostDirectory(hostShell, await findHost(hostId), directory);
  }

  async function namingOnce<T>(name: string | undefined, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isUniqueViolation(error, 'idx_workspaces_name')) throw error;
      throw new CodedError('NAME_TAKEN', `there is a workspace with the name ${name ?? ''} already`);
    }
  }

  function insert(actor: Actor, fields: repository.WorkspaceFields): Promise<Workspace> {
    return namingOnce(fields.name, () =>
      db.transaction().execute(async (trx) => {
        const workspace = await repository.insertWorkspace(
          trx,
          WorkspaceId.parse(newId()),
          fields,
          actor.name,
        );
        await audit.record(trx, actor, 'workspace.add', workspace.id, { ...fields });
        return workspace;
      }),
    );
  }

  return {
    list: () => repository.listWorkspaces(db),
    get,

    async add(actor, { name, directory, hostId = null }) {
      return insert(actor, { name, directory: await checkDirectory(hostId, directory), hostId });
    },

    async change(actor, id, { name, directory }) {
      const { hostId } = await get(id);
      const change = {
        ...(name === undefined ? {} : { name }),
        ...(directory === undefined ? {} : { directory: await checkDirectory(hostId, directory) }),
      };
      return namingOnce(name, () =>
        db.transaction().execute(async (trx) => {
          const workspace = await repository.updateWorkspace(trx, id, change);
          if (!workspace) throw notFound(id);
          await audit.record(trx, actor, 'workspace.change', id, change);
          return workspace;
        }),
      );
    },

    remove: (actor, id) =>
      db.transaction().execute(async (trx) => {
        if (!(await repository.deleteWorkspace(trx, id))) throw notFound(id);
        await audit.record(trx, actor, 'workspace.remove', id);
      }),

    async targets(id) {
      const { hostId, directory } = await get(id);
      return targets.list(
        hostId === null
          ? localMakeDirectory(await checkLocalDirectory(directory), environment)
          : hostMakeDirectory(hostShell, await findHost(hostId), directory),
      );
    },

    async seed({ first, always }) {
      const directories = (await repository.hasEverHadWorkspaces(db)) ? always : [...first, ...always];
      const known = await repository.listWorkspaces(db);
      const places = new Set(
        known.filter(({ hostId }) => hostId === null).map((workspace) => workspace.directory),
      );
      const names = new Set(known.map(({ name }) => name.toLowerCase()));
      for (const wanted of directories) {
        const directory = await checkLocalDirectory(wanted).catch((error: unknown) => {
          // The ones that somebody asked for must be there; the start directory may have been removed since.
          if (!always.includes(wanted)) return null;
          throw new Error(`VMO_WORKSPACES: ${error instanceof Error ? error.message : String(error)}`, {
            cause: error,
          });
        });
        if (directory === null || places.has(directory)) continue;
        const base = basename(directory) || directory;
        let name = base;
        for (let n = 2; names.has(name.toLowerCase()); n++) name = `${base} ${String(n)}`;
        places.add(directory);
        names.add(name.toLowerCase());
        await insert(cockpit, { name, directory, hostId: null });
      }
    },
  };
}
