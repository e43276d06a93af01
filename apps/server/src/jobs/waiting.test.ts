import { expect, it } from 'vitest';
import type { FleetMember } from '../agents/index.ts';
import { queueOf } from './queue.ts';
import { whyWaiting } from './waiting.ts';

const gib = 1024 ** 3;
const alpine = { name: 'alpine.qcow2', sha256: 'a'.repeat(64), sizeBytes: gib };
const debian = { name: 'debian.qcow2', sha256: 'd'.repeat(64), sizeBytes: 3 * gib };
const ofImages = (...images: (typeof alpine)[]) =>
  queueOf({ takers: { who: 'any' }, place: 'requests', images });

function member(change: Partial<FleetMember> = {}): FleetMember {
  return {
    ...{ name: 'local', isHere: true, status: 'online', usedCpus: 0, usedMemoryMib: 0 },
    machinesMemoryMib: 0,
    busy: { jobs: 0, vms: 0, requests: 0 },
    capacity: {
      slots: { jobs: 2, vms: 3, requests: 2 },
      ...{ cpus: 4, memoryMib: 1024, accelerators: ['tcg'], images: [alpine] },
      ...{ fetchesImages: false, imageCacheBytes: null },
    },
    ...change,
  };
}
const far = (change: Partial<FleetMember> = {}) => member({ name: 'far', isHere: false, ...change });
const job = (queue: string, needs: Partial<{ need_cpus: number; need_memory_mib: number }> = {}) => ({
  ...{ queue, need_cpus: 0, need_memory_mib: 0 },
  ...needs,
});
const noRequests = { capacity: { ...member().capacity, slots: { jobs: 2, vms: 3, requests: 0 } } };
const bringing = (imageCacheBytes: number | null) => ({
  capacity: { ...member().capacity, fetchesImages: true, imageCacheBytes },
});
const fetching = bringing(null);
const busy = (jobs: number, vms = 0, requests = 0) => ({ busy: { jobs, vms, requests } });

it.each([
  ['nobody is there', job('any/jobs'), [], 'waiting for an agent: none is online'],
  [
    'all are away',
    job('any/jobs'),
    [member({ status: 'offline' }), far({ status: 'new' })],
    'waiting for an agent: none is online',
  ],
  [
    'all drain',
    job('any/jobs'),
    [member({ status: 'draining' }), far({ status: 'draining' })],
    'waiting for an agent: those that are online take no more jobs',
  ],
  [
    'its own is away',
    job('@far/jobs'),
    [member(), far({ status: 'offline' })],
    'waiting: agent far is not online',
  ],
  [
    'its own drains',
    job('here/jobs'),
    [member({ status: 'draining' }), far()],
    'waiting: the agent takes no more jobs',
  ],
  [
    'nobody has the image',
    job(ofImages(alpine, debian)),
    [member({ status: 'offline' }), far()],
    'waiting for an agent that has the images alpine.qcow2 and debian.qcow2',
  ],
  [
    'who has the image takes no requests',
    job(ofImages(debian)),
    [member(noRequests), far()],
    'waiting for an agent that has the image debian.qcow2',
  ],
  [
    'nobody takes requests',
    job(ofImages(debian)),
    [member(noRequests)],
    'waiting for an agent that takes requests',
  ],
  [
    'only the agent of the server has what it is made of, and takes no requests',
    job('here/requests'),
    [member(noRequests), far(fetching)],
    'waiting: what it is made of is on the server alone, whose own agent takes no requests',
  ],
  [
    'an agent is about to bring the image',
    job(ofImages(debian)),
    [far(fetching), far()],
    'waiting for an agent to take it',
  ],
  [
    'the image has room in the cache of one of them',
    job(ofImages(debian)),
    [far(bringing(2 * gib)), far(bringing(3 * gib))],
    'waiting for an agent to take it',
  ],
  [
    'the image is too large for their caches',
    job(ofImages(debian)),
    [far(bringing(2 * gib)), far()],
    'waiting for an agent that has the image debian.qcow2: debian.qcow2 has 3 GiB, and agents bring 2 GiB at most (VMO_IMAGE_CACHE_GIB)',
  ],
  [
    'one of the images is too large, and the other is there',
    job(ofImages(alpine, debian)),
    [far(bringing(2 * gib))],
    'waiting for an agent that has the images alpine.qcow2 and debian.qcow2: debian.qcow2 has 3 GiB, and agents bring 2 GiB at most (VMO_IMAGE_CACHE_GIB)',
  ],
  [
    'nobody is large enough',
    job('any/requests', { need_memory_mib: 4096, need_cpus: 2 }),
    [member()],
    'waiting for an agent that is large enough: it needs 2 CPUs and 4096 MiB of memory',
  ],
  [
    'all slots are busy',
    job('any/jobs'),
    [member(busy(2)), far(busy(2))],
    'waiting for a free slot: 4 of 4 busy',
  ],
  [
    'all slots for requests are busy',
    job('here/requests'),
    [member(busy(0, 0, 2))],
    'waiting for a free slot for a request: 2 of 2 busy',
  ],
  [
    'the limit of machines is reached',
    job('here/requests'),
    [member(busy(0, 2, 1))],
    'waiting: the limit of 3 machines is reached',
  ],
  [
    'the memory is in use',
    job('here/requests', { need_memory_mib: 600 }),
    [member({ usedMemoryMib: 600 })],
    'waiting until 600 MiB of memory are free',
  ],
  [
    'machines that persons run have the memory',
    job('any/requests', { need_memory_mib: 600 }),
    [member({ usedMemoryMib: 700, machinesMemoryMib: 500 })],
    'waiting until 600 MiB of memory are free: of 1024 MiB of the server’s host, running machines have 500 and requests 200',
  ],
  [
    'machines have more memory than there is',
    job('any/requests', { need_memory_mib: 600 }),
    [member({ usedMemoryMib: 2048, machinesMemoryMib: 2048 })],
    'waiting until 600 MiB of memory are free: of 1024 MiB of the server’s host, running machines have 2048',
  ],
  [
    'the CPUs are in use, and shared',
    job('here/requests', { need_cpus: 4 }),
    [member({ usedCpus: 8 })],
    'waiting for the agent to take it',
  ],
  ['it is about to be taken', job('here/jobs'), [member()], 'waiting for the agent to take it'],
  [
    'somebody is about to take it',
    job('any/jobs'),
    [member(busy(2)), far()],
    'waiting for an agent to take it',
  ],
])('a job that waits says why: %s', (_, row, fleet, words) => {
  expect(whyWaiting(row, fleet)).toBe(words);
});
