import { VmId, type VmStatus, type VmSummary } from '@vmo/contract';
import { expect, it } from 'vitest';
import { fits, orderVms, wordsOf, type VmListQuery } from './vm-list.ts';

const id = (n: number): VmId => VmId.parse(`019f0000-0000-7000-8000-${String(n).padStart(12, '0')}`);

function machine(n: number, change: Partial<VmSummary> = {}): VmSummary {
  return {
    id: id(n),
    name: `vm-${String(n)}`,
    status: 'stopped',
    reason: null,
    cpus: 1,
    memoryMib: 512,
    accelerator: null,
    jobId: null,
    createdAt: '2026-01-01T00:00:00.000Z',
    createdBy: 'owner',
    startedAt: null,
    display: 'none',
    load: [],
    ...change,
  };
}

const asked = (change: Partial<VmListQuery> = {}): VmListQuery => ({
  text: '',
  status: null,
  sort: 'name',
  descending: false,
  ...change,
});
const names = (list: readonly VmSummary[], query: VmListQuery): string[] =>
  orderVms(list, query).map((found) => list.find((vm) => vm.id === found)?.name ?? '?');

it('names are in the order in which people count', () => {
  const list = [10, 2, 1].map((n) => machine(n));
  expect(names(list, asked())).toEqual(['vm-1', 'vm-2', 'vm-10']);
  expect(names(list, asked({ descending: true }))).toEqual(['vm-10', 'vm-2', 'vm-1']);
});

it('what wants attention comes first when sorted by status, and equal ones are in order of their names', () => {
  const states: VmStatus[] = ['stopped', 'running', 'crashed', 'running'];
  const list = states.map((status, n) => machine(9 - n, { status }));
  expect(names(list, asked({ sort: 'status' }))).toEqual(['vm-7', 'vm-6', 'vm-8', 'vm-9']);
});

it('the longest uptime is the largest', () => {
  const list = [
    machine(1, { startedAt: '2026-01-02T00:00:00.000Z' }),
    machine(2),
    machine(3, { startedAt: '2026-01-01T00:00:00.000Z' }),
  ];
  expect(names(list, asked({ sort: 'uptime', descending: true }))).toEqual(['vm-3', 'vm-1', 'vm-2']);
});

it('every word must be in the name, in any case and order', () => {
  const vm = machine(1, { name: 'Web-Frontend-12' });
  expect(fits(vm, wordsOf('front WEB'), null)).toBe(true);
  expect(fits(vm, wordsOf('front db'), null)).toBe(false);
  expect(fits(vm, [], 'running')).toBe(false);
});

it('ten thousand machines are filtered and sorted within the 50 ms that a key press has', () => {
  const list = Array.from({ length: 10_000 }, (_, n) => machine(n, { load: [n % 100] }));
  orderVms(list, asked());
  const begun = performance.now();
  const found = orderVms(list, asked({ text: '9', sort: 'load' }));
  expect(performance.now() - begun).toBeLessThan(50);
  expect(found.length).toBe(3439);
});
