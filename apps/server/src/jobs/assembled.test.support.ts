import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, type AgentCapacity } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import { createAgents, planLease } from '../agents/index.ts';
import { createHosts } from '../hosts/index.ts';
import type { Bus } from '../kernel/bus.ts';
import { createWorkspaces } from '../workspaces/index.ts';
import { createJobs } from './index.ts';

export const agentName = 'test';
const refuse = () => Promise.reject(new CodedError('HOST_UNREACHABLE', 'there are no hosts here'));

export interface Assembling {
  db: Kysely<Database>;
  bus: Bus;
  /** Files of the domains, and where jobs run that name no directory. */
  home: string;
  /** Of the agent inside the server. */
  capacity: AgentCapacity;
  onMarksError: (error: unknown) => void;
}

/** The jobs domain, and those beneath it, as server.ts puts them together; there are no hosts and no terminals. */
export async function assembleJobs({ db, bus, home, capacity, onMarksError }: Assembling) {
  const hosts = createHosts({ db, reach: { test: refuse, trust: refuse } });
  const workspaces = createWorkspaces({
    ...{ db, findHost: hosts.get, environment: {} },
    hostShell: { run: refuse },
  });
  const lease = planLease(30_000, 5_000);
  const agents = createAgents({ db, lease });
  const agentId = await agents.helloHere(agentName, { version: 'test', capacity });
  const jobs = createJobs({
    ...{ db, bus, agents, workspaces, hosts, onMarksError },
    terminals: { screen: () => Promise.resolve(null), input: refuse, resize: refuse, openExternally: refuse },
    defaultDirectory: home,
    artifactsDirectory: join(home, 'artifacts'),
    eventRetentionDays: 30,
    secretsKey: randomBytes(32),
  });
  return {
    jobs,
    /** What an agent is made of that belongs to these jobs. */
    agent: {
      name: agentName,
      capacity: () => Promise.resolve(capacity),
      api: jobs.agentApi({ id: agentId, name: agentName, isHere: true, images: [], bringsUpTo: 0 }),
      times: lease,
    },
  };
}
