import { expect, it } from 'vitest';
import type { FleetMember } from '../agents/index.ts';
import { whyWaiting } from './waiting.ts';

function member(change: Partial<FleetMember> = {}): FleetMember {
  return {
    ...{ name: 'local', isHere: true, status: 'online', usedCpus: 0, usedMemoryMib: 0 },
    busy: { jobs: 0, vms: 0, requests: 0 },
    capacity: {
      slots: { jobs: 2, vms: 3, requests: 2 },
      ...{ cpus: 4, memoryMib: 1024, accelerators: ['tcg'], images: ['alpine.qcow2'] },
    },
    ...change,
  };
}
const far = (change: Partial<FleetMember> = {}) => member({ name: 'far', isHere: false, ...change });
const job = (queue: string, needs: Partial<{ need_cpus: number; need_memory_mib: number }> = {}) => ({
  ...{ queue, need_cpus: 0, need_memory_mib: 0 },
  ...needs,
});
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
    job('any/requests/debian.qcow2'),
    [member(), far()],
    'waiting for an agent that has the image debian.qcow2',
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
    'waiting until 0 CPUs and 600 MiB of memory are free',
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
