import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import {
  AgentCapacity,
  agentContractVersion,
  AgentId,
  CodedError,
  largestBrought,
  type Agent,
  AgentHello,
  type AgentReport,
  type AgentStatus,
  type AgentWelcome,
  type NewAgent,
  parseInput,
  type Slots,
  type StrangeHello,
} from '@vmo/contract';
import { audit, hashSecret, newSecret, type AgentPrincipal } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import type { LeasePlan } from './lease.ts';
import * as repository from './repository.ts';
import type { AgentRow, Load } from './repository.ts';

/** Tokens say what they are, so that nobody takes one for the cockpit's own. */
const tokenPrefix = 'vmo-agent-';

/** An agent as the queue sees it. */
export interface FleetMember {
  name: string;
  isHere: boolean;
  status: AgentStatus;
  capacity: AgentCapacity;
  busy: Slots;
  usedCpus: number;
  usedMemoryMib: number;
  /** Of it, that of machines that persons run. */
  machinesMemoryMib: number;
}

export type Agents = ReturnType<typeof createAgents>;

export interface AgentsDeps {
  db: Kysely<Database>;
  lease: LeasePlan;
}

const noCapacity: AgentCapacity = {
  slots: { jobs: 0, vms: 0, requests: 0 },
  cpus: 0,
  memoryMib: 0,
  accelerators: [],
  images: [],
  fetchesImages: false,
  imageCacheBytes: null,
};

function capacityOf(row: AgentRow): AgentCapacity | null {
  return AgentCapacity.safeParse(row.capacity).data ?? null;
}

function statusOf(row: AgentRow): AgentStatus {
  if (row.revoked_at) return 'revoked';
  if (!row.seen_at) return 'new';
  if (!row.live) return 'offline';
  return row.draining || row.leaving ? 'draining' : 'online';
}

function busyOf(loads: readonly Load[], name: string) {
  const own = loads.filter(({ agent }) => agent === name);
  const jobsOf = (place: string) => own.find((load) => load.place === place)?.jobs ?? 0;
  return {
    busy: { jobs: jobsOf('jobs'), vms: jobsOf('vms'), requests: jobsOf('requests') },
    usedCpus: own.reduce((sum, { cpus }) => sum + cpus, 0),
    usedMemoryMib: own.reduce((sum, { memory_mib: memory }) => sum + memory, 0),
  };
}

function toAgent(row: AgentRow, loads: readonly Load[]): Agent {
  return {
    id: AgentId.parse(row.id),
    name: row.name,
    kind: row.kind === 'local' ? 'local' : 'remote',
    status: statusOf(row),
    version: row.version,
    contract: row.contract,
    capacity: capacityOf(row),
    ...busyOf(loads, row.name),
    seenAt: row.seen_at?.toISOString() ?? null,
    leaseUntil: row.lease_until?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}

const noSuchAgent = () => new CodedError('AGENT_NOT_FOUND', 'there is no agent with this id');

/** null: it speaks the same version of the contract. */
function objectionTo({ contract, version }: { contract: number; version: string }): CodedError | null {
  if (contract === agentContractVersion) return null;
  const [older, newer] =
    contract < agentContractVersion ? ['the agent', 'the server'] : ['the server', 'the agent'];
  return new CodedError(
    'AGENT_INCOMPATIBLE',
    `the agent (${version}) speaks version ${String(contract)} of the agent contract and this server version ${String(agentContractVersion)}: update ${older} to the version of ${newer}`,
  );
}

/** Who may take jobs: their tokens, what they have to offer, and their leases. */
export function createAgents({ db, lease }: AgentsDeps) {
  /** As far as this process knows, for agents inside it: they hold at once, not at their next renewal. */
  const drained = new Set<string>();

  function remember(agentId: string, draining: boolean): void {
    if (draining) drained.add(agentId);
    else drained.delete(agentId);
  }

  async function get(agentId: string): Promise<Agent> {
    const row = await repository.findAgent(db, agentId);
    if (!row) throw noSuchAgent();
    return toAgent(row, await repository.loadOfAgents(db));
  }

  /** Changes an agent, with its audit row. */
  async function change(
    actor: Actor,
    agentId: AgentId,
    action: string,
    work: (trx: Kysely<Database>, row: AgentRow) => Promise<void>,
  ): Promise<void> {
    await db.transaction().execute(async (trx) => {
      const row = await repository.lockAgent(trx, agentId);
      if (!row) throw noSuchAgent();
      await audit.record(trx, actor, action, agentId, { name: row.name });
      await work(trx, row);
    });
  }

  function refuseLocal({ kind }: AgentRow, what: string): void {
    if (kind !== 'local') return;
    throw new CodedError('AGENT_BUSY', `this agent is the server's own: it cannot be ${what}, only drained`);
  }

  return {
    lease,
    get,

    async list(): Promise<Agent[]> {
      const [rows, loads] = await Promise.all([repository.listAgents(db), repository.loadOfAgents(db)]);
      return rows.map((row) => toAgent(row, loads));
    },

    /** As the queue needs them: those that are gone for good are not among them. */
    async fleet(): Promise<FleetMember[]> {
      const [rows, loads] = await Promise.all([repository.listAgents(db), repository.loadOfAgents(db)]);
      return rows.map((row) => ({
        name: row.name,
        isHere: row.kind === 'local',
        status: statusOf(row),
        capacity: capacityOf(row) ?? noCapacity,
        ...busyOf(loads, row.name),
        machinesMemoryMib: loads
          .filter(({ agent, place }) => agent === row.name && place === 'vms')
          .reduce((sum, { memory_mib: memory }) => sum + memory, 0),
      }));
    },

    /** @throws CodedError NAME_TAKEN */
    async add(actor: Actor, { name }: NewAgent): Promise<{ agent: Agent; token: string }> {
      const id = newId();
      const token = tokenPrefix + newSecret();
      await db.transaction().execute(async (trx) => {
        const isNew = await repository.insertAgent(trx, {
          ...{ id, name, kind: 'remote', tokenHash: hashSecret(token), createdBy: actor.name },
        });
        if (!isNew) throw new CodedError('NAME_TAKEN', `there is an agent with the name ${name} already`);
        await audit.record(trx, actor, 'agent.add', id, { name });
      });
      return { agent: await get(id), token };
    },

    async setDraining(actor: Actor, agentId: AgentId, draining: boolean): Promise<Agent> {
      await change(actor, agentId, draining ? 'agent.drain' : 'agent.resume', (trx) =>
        repository.setDraining(trx, agentId, draining),
      );
      remember(agentId, draining);
      return get(agentId);
    },

    async revoke(actor: Actor, agentId: AgentId): Promise<Agent> {
      await change(actor, agentId, 'agent.revoke', (trx, row) => {
        refuseLocal(row, 'revoked');
        return repository.revokeAgent(trx, agentId);
      });
      return get(agentId);
    },

    /** @throws CodedError AGENT_BUSY while it has jobs: they must be over, or taken away from it, before */
    async remove(actor: Actor, agentId: AgentId): Promise<void> {
      await change(actor, agentId, 'agent.remove', async (trx, row) => {
        refuseLocal(row, 'removed');
        if ((await repository.loadOfAgents(trx)).some(({ agent }) => agent === row.name))
          throw new CodedError(
            'AGENT_BUSY',
            `${row.name} has jobs: revoke it, and remove it when they are over`,
          );
        await repository.deleteAgent(trx, agentId);
      });
    },

    /**
     * Whose token this is; null: none of an agent.
     * @throws CodedError AGENT_REVOKED
     */
    async identify(token: string): Promise<AgentPrincipal | null> {
      if (!token.startsWith(tokenPrefix)) return null;
      const row = await repository.findAgentByToken(db, hashSecret(token));
      if (!row) return null;
      if (row.revoked_at)
        throw new CodedError(
          'AGENT_REVOKED',
          `the token of agent ${row.name} was revoked: it takes no more work`,
        );
      const capacity = capacityOf(row) ?? noCapacity;
      return {
        id: AgentId.parse(row.id),
        name: row.name,
        images: capacity.images,
        bringsUpTo: largestBrought(capacity),
        mayTake: row.live && !row.draining && !row.leaving,
        objection:
          row.contract === null
            ? null
            : objectionTo({ contract: row.contract, version: row.version ?? 'of before' }),
      };
    },

    /**
     * An agent begins, or has begun anew.
     * @throws CodedError AGENT_INCOMPATIBLE; AGENT_ELSEWHERE when another data directory uses its token
     */
    async hello(agentId: AgentId, words: AgentHello | StrangeHello): Promise<AgentWelcome> {
      const objection = objectionTo(words);
      if (objection) {
        await repository.noteVersion(db, agentId, words);
        throw objection;
      }
      const hello = parseInput(AgentHello, words);
      const name = await db.transaction().execute(async (trx) => {
        const row = await repository.lockAgent(trx, agentId);
        if (!row) throw noSuchAgent();
        const isElsewhere = row.installation !== null && row.installation !== hello.installation;
        const hasJobs = (await repository.loadOfAgents(trx)).some(({ agent }) => agent === row.name);
        if (isElsewhere && (row.live || hasJobs)) {
          throw new CodedError(
            'AGENT_ELSEWHERE',
            `agent ${row.name} runs somewhere else, or did until a moment ago: a token is for one data directory at a time`,
          );
        }
        await repository.greetAgent(trx, agentId, hello, lease.leaseMs);
        return row.name;
      });
      const { leaseMs, renewMs, endRunsMs, pollMs } = lease;
      return { name, times: { leaseMs, renewMs, endRunsMs, pollMs }, now: new Date().toISOString() };
    },

    /** @throws CodedError AGENT_NOT_FOUND when it was removed or revoked */
    async renew(agentId: AgentId, report: AgentReport): Promise<{ draining: boolean }> {
      const row = await repository.renewLease(db, agentId, report, lease.leaseMs);
      if (!row) throw noSuchAgent();
      remember(agentId, row.draining);
      return row;
    },

    /** A person wants it to take no more jobs. */
    isDrained: (agentId: AgentId) => drained.has(agentId),

    /** The agent inside the server introduces itself; its row is made at the first start. */
    async helloHere(name: string, hello: Omit<AgentHello, 'installation' | 'contract'>): Promise<AgentId> {
      await repository.insertAgent(db, {
        ...{ id: newId(), name, kind: 'local', tokenHash: null, createdBy: 'vmo' },
      });
      const row = (await repository.listAgents(db)).find((agent) => agent.name === name);
      if (row?.kind !== 'local') throw new Error(`an agent of another kind has the name ${name}`);
      const installation = row.installation ?? newId();
      await repository.greetAgent(
        db,
        row.id,
        { ...hello, contract: agentContractVersion, installation },
        lease.leaseMs,
      );
      return AgentId.parse(row.id);
    },

    /** Agents that have jobs and have not renewed their leases in time. */
    lapsed: () => repository.findLapsed(db, lease.graceMs),
    /** In a transaction: whether it still has not; it cannot until the transaction ends. */
    holdLapsed: (trx: Kysely<Database>, agentId: string) =>
      repository.lockLapsed(trx, agentId, lease.graceMs),
  };
}
