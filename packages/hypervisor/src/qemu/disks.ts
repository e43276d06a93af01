import type { MachineDisk } from '@vmo/contract';
import { DriverError, type DiskNow } from '../driver.ts';
import { isQmpEvent } from '../qmp/command.ts';
import type { QmpEvent } from '../qmp/messages.ts';
import type { BlockInfo } from '../qmp/schema.generated.ts';
import { blockNodes, type Layer } from './block.ts';
import { bytesNode, deviceId, diskIdOf, isOurNode, nodeName, serialOf } from './layout.ts';
import type { Talk } from './talk.ts';

const peripheral = '/machine/peripheral';
/** A guest that hears of it lets go within a moment; emulated and busy, within seconds. */
export const defaultDetachMs = 5_000;
/** QEMU 7.2 keeps a request open for a while, in which it takes no other. */
const alreadyAsked = 'already in the process of unplug';

const isDeleted = (event: QmpEvent, device: string): boolean =>
  isQmpEvent(event, 'DEVICE_DELETED') && event.data.device === device;

export interface DiskActions {
  attach(disk: MachineDisk, layers: readonly Layer[]): Promise<void>;
  detach(diskId: string): Promise<'detached' | 'pending'>;
  resize(diskId: string, sizeBytes: number): Promise<void>;
  await(diskIds: readonly string[]): Promise<void>;
  list(): Promise<DiskNow[]>;
  /** Of a device that the guest has let go of. */
  heard(event: QmpEvent): void;
  /** After a connect: events that nobody heard are made up for. */
  lookAgain(): Promise<void>;
}

interface DiskDeps {
  detachMs: number;
  /** From how QEMU names a file to how we do. */
  fileOf: (name: string) => string;
  /** After what else is being done with the tree of nodes. */
  inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  onDetached: (diskId: string) => void;
}

/** Disks come and go by ids of ours: never by a path, which QEMU may spell in another way. */
export function createDiskActions(
  talk: Talk,
  { detachMs, fileOf, inTurn, onDetached }: DiskDeps,
): DiskActions {
  const { execute } = talk;
  /** Asked of the guest, and not done. */
  const detaching = new Set<string>();

  function finish(diskId: string): void {
    if (!detaching.delete(diskId)) return;
    // In turn: what another action has just made is on no disk yet, and would be dropped under its hands.
    inTurn(() => dropNodes(talk)).then(
      () => onDetached(diskId),
      () => onDetached(diskId),
    );
  }

  return {
    async attach(disk, layers) {
      const device = deviceId(disk.id);
      const devices = await listDevices(talk);
      if (devices.includes(device))
        throw new DriverError('impossible', `disk ${disk.id} is attached already`);
      const bus = await findPort(talk, devices);
      const known = new Set(
        (await execute('query-named-block-nodes', { flat: true })).map((node) => node['node-name']),
      );
      try {
        for (const node of blockNodes([layers]))
          if (!known.has(node['node-name'])) await execute('blockdev-add', node);
        const drive = nodeName(layers[0]?.file ?? disk.file);
        await execute('device_add', {
          ...{ driver: 'virtio-blk-pci', id: device, bus, drive },
          serial: serialOf(disk.id),
        });
      } catch (error) {
        await dropNodes(talk).catch(() => undefined);
        throw error;
      }
    },

    async detach(diskId) {
      const device = deviceId(diskId);
      if (!(await listDevices(talk)).includes(device)) {
        if (detaching.has(diskId)) return 'pending';
        throw new DriverError('impossible', `disk ${diskId} is not attached`);
      }
      if ((await busOf(talk, device)).includes('/pcie.0'))
        throw new DriverError('impossible', 'the first disk of a machine stays while it runs');
      const deleted = talk.waitFor((event) => (isDeleted(event, device) ? true : null), detachMs);
      detaching.add(diskId);
      await execute('device_del', { id: device }).catch((error: unknown) => {
        if (error instanceof DriverError && error.message.includes(alreadyAsked)) return;
        detaching.delete(diskId);
        throw error;
      });
      if (await deleted) {
        await dropNodes(talk);
        return 'detached';
      }
      return 'pending';
    },

    async resize(diskId, sizeBytes) {
      const { node, inserted } = await findDisk(talk, diskId);
      const now = inserted.image['virtual-size'];
      if (sizeBytes < now)
        throw new DriverError('impossible', `disk ${diskId} has ${now} bytes: it can only grow`);
      if (inserted.ro) throw new DriverError('impossible', `disk ${diskId} is read only`);
      await execute('block_resize', { 'node-name': node, size: sizeBytes });
    },

    async list() {
      const [devices, blocks, nodes] = await Promise.all([
        listDevices(talk),
        execute('query-block'),
        execute('query-named-block-nodes', { flat: true }),
      ]);
      return devices.flatMap((device): DiskNow[] => {
        const diskId = diskIdOf(device);
        if (diskId === null) return [];
        const inserted = insertedIn(blocks, diskId);
        const node = inserted?.['node-name'];
        const bytes =
          node === undefined ? undefined : nodes.find((one) => one['node-name'] === bytesNode(node));
        const file = bytes === undefined ? null : fileOf(bytes.file);
        return [
          {
            ...{ diskId, state: detaching.has(diskId) ? 'detaching' : 'attached' },
            file: file !== null && nodeName(file) === node ? file : null,
            tags: (inserted?.image.snapshots ?? []).map(({ name }) => name),
          },
        ];
      });
    },

    heard(event) {
      for (const diskId of detaching) if (isDeleted(event, deviceId(diskId))) finish(diskId);
    },

    async await(diskIds) {
      for (const diskId of diskIds) detaching.add(diskId);
      await lookAgain();
    },

    lookAgain,
  };

  async function lookAgain() {
    if (detaching.size === 0) return;
    const devices = await listDevices(talk);
    for (const diskId of detaching) if (!devices.includes(deviceId(diskId))) finish(diskId);
  }
}

async function listDevices({ execute }: Talk): Promise<string[]> {
  return (await execute('qom-list', { path: peripheral })).map(({ name }) => name);
}

async function busOf({ execute }: Talk, device: string): Promise<string> {
  const bus = await execute('qom-get', { path: `${peripheral}/${device}`, property: 'parent_bus' });
  return typeof bus === 'string' ? bus : '';
}

/** A port that has nothing in it, by QEMU's own tree: what the guest knows of its bus may be nothing at all. */
async function findPort(talk: Talk, devices: readonly string[]): Promise<string> {
  const buses = await Promise.all(
    devices.filter((name) => diskIdOf(name) !== null).map((name) => busOf(talk, name)),
  );
  const taken = new Set(buses.map((path) => path.split('/').at(-1)));
  const free = devices.find((name) => /^port\d+$/.test(name) && !taken.has(name));
  if (free !== undefined) return free;
  throw new DriverError('impossible', 'all places for disks are taken: detach one, or restart the machine');
}

export interface FoundDisk {
  node: string;
  inserted: NonNullable<BlockInfo['inserted']>;
}

/** The node that a disk is read from and written to now. */
export async function findDisk({ execute }: Talk, diskId: string): Promise<FoundDisk> {
  const inserted = insertedIn(await execute('query-block'), diskId);
  const node = inserted?.['node-name'];
  if (!inserted || node === undefined) throw new DriverError('impossible', `disk ${diskId} is not attached`);
  return { node, inserted };
}

function insertedIn(blocks: readonly BlockInfo[], diskId: string): BlockInfo['inserted'] {
  const device = `${peripheral}/${deviceId(diskId)}/`;
  return blocks.find(({ qdev }) => qdev?.startsWith(device) === true)?.inserted;
}

/** Nodes that no disk lies on any more. QEMU says no where one does. */
export async function dropNodes({ execute }: Talk): Promise<void> {
  for (let dropped = true; dropped;) {
    dropped = false;
    for (const { 'node-name': name } of await execute('query-named-block-nodes', { flat: true })) {
      if (name === undefined || !isOurNode(name)) continue;
      const gone = await execute('blockdev-del', { 'node-name': name }).then(
        () => true,
        () => false,
      );
      dropped ||= gone;
    }
  }
}

/** Of all disks that can be written to: a snapshot without one of them would not be the machine. */
export async function writableDisks({ execute }: Talk): Promise<string[]> {
  return (await execute('query-block')).flatMap(({ qdev, inserted }) => {
    const diskId = diskIdOf(qdev?.split('/')[3] ?? '');
    return diskId !== null && inserted?.ro === false ? [diskId] : [];
  });
}
