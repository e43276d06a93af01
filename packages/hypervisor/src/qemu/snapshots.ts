import { findProgram, lastWords, runProgram } from '../program.ts';
import { randomUUID } from 'node:crypto';
import { link, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DriverError, type DiskNow } from '../driver.ts';
import { removeForGood } from '../images/remove.ts';
import type { Storage } from '../images/storage.ts';
import { blockNode, type Layer } from './block.ts';
import { admit, type Owner } from './confinement.ts';
import { dropNodes, findDisk, writableDisks, type FoundDisk } from './disks.ts';
import type { HoldUp } from './hold-up.ts';
import { endJobs, jobTimeoutMs, runJob } from './jobs.ts';
import { bytesNode, nodeName } from './layout.ts';
import type { Talk } from './talk.ts';

export interface SnapshotActions {
  save(tag: string, diskIds: readonly string[]): Promise<void>;
  /** @throws DriverError impossible */
  checkLoad(tag: string, diskIds: readonly string[]): Promise<void>;
  load(tag: string, diskIds: readonly string[]): Promise<void>;
  delete(tag: string, diskIds: readonly string[]): Promise<void>;
  takeOverlays(overlays: readonly { diskId: string; file: string }[]): Promise<void>;
  commitOverlay(diskId: string, baseFile: string): Promise<void>;
  settle(): Promise<DiskNow[]>;
}

interface SnapshotDeps {
  storage: Storage;
  owner: Owner | null;
  holdUp: HoldUp;
  /** From how QEMU names a file to how we do. */
  fileOf: (name: string) => string;
  listDisks: () => Promise<DiskNow[]>;
}

const qemuImgMs = 30_000;

export function createSnapshotActions(
  talk: Talk,
  { storage, owner, holdUp, fileOf, listDisks }: SnapshotDeps,
): SnapshotActions {
  const { execute } = talk;

  /** The nodes of a snapshot with memory; the first keeps the memory. */
  async function nodesOf(diskIds: readonly string[]): Promise<{ vmstate: string; devices: string[] }> {
    const devices: string[] = [];
    for (const diskId of diskIds) {
      const { node, inserted } = await findDisk(talk, diskId);
      if (inserted.drv !== 'qcow2')
        throw new DriverError(
          'impossible',
          `disk ${diskId} is ${inserted.drv}: only qcow2 keeps snapshots in itself`,
        );
      if (inserted.ro) throw new DriverError('impossible', `disk ${diskId} is read only`);
      devices.push(node);
    }
    const [vmstate] = devices;
    if (vmstate === undefined)
      throw new DriverError('impossible', 'memory is kept in a qcow2 disk, and there is none');
    return { vmstate, devices };
  }

  /** Asked before, since a QEMU that has looked for it in vain leaves the guest stopped. */
  async function requireTag(tag: string, diskIds: readonly string[]): Promise<void> {
    for (const diskId of diskIds) {
      const { inserted } = await findDisk(talk, diskId);
      if (inserted.image.snapshots?.some(({ name }) => name === tag) === true) continue;
      throw new DriverError('impossible', `disk ${diskId} has no snapshot ${tag}`);
    }
  }

  async function havingTag(tag: string, diskIds: readonly string[]): Promise<string[]> {
    const all = await listDisks();
    return diskIds.filter((wanted) =>
      all.some(({ diskId, tags }) => diskId === wanted && tags.includes(tag)),
    );
  }

  async function requireAll(diskIds: readonly string[]): Promise<void> {
    const left = (await writableDisks(talk)).filter((diskId) => !diskIds.includes(diskId));
    if (left.length > 0)
      throw new DriverError(
        'impossible',
        `disk ${left.join(', ')} would not be in the snapshot, and the guest writes to it`,
      );
  }

  /** The file of a running disk, from the storage path. */
  async function fileOfNode({ node }: FoundDisk): Promise<string> {
    const nodes = await execute('query-named-block-nodes', { flat: true });
    const found = nodes.find(({ 'node-name': name }) => name === bytesNode(node));
    const file = found && fileOf(found.file);
    if (file !== undefined && nodeName(file) === node) return file;
    throw new DriverError('impossible', `nobody knows the file of ${node}: it is none of ours`);
  }

  /** Not opened by qemu-img: QEMU has it, and we know of it all that there is to know. */
  async function makeOverlay(path: string, disk: FoundDisk): Promise<void> {
    const program = findProgram('qemu-img');
    if (program === null) throw new DriverError('no-hypervisor', 'qemu-img is missing');
    const below = ['-u', '-b', join(storage.root, await fileOfNode(disk)), '-F', disk.inserted.drv];
    const size = String(disk.inserted.image['virtual-size']);
    // Under its name it is whole or not there: whoever finds it after a crash need not guess.
    const temporary = join(dirname(path), `.${randomUUID()}.new`);
    try {
      const args = ['create', '-q', '-f', 'qcow2', ...below, '--', temporary, size];
      const end = await runProgram(program, args, { timeoutMs: qemuImgMs });
      if (end.code !== 0) throw new DriverError('refused', `an overlay could not be made: ${lastWords(end)}`);
      await link(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  return {
    async save(tag, diskIds) {
      await requireAll(diskIds);
      const nodes = await nodesOf(diskIds);
      await runJob(talk, `snapshot ${tag}`, (jobId) =>
        execute('snapshot-save', { 'job-id': jobId, tag, ...nodes }, { timeoutMs: jobTimeoutMs }),
      );
    },
    async checkLoad(tag, diskIds) {
      await requireAll(diskIds);
      await requireTag(tag, diskIds);
    },
    async load(tag, diskIds) {
      const nodes = await nodesOf(diskIds);
      await runJob(talk, `snapshot ${tag}`, (jobId) =>
        execute('snapshot-load', { 'job-id': jobId, tag, ...nodes }, { timeoutMs: jobTimeoutMs }),
      );
    },
    async delete(tag, diskIds) {
      const having = await havingTag(tag, diskIds);
      // Of one that was being deleted already, the rest.
      if (having.length === 0) return;
      const { devices } = await nodesOf(having);
      await runJob(talk, `snapshot ${tag}`, (jobId) =>
        execute('snapshot-delete', { 'job-id': jobId, tag, devices }),
      );
    },

    async takeOverlays(overlays) {
      const actions: { type: 'blockdev-snapshot'; data: { node: string; overlay: string } }[] = [];
      try {
        for (const { diskId, file } of overlays) {
          const disk = await findDisk(talk, diskId);
          const path = await storage.resolveInside(file);
          await makeOverlay(path, disk);
          await admit(storage, file, owner);
          const layer: Layer = { file, path, format: 'qcow2', readOnly: false };
          await execute('blockdev-add', blockNode(layer, null));
          actions.push({ type: 'blockdev-snapshot', data: { node: disk.node, overlay: nodeName(file) } });
        }
        // All of them or none: together they are the machine at one moment.
        await execute('transaction', { actions }, { timeoutMs: jobTimeoutMs });
      } catch (error) {
        for (const { data } of actions)
          await execute('blockdev-del', { 'node-name': data.overlay }).catch(() => undefined);
        throw error;
      }
    },

    async commitOverlay(diskId, baseFile) {
      const disk = await findDisk(talk, diskId);
      const { node } = disk;
      const base = nodeName(baseFile);
      if (baseFile.startsWith('images/'))
        throw new DriverError('impossible', `${baseFile} is an image: nothing is put into it`);
      const overlay = await fileOfNode(disk);
      const asked = { toSwitch: false };
      try {
        await runJob(
          talk,
          `putting disk ${diskId} into what lies below it`,
          (jobId) =>
            execute('block-commit', {
              ...{ 'job-id': jobId, device: node, 'top-node': node, 'base-node': base },
              ...{ 'auto-dismiss': false },
            }),
          // The guest writes on: the job only ends when it is told to switch over.
          async (jobId) => {
            // What it wrote between the switch and the end of the overlay's file would be in the base alone.
            asked.toSwitch = true;
            await holdUp.begin();
            await execute('job-complete', { id: jobId });
          },
        );
      } finally {
        // However it went: what the disk is on now says which file holds it. Not told that, the guest stays held up.
        if (asked.toSwitch) {
          if ((await findDisk(talk, diskId)).node === base) await removeForGood(join(storage.root, overlay));
          await holdUp.end();
        }
      }
      // A node that stays until the machine ends costs nothing, and must not make the switch undone in our books.
      await execute('blockdev-del', { 'node-name': node }).catch(() => undefined);
    },

    async settle() {
      await endJobs(talk);
      await dropNodes(talk);
      return listDisks();
    },
  };
}
