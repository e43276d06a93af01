import type { AgentId, FreePlaces, ImageCopy, NeededImage, PlaceKind } from '@vmo/contract';

/**
 * Who may take a job: the server's own agent, where its directories and machines are; any agent; or one by its name.
 */
export type Takers = { who: 'here' } | { who: 'any' } | { who: 'agent'; name: string };

/** What a job takes of the agent that runs it, and who may be that agent. */
export interface Placement {
  takers: Takers;
  place: PlaceKind;
  /** The agent must have these, or bring them. */
  images?: readonly NeededImage[];
  cpus?: number;
  memoryMib?: number;
}

/** An agent, as far as it matters for what it can take. */
export interface Taker {
  /** null: it has no lease, as in tests. */
  id: AgentId | null;
  name: string;
  /** It lives in the server's own process, and has every image of the server. */
  isHere: boolean;
  images: readonly ImageCopy[];
  /** The largest image that it brings when it lacks it, in bytes; 0: it brings none. */
  bringsUpTo: number;
}

const ownerOf = (takers: Takers) => (takers.who === 'agent' ? `@${takers.name}` : takers.who);

const wordOf = ({ name, sha256, sizeBytes }: NeededImage) => `${name}@${sha256}@${String(sizeBytes)}`;

/** Jobs of one queue can be taken by the same agents. Names of agents and images contain neither `/` nor `@`. */
export function queueOf({ takers, place, images = [] }: Placement): string {
  return [ownerOf(takers), place, ...images.map(wordOf)].join('/');
}

/**
 * Back from the column. A queue that is none of ours can be taken by nobody; images in one of before have no size, so they
 * fit everywhere.
 */
export function parseQueue(queue: string): { owner: string; place: PlaceKind; images: NeededImage[] } {
  const [owner = '', place = '', ...images] = queue.split('/');
  return {
    owner,
    place: isPlace(place) ? place : 'jobs',
    images: images.map((image) => {
      const [name = '', sha256 = '', size = '0'] = image.split('@');
      return { name, sha256, sizeBytes: Number(size) };
    }),
  };
}

/** Whether an agent has these images, whatever they are called there, or will have them when it needs them. */
export function canHave(
  { isHere, images, bringsUpTo }: Pick<Taker, 'isHere' | 'images' | 'bringsUpTo'>,
  wanted: readonly NeededImage[],
): boolean {
  const has = ({ sha256 }: ImageCopy) => images.some((image) => image.sha256 === sha256);
  const brings = ({ sizeBytes }: NeededImage) => bringsUpTo > 0 && sizeBytes <= bringsUpTo;
  return isHere || wanted.every((image) => has(image) || brings(image));
}

/** As a submission names it. */
export function agentOf(queue: string): { agent?: string } {
  const { owner } = parseQueue(queue);
  if (owner === 'here') return {};
  return { agent: owner === 'any' ? owner : owner.slice(1) };
}

const isPlace = (text: string): text is PlaceKind => text === 'jobs' || text === 'vms' || text === 'requests';

const kinds: readonly PlaceKind[] = ['jobs', 'vms', 'requests'];

/** Of machines that persons start. */
export const machinesQueue = queueOf({ takers: { who: 'here' }, place: 'vms' });

/** Queues of jobs that need images: there are as many as there are images. */
const withImages = 'any/requests/';

/**
 * The queues that an agent takes from, now that it has these places free.
 * @param waiting queues that hold anything; may be left out where there is no place for requests
 */
export function queuesFor(taker: Taker, free: FreePlaces, waiting: readonly string[]): string[] {
  const owners = [...(taker.isHere ? ['here'] : []), 'any', `@${taker.name}`];
  return [
    ...kinds.filter((kind) => free[kind] > 0).flatMap((kind) => owners.map((owner) => `${owner}/${kind}`)),
    ...waiting.filter(
      (queue) =>
        free.requests > 0 && queue.startsWith(withImages) && canHave(taker, parseQueue(queue).images),
    ),
  ];
}

export interface Needs {
  place: PlaceKind;
  cpus: number;
  memoryMib: number;
}

/** The memory of a machine that a person starts was looked at before it got into the queue: it does not wait for any. */
export function fits(free: FreePlaces, { place, cpus, memoryMib }: Needs): boolean {
  return (
    free[place] > 0 &&
    (place === 'jobs' || free.machines === null || free.machines > 0) &&
    (free.cpus === null || cpus <= free.cpus) &&
    (place === 'vms' || free.memoryMib === null || memoryMib <= free.memoryMib)
  );
}

/**
 * What is left then. Processors are shared: the host divides their time, as it does for all programs. Machines that persons
 * start may have been promised more memory than there is, and then nothing is left of it.
 */
export function take(free: FreePlaces, { place, memoryMib }: Omit<Needs, 'cpus'>): FreePlaces {
  return {
    ...free,
    [place]: free[place] - 1,
    machines: place === 'jobs' || free.machines === null ? free.machines : free.machines - 1,
    memoryMib: free.memoryMib === null ? null : Math.max(free.memoryMib - memoryMib, 0),
  };
}
