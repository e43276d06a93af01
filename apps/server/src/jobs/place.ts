import { homedir } from 'node:os';
import { CodedError, type JobSubmission } from '@vmo/contract';
import type { FleetMember } from '../agents/index.ts';
import type { Hosts } from '../hosts/index.ts';
import type { Workspaces } from '../workspaces/index.ts';
import type { Takers } from './queue.ts';
import type { Place } from './submissions.ts';

export interface PlaceDeps {
  workspaces: Pick<Workspaces, 'get'>;
  hosts: Pick<Hosts, 'get' | 'find'>;
  /** Where a command runs that names no place. */
  defaultDirectory: string;
  fleet(): Promise<readonly FleetMember[]>;
}

function refuse(path: string, message: string): never {
  throw new CodedError('INVALID_INPUT', `${path}: ${message}`, { issues: [{ path, message }] });
}

const expandHome = (directory: string) =>
  /^~(\/|$)/.test(directory) ? homedir() + directory.slice(1) : directory;

/** Directories of workspaces are on this machine, and hosts are reached from it; a terminal is drawn by the server. */
async function resolveTakers(deps: PlaceDeps, submission: JobSubmission): Promise<Takers> {
  const { agent, workspaceId, host, type } = submission;
  if (agent === undefined) return { who: 'here' };
  if (workspaceId || host !== undefined)
    refuse('agent', 'not with a workspace or a host: both belong to the server’s own agent');
  if (type === 'terminal' || type === 'ssh')
    refuse('agent', `${type} jobs run on the server’s own agent only: leave it out`);
  if (agent === 'any') return { who: 'any' };
  const found = (await deps.fleet()).find(({ name }) => name.toLowerCase() === agent.toLowerCase());
  if (!found) throw new CodedError('AGENT_NOT_FOUND', `there is no agent with the name ${agent}`);
  if (found.status === 'revoked') refuse('agent', `agent ${found.name} was revoked`);
  return { who: 'agent', name: found.name };
}

/**
 * Where and how a submission runs. A workspace gives directory and host; `cwd` names another directory on the same
 * machine, and `host` a machine without a workspace.
 * @throws CodedError for what is unknown, and for combinations that contradict each other
 */
export async function resolvePlace(deps: PlaceDeps, submission: JobSubmission): Promise<Place> {
  const { workspaceId, cwd, host: hostName } = submission;
  const takers = await resolveTakers(deps, submission);
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

  // Another machine has other directories: where nothing is said, its agent knows one.
  const isElsewhere = host !== null || takers.who !== 'here';
  const directory = cwd ?? workspace?.directory ?? (isElsewhere ? null : deps.defaultDirectory);
  return {
    takers,
    type,
    workspaceId: workspace?.id ?? null,
    hostId: host?.id ?? null,
    cwd: directory === null || isElsewhere ? directory : expandHome(directory),
  };
}
