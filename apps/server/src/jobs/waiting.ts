import { largestBrought, type NeededImage, type PlaceKind, type Slots } from '@vmo/contract';
import type { FleetMember } from '../agents/index.ts';
import { sizeInWords } from '../kernel/words.ts';
import { canHave, parseQueue } from './queue.ts';
import type { JobRow } from './repository.ts';

const placeWords: Readonly<Record<PlaceKind, string>> = {
  jobs: 'a free slot',
  vms: 'a free slot for a machine',
  requests: 'a free slot for a request',
};

const sum = (members: readonly FleetMember[], count: (member: FleetMember) => number) =>
  members.reduce((total, member) => total + count(member), 0);

const hasMachine = (slots: Slots, busy: Slots) => slots.vms === 0 || busy.vms + busy.requests < slots.vms;

/** None of these agents has these images, nor brings them. */
function whyNoImage(members: readonly FleetMember[], images: readonly NeededImage[]): string {
  const names = images.map(({ name }) => name).join(' and ');
  const waits = `waiting for an agent that has the image${images.length === 1 ? '' : 's'} ${names}`;
  const limit = Math.max(...members.map(({ capacity }) => largestBrought(capacity)));
  const tooLarge = images.find(({ sizeBytes }) => limit > 0 && sizeBytes > limit);
  return tooLarge
    ? `${waits}: ${tooLarge.name} has ${sizeInWords(tooLarge.sizeBytes)}, and agents bring ${sizeInWords(limit)} at most (VMO_IMAGE_CACHE_GIB)`
    : waits;
}

/** Machines that persons run end when these want them to, so they are named. */
function whoHasMemory(members: readonly FleetMember[]): string {
  const host = members.find(({ machinesMemoryMib }) => machinesMemoryMib > 0);
  if (!host) return '';
  const { machinesMemoryMib, usedMemoryMib, capacity } = host;
  const rest = usedMemoryMib - machinesMemoryMib;
  const ofRequests = rest > 0 ? ` and requests ${String(rest)}` : '';
  return `: of ${String(capacity.memoryMib)} MiB of the server’s host, running machines have ${String(machinesMemoryMib)}${ofRequests}`;
}

/** Why nobody has taken this job yet, in the words of the history. */
export function whyWaiting(
  row: Pick<JobRow, 'queue' | 'need_cpus' | 'need_memory_mib'>,
  fleet: readonly FleetMember[],
): string {
  const { owner, place, images } = parseQueue(row.queue);
  const named = owner.startsWith('@') ? owner.slice(1) : null;
  const mayTake = fleet.filter(
    ({ name, isHere }) => owner === 'any' || (owner === 'here' ? isHere : name === named),
  );
  const online = mayTake.filter(({ status }) => status === 'online');
  if (online.length === 0) {
    const isDraining = mayTake.some(({ status }) => status === 'draining');
    const who = named === null ? (mayTake.length === 1 ? 'the agent' : 'no agent') : `agent ${named}`;
    if (who === 'no agent')
      return `waiting for an agent: ${isDraining ? 'those that are online take no more jobs' : 'none is online'}`;
    return `waiting: ${who} ${isDraining ? 'takes no more jobs' : 'is not online'}`;
  }
  const willing = online.filter(({ capacity }) => capacity.slots[place] > 0);
  if (willing.length === 0) {
    return owner === 'here' && place === 'requests'
      ? 'waiting: what it is made of is on the server alone, whose own agent takes no requests'
      : `waiting for an agent that takes ${place}`;
  }
  const able = willing.filter(({ isHere, capacity }) =>
    canHave({ isHere, images: capacity.images, bringsUpTo: largestBrought(capacity) }, images),
  );
  if (able.length === 0) return whyNoImage(willing, images);
  const large = able.filter(
    ({ capacity }) => row.need_memory_mib <= capacity.memoryMib && row.need_cpus <= capacity.cpus,
  );
  const wants = `${String(row.need_cpus)} CPUs and ${String(row.need_memory_mib)} MiB of memory`;
  if (large.length === 0) return `waiting for an agent that is large enough: it needs ${wants}`;
  const taken = sum(large, ({ busy }) => busy[place]);
  const max = sum(large, ({ capacity }) => capacity.slots[place]);
  if (taken >= max) return `waiting for ${placeWords[place]}: ${String(taken)} of ${String(max)} busy`;
  const isLimited =
    place !== 'jobs' && large.every(({ capacity, busy }) => !hasMachine(capacity.slots, busy));
  if (isLimited)
    return `waiting: the limit of ${String(sum(large, ({ capacity }) => capacity.slots.vms))} machines is reached`;
  const free = large.filter(({ capacity, busy }) => busy[place] < capacity.slots[place]);
  const fits = free.some(
    ({ capacity, usedMemoryMib }) => row.need_memory_mib <= capacity.memoryMib - usedMemoryMib,
  );
  if (!fits)
    return `waiting until ${String(row.need_memory_mib)} MiB of memory are free${whoHasMemory(free)}`;
  return `waiting for ${mayTake.length === 1 ? 'the agent' : 'an agent'} to take it`;
}
