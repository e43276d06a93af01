import { sql, type Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import { machinesQueue } from './queue.ts';
import type { JobRow } from './repository.ts';

type Db = Kysely<Database>;

/** A pending job, as far as it matters for who takes it. */
export interface Candidate {
  id: string;
  queue: string;
  need_cpus: number;
  need_memory_mib: number;
}

/** Queues that hold pending jobs, found by skipping through the index. Expected plan: idx_jobs_queue. */
export async function selectQueues(db: Db): Promise<string[]> {
  const { rows } = await sql<{ queue: string }>`
    with recursive found (queue) as (
      (select queue from jobs where status = 'pending' order by queue limit 1)
      union all
      select next.queue
      from found
      cross join lateral (
        select jobs.queue from jobs
        where status = 'pending' and jobs.queue > found.queue
        order by jobs.queue
        limit 1
      ) as next
    )
    select queue from found`.execute(db);
  return rows.map(({ queue }) => queue);
}

/**
 * The first pending jobs of these queues in the order in which they are to be taken: higher priority first, then in turns
 * between submitters – who has more under way waits for the others –, then by age. Looks at `each` jobs of every submitter
 * only, whom it finds by skipping through the index, so it takes as long for ten thousand waiting jobs as for ten.
 * Expected plan: idx_jobs_queue, idx_jobs_open.
 */
export async function selectCandidates(
  db: Db,
  queues: readonly string[],
  { each, limit }: { each: number; limit: number },
): Promise<Candidate[]> {
  const { rows } = await sql<Candidate>`
    with recursive heads (queue, rank, created_by) as (
      select head.*
      from unnest(${[...queues]}::text[]) as wanted (queue)
      cross join lateral (
        select jobs.queue, -priority as rank, created_by
        from jobs
        where status = 'pending' and jobs.queue = wanted.queue
        order by -priority, created_by
        limit 1
      ) as head
      union all
      select next.*
      from heads
      cross join lateral (
        select jobs.queue, -priority as rank, created_by
        from jobs
        where status = 'pending' and jobs.queue = heads.queue
          and (-priority, created_by) > (heads.rank, heads.created_by)
        order by -priority, created_by
        limit 1
      ) as next
    ),
    busy as (
      select created_by, count(*) as jobs
      from jobs
      where status in ('acknowledged', 'running') and queue <> 'here/vms'
      group by created_by
    )
    select id, first.queue, need_cpus, need_memory_mib
    from (
      select job.*, heads.queue, heads.rank,
             coalesce(busy.jobs, 0) + row_number() over (partition by heads.rank, heads.created_by order by job.id) as turn
      from heads
      left join busy using (created_by)
      cross join lateral (
        select id, need_cpus, need_memory_mib
        from jobs
        where status = 'pending' and queue = heads.queue and -priority = heads.rank and created_by = heads.created_by
        order by id
        limit ${each}
      ) as job
    ) as first
    order by rank, turn, id
    limit ${limit}`.execute(db);
  return rows;
}

/** MiB of memory that are promised on the server's own host. */
export interface PromisedMemory {
  /** To machines that persons run, or have just started. */
  machines: number;
  /** To requests that its agent runs. */
  requests: number;
}

/** Expected plan: idx_jobs_open. */
export async function selectPromisedMemory(db: Db, localAgent: string): Promise<PromisedMemory> {
  const { rows } = await sql<PromisedMemory>`
    select coalesce(sum(need_memory_mib) filter (where queue = ${machinesQueue}), 0)::integer as machines,
           coalesce(sum(need_memory_mib) filter (where queue <> ${machinesQueue}), 0)::integer as requests
    from jobs
    where (status in ('acknowledged', 'running') and agent = ${localAgent})
       or (status = 'pending' and queue = ${machinesQueue})`.execute(db);
  return rows[0] ?? { machines: 0, requests: 0 };
}

/** Of a job that has not ended. Expected plan: its primary key. */
export async function updateNeededMemory(db: Db, jobId: string, memoryMib: number): Promise<void> {
  await db.updateTable('jobs').set({ need_memory_mib: memoryMib }).where('id', '=', jobId).execute();
}

/**
 * Gives pending jobs to agents. One statement, which is its own transaction: what somebody else takes or cancels at this
 * moment is passed over, so no job is given twice.
 * @returns those that were given
 */
export async function assign(db: Db, chosen: ReadonlyMap<string, string>): Promise<JobRow[]> {
  const ids = [...chosen.keys()];
  const agents = [...chosen.values()];
  const { rows } = await sql<JobRow>`
    with chosen as (
      select jobs.id, wanted.agent
      from unnest(${ids}::uuid[], ${agents}::text[]) as wanted (id, agent)
      join jobs on jobs.id = wanted.id
      where jobs.status = 'pending'
      for no key update of jobs skip locked
    )
    update jobs
    set status = 'acknowledged', agent = chosen.agent, fence = fence + 1, reason = null
    from chosen
    where jobs.id = chosen.id
    returning jobs.*`.execute(db);
  return rows;
}

/**
 * All pending jobs, of each queue in the order in which they are to be taken. Reads the whole queue: 3 ms for a thousand
 * waiting jobs. Their numbers are sorted alone: with the names of the queues, which are long, it took twice as long.
 */
export async function selectOrder(db: Db): Promise<string[][]> {
  const { rows } = await sql<{ ids: string }>`
    with busy as (
      select created_by, count(*) as jobs
      from jobs
      where status in ('acknowledged', 'running') and queue <> 'here/vms'
      group by created_by
    ),
    turns as (
      select id, queue, -priority as rank,
             coalesce(busy.jobs, 0) + row_number() over (partition by -priority, created_by order by id) as turn
      from jobs
      left join busy using (created_by)
      where status = 'pending'
    )
    select string_agg(id::text, ',' order by rank, turn, id) as ids from turns group by queue`.execute(db);
  return rows.map(({ ids }) => ids.split(','));
}
