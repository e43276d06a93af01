import type { AgentCapacity } from '@vmo/contract';

/** What an agent offers that has room for everything but the places that a test counts. */
export const largeCapacity = (slots: Partial<AgentCapacity['slots']>, memoryMib = 65_536): AgentCapacity => ({
  slots: { jobs: 0, vms: 0, requests: 0, ...slots },
  cpus: 64,
  memoryMib,
  accelerators: [],
  images: [],
  fetchesImages: false,
  imageCacheBytes: null,
});
