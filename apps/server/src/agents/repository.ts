import { sql, type Kysely, type Selectable } from 'kysely';
import type { AgentsTable, Database } from '@vmo/db';
import type { AgentCapacity, AgentHello } from '@vmo/contract';

type Db = Kysely<Database>;

/** With what only the database's clock can say. */
export type AgentRow = Selectable<AgentsTable> & {
  /** Its lease holds. */
  live: boolean;
};

/** What an agent has under way. */
export interface Load {
  agent: string;
  place: string;
  jobs: number;
  cpus: number;
  memory_mib: number;
}

const live = sql<boolean>`coalesce(lease_until > now(), false)`.as('live');
const select = (db: Db) => db.selectFrom('agents').selectAll().select(live);
const inMilliseconds = (ms: number) => sql<Date>`now() + ${ms} * interval '1 millisecond'`;

export async function listAgents(db: Db): Promise<AgentRow[]> {
  return select(db).orderBy('name').execute();
}

export async function findAgent(db: Db, agentId: string): Promise<AgentRow | undefined> {
  return select(db).where('id', '=', agentId).executeTakeFirst();
}

export async function findAgentByToken(db: Db, tokenHash: Buffer): Promise<AgentRow | undefined> {
  return select(db).where('token_hash', '=', tokenHash).executeTakeFirst();
}

/** The row, locked until the transaction ends. */
export async function lockAgent(trx: Db, agentId: string): Promise<AgentRow | undefined> {
  return select(trx).where('id', '=', agentId).forNoKeyUpdate().executeTakeFirst();
}

/** False: the name is taken. */
export async function insertAgent(
  db: Db,
  agent: { id: string; name: string; kind: 'local' | 'remote'; tokenHash: Buffer | null; createdBy: string },
): Promise<boolean> {
  const result = await db
    .insertInto('agents')
    .values({
      id: agent.id,
      name: agent.name,
      kind: agent.kind,
      token_hash: agent.tokenHash,
      capacity: '{}',
      created_by: agent.createdBy,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n;
}

/** The agent is here: who it is, what it has, and a lease from now on. */
export async function greetAgent(db: Db, agentId: string, hello: AgentHello, leaseMs: number): Promise<void> {
  await db
    .updateTable('agents')
    .set({
      installation: hello.installation,
      contract: hello.contract,
      version: hello.version,
      capacity: JSON.stringify(hello.capacity),
      leaving: false,
      lease_until: inMilliseconds(leaseMs),
      seen_at: sql<Date>`now()`,
    })
    .where('id', '=', agentId)
    .execute();
}

/** An agent of another version was here: what it has of a lease is left as it is. */
export async function noteVersion(
  db: Db,
  agentId: string,
  { contract, version }: { contract: number; version: string },
): Promise<void> {
  await db
    .updateTable('agents')
    .set({ contract, version, seen_at: sql<Date>`now()` })
    .where('id', '=', agentId)
    .execute();
}

/** @returns whether a person wants it to drain; undefined: there is no such agent */
export async function renewLease(
  db: Db,
  agentId: string,
  report: { capacity: AgentCapacity; leaving: boolean },
  leaseMs: number,
): Promise<{ draining: boolean } | undefined> {
  return db
    .updateTable('agents')
    .set({
      capacity: JSON.stringify(report.capacity),
      leaving: report.leaving,
      lease_until: inMilliseconds(leaseMs),
      seen_at: sql<Date>`now()`,
    })
    .where('id', '=', agentId)
    .where('revoked_at', 'is', null)
    .returning('draining')
    .executeTakeFirst();
}

export async function setDraining(db: Db, agentId: string, draining: boolean): Promise<void> {
  await db.updateTable('agents').set({ draining }).where('id', '=', agentId).execute();
}

export async function revokeAgent(db: Db, agentId: string): Promise<void> {
  await db
    .updateTable('agents')
    .set({ revoked_at: sql<Date>`now()` })
    .where('id', '=', agentId)
    .where('revoked_at', 'is', null)
    .execute();
}

export async function deleteAgent(db: Db, agentId: string): Promise<void> {
  await db.deleteFrom('agents').where('id', '=', agentId).execute();
}

/** Expected plan: idx_jobs_open. */
export async function loadOfAgents(db: Db): Promise<Load[]> {
  const { rows } = await sql<Load>`
    select agent, split_part(queue, '/', 2) as place, count(*)::integer as jobs,
           sum(need_cpus)::integer as cpus, sum(need_memory_mib)::integer as memory_mib
    from jobs
    where status in ('acknowledged', 'running') and agent is not null
    group by agent, place`.execute(db);
  return rows;
}

/**
 * Agents whose lease ended more than `graceMs` ago and that still have jobs. The server's own is never among them: its
 * runs outlive it, and wait for it.
 */
export async function findLapsed(db: Db, graceMs: number): Promise<{ id: string; name: string }[]> {
  return db
    .selectFrom('agents')
    .select(['id', 'name'])
    .where('kind', '=', 'remote')
    .where('lease_until', '<', sql<Date>`now() - ${graceMs} * interval '1 millisecond'`)
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('jobs')
          .select('jobs.id')
          .where('jobs.status', 'in', ['acknowledged', 'running'])
          .whereRef('jobs.agent', '=', 'agents.name'),
      ),
    )
    .execute();
}

/** Holds off the agent's renewal until the transaction ends. @returns whether its lease is over by now */
export async function lockLapsed(trx: Db, agentId: string, graceMs: number): Promise<boolean> {
  const row = await trx
    .selectFrom('agents')
    .select('id')
    .where('id', '=', agentId)
    .where('lease_until', '<', sql<Date>`now() - ${graceMs} * interval '1 millisecond'`)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row !== undefined;
}
