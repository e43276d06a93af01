import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import type { FreePlaces } from '@vmo/contract';
import { fits, machinesQueue, parseQueue, queuesFor, take, type Taker } from './queue.ts';
import { assign, selectCandidates, selectQueues, type Candidate } from './queue-repository.ts';
import type { JobRow } from './repository.ts';

/** Jobs of one submitter that are looked at: as many as there are places, and more when some of them fit nobody now. */
const maxEach = 200;
/** Another server or a cancel may have taken what we chose. */
const maxRounds = 4;

interface Waiting {
  taker: Taker;
  free: FreePlaces;
  taken: JobRow[];
  resolve: (rows: JobRow[]) => void;
  reject: (error: unknown) => void;
}

const placesOf = ({ jobs, vms, requests }: FreePlaces) => jobs + vms + requests;

/** Machines that persons start first: their memory is promised to them already. */
const machinesFirst = (candidates: readonly Candidate[]): Candidate[] => [
  ...candidates.filter(({ queue }) => queue === machinesQueue),
  ...candidates.filter(({ queue }) => queue !== machinesQueue),
];

/** Who gets which: in order, each to the agent that has most room for its kind. */
function choose(
  candidates: readonly Candidate[],
  queues: ReadonlyMap<Waiting, ReadonlySet<string>>,
): Map<string, Waiting> {
  const left = new Map([...queues.keys()].map((one) => [one, one.free]));
  const chosen = new Map<string, Waiting>();
  for (const { id, queue, need_cpus: cpus, need_memory_mib: memoryMib } of machinesFirst(candidates)) {
    const { place } = parseQueue(queue);
    const needs = { place, cpus, memoryMib };
    let best: { one: Waiting; free: FreePlaces } | null = null;
    for (const [one, free] of left) {
      if (!queues.get(one)?.has(queue) || !fits(free, needs)) continue;
      if (!best || free[place] > best.free[place]) best = { one, free };
    }
    if (!best) continue;
    left.set(best.one, take(best.free, needs));
    chosen.set(id, best.one);
  }
  return chosen;
}

/**
 * Gives pending jobs to agents that ask. Those who ask while jobs are being given share the next round, so that agents do
 * not get in each other's way however many ask at once.
 */
export function createClaims(db: Kysely<Database>): (taker: Taker, free: FreePlaces) => Promise<JobRow[]> {
  let waiting: Waiting[] = [];
  let isBusy = false;

  async function serve(group: readonly Waiting[]): Promise<void> {
    const waitingQueues = group.some(({ free }) => free.requests > 0) ? await selectQueues(db) : [];
    const queuesOf = new Map(
      group.map((one) => [one, new Set(queuesFor(one.taker, one.free, waitingQueues))]),
    );
    const queues = [...new Set([...queuesOf.values()].flatMap((some) => [...some]))];
    const places = group.reduce((sum, { free }) => sum + placesOf(free), 0);
    if (queues.length === 0) return;
    let each = Math.min(places, maxEach);
    for (let round = 0; round < maxRounds; round++) {
      const limit = each * 4;
      const candidates = await selectCandidates(db, queues, { each, limit });
      const chosen = choose(candidates, queuesOf);
      if (chosen.size === 0) {
        if (candidates.length < each || each === maxEach) return;
        each = maxEach;
        continue;
      }
      const rows = await assign(db, new Map([...chosen].map(([id, { taker }]) => [id, taker.name])));
      for (const row of rows) chosen.get(row.id)?.taken.push(row);
      if (rows.length > 0) return;
    }
  }

  async function work(): Promise<void> {
    isBusy = true;
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      try {
        await serve(group);
        for (const { taken, resolve } of group) resolve(taken);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    isBusy = false;
  }

  return (taker, free) => {
    const { promise, resolve, reject } = Promise.withResolvers<JobRow[]>();
    waiting.push({ taker, free, taken: [], resolve, reject });
    if (!isBusy) void work();
    return promise;
  };
}
