import { randomUUID } from 'node:crypto';
import { createClient, type Client } from '@vmo/client';
import { agentContractVersion, type FreePlaces } from '@vmo/contract';
import { connect, type Database } from '@vmo/db';
import { largeCapacity, type TestServer } from '@vmo/testkit';
import { sql, type Kysely } from 'kysely';
import type { Bench, Part } from './bench.ts';
import { startServer } from './jobs.ts';

const agentCount = 8;
/** Places that each has free whenever it asks. */
const places = 5;
const submitters = 20;

const free: FreePlaces = {
  ...{ jobs: places, vms: 0, requests: 0 },
  ...{ cpus: null, memoryMib: null, machines: null },
};
const capacity = largeCapacity({ jobs: places });

async function fill(db: Kysely<Database>, count: number): Promise<void> {
  await sql`
    insert into jobs (id, command, type, status, env, created_by, queue)
    select gen_random_uuid(), 'true', 'stream', 'pending', '{}', 'submitter ' || n % ${sql.lit(submitters)}, 'any/jobs'
    from generate_series(1, ${sql.lit(count)}) as n`.execute(db);
  await sql`vacuum (analyze) jobs`.execute(db);
}

/** An agent as the server knows it, without any runs: it is only asked what it is given. */
async function introduce(server: TestServer, name: string): Promise<Client> {
  const { token } = await server.client.call('addAgent', { body: { name } });
  const client = createClient({ baseUrl: server.url, token });
  const body = { contract: agentContractVersion, version: 'bench', installation: randomUUID(), capacity };
  await client.call('agentHello', { body });
  return client;
}

/** Asks until nothing is left. @returns the ids that it was given */
async function takeAll(agent: Client): Promise<string[]> {
  const taken: string[] = [];
  for (;;) {
    const { jobs } = await agent.call('agentClaim', { body: free });
    if (jobs.length === 0) return taken;
    for (const { id } of jobs) taken.push(id);
  }
}

/** The least that a claim is: as many connections take as many rows at once, with neither turns nor needs nor words. */
async function takePlainly(db: Kysely<Database>): Promise<void> {
  for (;;) {
    const { numAffectedRows = 0n } = await sql`
      update jobs set status = 'acknowledged', fence = fence + 1
      where id in (
        select id from jobs where status = 'pending' order by id limit ${sql.lit(places)} for no key update skip locked
      )`.execute(db);
    if (numAffectedRows === 0n) return;
  }
}

async function claims({ add, long }: Bench): Promise<void> {
  await using server = await startServer();
  const { agents: own } = await server.client.call('listAgents');
  for (const { id: agentId } of own) await server.client.call('drainAgent', { params: { agentId } });
  const agents = await Promise.all(
    Array.from({ length: agentCount }, (_, index) => introduce(server, `bench-${String(index)}`)),
  );
  const db = connect(server.database, { poolSize: agentCount });
  const total = long ? 10_000 : 2_000;
  const ours: number[] = [];
  const plain: number[] = [];
  try {
    for (let round = 0; round < 5; round++) {
      await fill(db, total);
      let begin = performance.now();
      const taken = (await Promise.all(agents.map(takeAll))).flat();
      ours.push(total / ((performance.now() - begin) / 1000));
      if (taken.length !== total || new Set(taken).size !== total)
        throw new Error(
          `${String(taken.length)} of ${String(total)} were given, ${String(new Set(taken).size)} different ones`,
        );
      // What they have would count as theirs.
      await sql`delete from jobs`.execute(db);
      await fill(db, total);
      begin = performance.now();
      await Promise.all(agents.map(() => takePlainly(db)));
      plain.push(total / ((performance.now() - begin) / 1000));
      await sql`delete from jobs`.execute(db);
    }
  } finally {
    await db.destroy();
  }
  add({
    name: `claims by ${String(agentCount)} agents over HTTP, none twice`,
    unit: '/s',
    how: `each asks for ${String(places)} at a time until ${String(total)} waiting jobs of ${String(submitters)} submitters are taken`,
    values: ours,
    targets: [{ share: 0.5, atLeast: 1000 }],
    limits: [{ name: 'one `update … skip locked` on as many connections', values: plain }],
  });
}

export const claimsPart: Part = { name: 'claims', limitSeconds: 120, measure: claims };
