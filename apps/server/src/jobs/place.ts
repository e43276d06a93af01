import { homedir } from 'node:os';
import { CodedError, type JobSubmission } from '@vmo/contract';
import type { Hosts } from '../hosts/index.ts';
import type { Workspaces } from '../workspaces/index.ts';
import type { Place } from './service.ts';

export interface PlaceDeps {
  workspaces: Pick<Workspaces, 'get'>;
  hosts: Pick<Hosts, 'get' | 'find'>;
  /** Where a command runs that names no place. */
  defaultDirectory: string;
}

function refuse(path: string, message: string): never {
  throw new CodedError('INVALID_INPUT', `${path}: ${message}`, { issues: [{ path, message }] });
}

const expandHome = (directory: string) =>
  /^~(\/|$)/.test(directory) ? homedir() + directory.slice(1) : directory;

/**
 * Where and how a submission runs. A workspace gives directory and host; `cwd` names another directory on the same
 * machine, and `host` a machine without a workspace.
 * @throws CodedError for what is unknown, and for combinations that contradict each other
 */
export async function resolvePlace(deps: PlaceDeps, submission: JobSubmission): Promise<Place> {
  const { workspaceId, cwd, host: hostName } = submission;
  if (workspaceId && hostName !== undefined)
    refuse('host', 'give either workspaceId or host, not both: a workspace names its host');

  const workspace = workspaceId ? await deps.workspaces.get(workspaceId) : null;
  const host = workspace?.hostId
    ? await deps.hosts.get(workspace.hostId)
    : hostName !== undefined
      ? await deps.hosts.find(hostName)
      : null;
  const type = submission.type ?? (host ? 'ssh' : 'stream');
  if (host && type !== 'ssh') {
    refuse(
      'type',
      workspace
        ? `workspace ${workspace.name} is on host ${host.name}: only ssh jobs run there`
        : `only ssh jobs run on a host`,
    );
  }
  if (!host && type === 'ssh') refuse('host', 'an ssh job needs a host, or a workspace that is on one');

  const directory = cwd ?? workspace?.directory ?? (host ? null : deps.defaultDirectory);
  return {
    type,
    workspaceId: workspace?.id ?? null,
    hostId: host?.id ?? null,
    cwd: directory === null || host ? directory : expandHome(directory),
  };
}
