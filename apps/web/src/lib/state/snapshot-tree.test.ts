import { SnapshotId, VmId, type Snapshot } from '@vmo/contract';
import { expect, it } from 'vitest';
import { snapshotTree } from './snapshot-tree.ts';

const uuid = (n: number): string => `019f0000-0000-7000-8000-${String(n).padStart(12, '0')}`;

const snapshot = (n: number, parent: number | null): Snapshot => ({
  id: SnapshotId.parse(uuid(n)),
  vmId: VmId.parse(uuid(99)),
  name: String(n),
  parentId: parent === null ? null : SnapshotId.parse(uuid(parent)),
  kind: 'disk',
  state: 'ready',
  current: false,
  sizeBytes: null,
  createdAt: '2026-01-01T00:00:00.000Z',
  createdBy: 'owner',
});

it('children follow their parents, and whose parent is gone stands at the root', () => {
  const rows = snapshotTree([
    snapshot(1, null),
    snapshot(2, 1),
    snapshot(3, 77),
    snapshot(4, 1),
    snapshot(5, 2),
  ]);
  expect(rows.map(({ snapshot: { name }, depth }) => `${name}:${String(depth)}`)).toEqual([
    '1:0',
    '2:1',
    '5:2',
    '4:1',
    '3:0',
  ]);
});
