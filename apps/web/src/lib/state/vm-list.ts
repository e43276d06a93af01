import type { VmId, VmStatus, VmSummary } from '@vmo/contract';

export const sortKeys = ['name', 'status', 'cpus', 'memory', 'uptime', 'load', 'created'] as const;
export type SortKey = (typeof sortKeys)[number];

export interface VmListQuery {
  text: string;
  status: VmStatus | null;
  sort: SortKey;
  descending: boolean;
}

/** What wants attention comes first. */
const urgency: Readonly<Record<VmStatus, number>> = {
  crashed: 0,
  unknown: 1,
  starting: 2,
  stopping: 3,
  running: 4,
  paused: 5,
  stopped: 6,
};

const keys = new Map<string, string>();
/** More names than a list ever holds: beyond it, they are those of machines long gone. */
const mostKeys = 50_000;

/** `vm-2` before `vm-10`, without the cost of a collator for every comparison. */
function natural(name: string): string {
  let key = keys.get(name);
  if (key === undefined) {
    if (keys.size > mostKeys) keys.clear();
    key = name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, '0'));
    keys.set(name, key);
  }
  return key;
}

const loadOf = (vm: VmSummary): number => vm.load.at(-1) ?? -1;

/** Larger is longer; machines that do not run come last either way they are looked at. */
function valueOf(vm: VmSummary, sort: SortKey): number | string {
  switch (sort) {
    case 'name':
      return natural(vm.name);
    case 'status':
      return urgency[vm.status];
    case 'cpus':
      return vm.cpus;
    case 'memory':
      return vm.memoryMib;
    case 'uptime':
      return vm.startedAt === null ? -Infinity : -Date.parse(vm.startedAt);
    case 'load':
      return loadOf(vm);
    case 'created':
      return vm.createdAt;
  }
}

/** Every word has to be in the name. */
export function fits(vm: VmSummary, words: readonly string[], status: VmStatus | null): boolean {
  if (status !== null && vm.status !== status) return false;
  if (words.length === 0) return true;
  const name = vm.name.toLowerCase();
  return words.every((word) => name.includes(word));
}

export const wordsOf = (text: string): string[] => text.toLowerCase().split(/\s+/).filter(Boolean);

/** The machines that fit, in order; equal ones by name. */
export function orderVms(all: Iterable<VmSummary>, query: VmListQuery): VmId[] {
  const words = wordsOf(query.text);
  const sign = query.descending ? -1 : 1;
  const found: { id: VmId; value: number | string; name: string }[] = [];
  for (const vm of all) {
    if (fits(vm, words, query.status))
      found.push({ id: vm.id, value: valueOf(vm, query.sort), name: natural(vm.name) });
  }
  found.sort((a, b) => {
    if (a.value !== b.value) return a.value < b.value ? -sign : sign;
    return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  });
  return found.map(({ id }) => id);
}
