import type { AgentId, FreePlaces, PlaceKind } from '@vmo/contract';

/**
 * Who may take a job: the server's own agent, where its directories and machines are; any agent; or one by its name.
 */
export type Takers = { who: 'here' } | { who: 'any' } | { who: 'agent'; name: string };

/** What a job takes of the agent that runs it, and who may be that agent. */
export interface Placement {
  takers: Takers;
  place: PlaceKind;
  /** The agent must have this image. */
  image?: string;
  cpus?: number;
  memoryMib?: number;
}

/** An agent, as far as it matters for what it can take. */
export interface Taker {
  /** null: it has no lease, as in tests. */
  id: AgentId | null;
  name: string;
  /** It lives in the server's own process. */
  isHere: boolean;
  images: readonly string[];
}

const ownerOf = (takers: Takers) => (takers.who === 'agent' ? `@${takers.name}` : takers.who);

/** Jobs of one queue can be taken by the same agents. Names of agents and images contain no slash. */
export function queueOf({ takers, place, image }: Placement): string {
  return [ownerOf(takers), place, ...(image === undefined ? [] : [image])].join('/');
}

/** Back from the column. A queue that is none of ours can be taken by nobody. */
export function parseQueue(queue: string): { owner: string; place: PlaceKind; image: string | null } {
  const [owner = '', place = '', image] = queue.split('/');
  return { owner, place: isPlace(place) ? place : 'jobs', image: image ?? null };
}

/** As a submission names it. */
export function agentOf(queue: string): { agent?: string } {
  const { owner } = parseQueue(queue);
  if (owner === 'here') return {};
  return { agent: owner === 'any' ? owner : owner.slice(1) };
}

const isPlace = (text: string): text is PlaceKind => text === 'jobs' || text === 'vms' || text === 'requests';

const kinds: readonly PlaceKind[] = ['jobs', 'vms', 'requests'];

/** The queues that an agent takes from, now that it has these places free. */
export function queuesFor({ name, isHere, images }: Taker, free: FreePlaces): string[] {
  const owners = [...(isHere ? ['here'] : []), 'any', `@${name}`];
  return kinds
    .filter((kind) => free[kind] > 0)
    .flatMap((kind) =>
      owners.flatMap((owner) => [
        `${owner}/${kind}`,
        ...(kind === 'jobs' ? [] : images.map((image) => `${owner}/${kind}/${image}`)),
      ]),
    );
}

export interface Needs {
  place: PlaceKind;
  cpus: number;
  memoryMib: number;
}

export function fits(free: FreePlaces, { place, cpus, memoryMib }: Needs): boolean {
  return (
    free[place] > 0 &&
    (place === 'jobs' || free.machines === null || free.machines > 0) &&
    (free.cpus === null || cpus <= free.cpus) &&
    (free.memoryMib === null || memoryMib <= free.memoryMib)
  );
}

export function take(free: FreePlaces, { place, cpus, memoryMib }: Needs): FreePlaces {
  return {
    ...free,
    [place]: free[place] - 1,
    machines: place === 'jobs' || free.machines === null ? free.machines : free.machines - 1,
    cpus: free.cpus === null ? null : free.cpus - cpus,
    memoryMib: free.memoryMib === null ? null : free.memoryMib - memoryMib,
  };
}
