import type { Snapshot } from '@vmo/contract';

export interface TreeRow {
  snapshot: Snapshot;
  depth: number;
}

/** Parents before their children, siblings by age. One whose parent is gone stands at the root. */
export function snapshotTree(snapshots: readonly Snapshot[]): TreeRow[] {
  const known = new Set(snapshots.map(({ id }) => id));
  const children = Map.groupBy(snapshots, ({ parentId }) =>
    parentId !== null && known.has(parentId) ? parentId : null,
  );
  const rows: TreeRow[] = [];
  const walk = (parent: Snapshot['parentId'], depth: number): void => {
    for (const snapshot of children.get(parent) ?? []) {
      rows.push({ snapshot, depth });
      walk(snapshot.id, depth + 1);
    }
  };
  walk(null, 0);
  return rows;
}
