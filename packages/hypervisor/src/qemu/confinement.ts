import { constants } from 'node:fs';
import { chmod, lchown, lstat, mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DriverError } from '../driver.ts';
import { findProgram } from '../program.ts';
import type { Storage } from '../images/storage.ts';
import { runFolder } from './layout.ts';

/** As whom QEMU runs. */
export interface Owner {
  name: string;
  uid: number;
  gid: number;
}

/** Root's own rights are given up before QEMU begins; whoever else we are, QEMU is the same. */
const isRoot = () => process.getuid?.() === 0;

/**
 * @param wanted a name of /etc/passwd; default: `libvirt-qemu` where libvirt has made that user, else `nobody`
 * @returns null: QEMU is to run as ourselves
 */
export async function findOwner(wanted: string | undefined): Promise<Owner | null> {
  if (!isRoot()) return null;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of wanted === undefined ? ['libvirt-qemu', 'nobody'] : [wanted]) {
    const found = users.find(([user]) => user === name);
    const uid = Number(found?.[2]);
    const gid = Number(found?.[3]);
    if (found && Number.isInteger(uid) && Number.isInteger(gid) && uid !== 0) return { name, uid, gid };
  }
  throw new DriverError('impossible', `there is no user ${wanted ?? 'nobody'} here, as whom QEMU could run`);
}

/** What stands before QEMU's own words: the program that gives up rights, and then becomes QEMU. */
export async function confine(owner: Owner | null, kvm: boolean): Promise<string[]> {
  const setpriv = findProgram('setpriv');
  if (setpriv === null) {
    if (owner === null) return [];
    throw new DriverError('impossible', 'setpriv (util-linux) is missing: QEMU would have to run as root');
  }
  if (owner === null) return [setpriv, '--no-new-privs', '--'];
  const kvmGroup = kvm ? (await stat('/dev/kvm')).gid : null;
  return [
    ...[setpriv, '--reuid', String(owner.uid), '--regid', String(owner.gid)],
    ...(kvmGroup === null ? ['--clear-groups'] : ['--groups', String(kvmGroup)]),
    ...['--inh-caps=-all', '--no-new-privs', '--'],
  ];
}

/**
 * The machine's folder, and the ways to it and to the files that it needs, which may lie in the folders of machines that
 * never ran: others may pass, and see nothing.
 * @param files below the storage path
 * @throws ImageError for one that is not
 */
export async function makeFolders(
  storage: Storage,
  vmDirectory: string,
  files: Iterable<string>,
  owner: Owner | null,
): Promise<void> {
  const run = join(vmDirectory, runFolder);
  await mkdir(vmDirectory, { mode: 0o711 }).catch(ignoreExisting);
  await mkdir(run, { mode: 0o700 }).catch(ignoreExisting);
  if (!owner) return;
  const folders = ['images', 'disks', 'vms'].map((name) => join(storage.root, name));
  for (const file of files) folders.push(dirname(await storage.resolveInside(file)));
  const ways = new Set([storage.root, ...folders, vmDirectory]);
  for (const way of ways) await chmod(way, ((await stat(way)).mode & 0o7777) | 0o011);
  await lchown(run, owner.uid, owner.gid);
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}

/**
 * Gives QEMU its right to a file: images are everybody's and nobody's to change, so it may read them; disks are its own.
 * Not by name, which could have become a link meanwhile.
 */
export async function admit(storage: Storage, file: string, owner: Owner | null): Promise<void> {
  const opened = await storage.openInside(file);
  await using handle = opened.file;
  if (!owner) return;
  const { mode, gid } = await handle.stat();
  if (opened.path.startsWith(join(storage.root, 'images/'))) {
    if ((mode & 0o004) !== 0 || ((mode & 0o040) !== 0 && gid === owner.gid)) return;
    await handle.chmod((mode & 0o7777) | 0o044);
    return;
  }
  // A chain names what lies below a disk, and QEMU could have written that name: our own records are never its.
  if (!/\.(qcow2|raw)$/.test(opened.path))
    throw new DriverError('impossible', `${file} is no disk: QEMU gets no right to it`);
  await handle.chown(owner.uid, owner.gid);
  await handle.chmod(0o600);
}

/**
 * A socket that QEMU has made. Its folder is QEMU's own: one that a guest has broken out into could put a link there, to
 * a socket of somebody who trusts us.
 * @throws DriverError refused
 */
export async function ownSocket(path: string, owner: Owner | null): Promise<string> {
  const stats = await lstat(path);
  if (stats.isSocket() && stats.uid === (owner?.uid ?? process.getuid?.())) return path;
  throw new DriverError('refused', `something else than the socket of its QEMU stands at ${path}`);
}

/** Reads a file that QEMU has written: no link that it may have put there is followed. */
export async function readOwn(path: string, maxBytes: number): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stats = await file.stat();
  if (!stats.isFile() || stats.nlink > 1 || stats.size > maxBytes)
    throw new DriverError('refused', `QEMU left something else than a file at ${path}`);
  return await file.readFile();
}
