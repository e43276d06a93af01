import { createHash } from 'node:crypto';
import { join } from 'node:path';

/*
 * Of a machine, below the storage path:
 *
 *   vms/<id>/            ours (root's, where we are root), and QEMU's working directory
 *   vms/<id>/qemu.pid    who runs it, written by the shell that becomes QEMU
 *   vms/<id>/machine.json  what it was started with
 *   vms/<id>/run/        QEMU's own: sockets and screenshots
 *
 * The folder above `run` is not QEMU's: a QEMU that a guest has broken out into could else change whom we signal.
 * QEMU is given relative paths only: they work also where it may not pass the folders above the storage.
 */
export const identityFile = 'qemu.pid';
export const recordFile = 'machine.json';
export const runFolder = 'run';
export const sockets = {
  qmp: 'run/qmp.sock',
  /** For people and tools. */
  qmp2: 'run/qmp2.sock',
  serial: 'run/serial.sock',
  agent: 'run/qga.sock',
  vnc: 'run/vnc.sock',
  /** To the runner in the guest of a simulation request. */
  control: 'run/ctl.sock',
} as const;

/** What fits into a socket's address, with its final NUL (sun_path in Linux). */
export const maxSocketPath = 107;
export const longestSocket = (vmDirectory: string): string => join(vmDirectory, sockets.serial);

/** A file of the storage, as QEMU sees it from its working directory. */
export const fromMachine = (file: string): string => `../../${file}`;

/** QEMU's name for a device, so that it is found by our own id. */
export const deviceId = (diskId: string): string => `disk-${diskId}`;
export const diskIdOf = (device: string): string | null => /^disk-([0-9a-f-]{36})$/.exec(device)?.[1] ?? null;

const hashOf = (file: string): string => createHash('sha256').update(file).digest('hex').slice(0, 24);
/** Each file is one node, also when several disks lie on it. QEMU takes 31 characters. */
export const nodeName = (file: string): string => `node-${hashOf(file)}`;
export const isOurNode = (name: string): boolean => /^node-[0-9a-f]{24}$/.test(name);
/** Of the bytes of a node's file: QEMU tells its name as it was given, where that of the node itself may be JSON. */
export const bytesNode = (node: string): string => node.replace(/^node-/, 'file-');

/** What the guest shows in /dev/disk/by-id: virtio takes 20 characters. */
export const serialOf = (diskId: string): string => diskId.replaceAll('-', '').slice(0, 20);

/** Names of interfaces have at most 15 characters; the end of an id is random. */
export const tapName = (id: string): string => `vmo${id.replaceAll('-', '').slice(-12)}`;

/** Free slots for what is attached later: q35's own bus takes nothing while it runs. */
export const freePorts = 8;
