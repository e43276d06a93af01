import { constants, readFileSync } from 'node:fs';
import { access, mkdtemp, rm, stat, statfs } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseEnv } from 'node:util';
import { probeHost } from '@vmo/hypervisor';
import { bytesWords } from '../output/words.ts';
import type { World } from '../world.ts';
import { ok, problem, warning, type Finding } from './check.ts';

const gib = 1024 ** 3;
const installQemu =
  'Debian, Ubuntu: apt-get install qemu-system-x86 qemu-utils; Fedora: dnf install qemu-kvm qemu-img; macOS: brew install qemu';
const connectMs = 5_000;

/** The settings of a start here, as far as they are looked at. */
function settingsOf({ env, cwd }: World): Record<string, string | undefined> {
  try {
    return { ...parseEnv(readFileSync(join(cwd, '.env'), 'utf8')), ...env };
  } catch {
    return env;
  }
}

/** What can be found out on this machine without a server. */
export async function checkHere(
  world: World,
  dataDirectory: string,
  /** Our server listens there now: then the port is taken as it should be. */
  isServerUp: boolean,
  tell: (words: string) => void,
): Promise<Finding[]> {
  const settings = settingsOf(world);
  tell('booting a guest to see what works');
  const virtual = await checkVirtualMachines(settings.VMO_QEMU_BINARY);
  tell('looking at disk, database and port');
  return [
    checkNode(),
    ...virtual,
    await checkDirectory('data directory', dataDirectory),
    ...(settings.VMO_STORAGE_PATH ? [await checkDirectory('storage', settings.VMO_STORAGE_PATH)] : []),
    await checkDatabase(settings.DATABASE_URL),
    ...(isServerUp ? [] : [await checkPort(settings.VMO_HOST, settings.VMO_PORT)]),
  ];
}

function checkNode(): Finding {
  const [major = 0] = process.versions.node.split('.').map(Number);
  const words = `Node ${process.versions.node}`;
  if (major >= 24) return ok('Node', words);
  return warning(
    'Node',
    `${words}: vmo runs, a server needs 24`,
    'npm start fetches Node 24 by itself, where it is missing.',
  );
}

async function checkVirtualMachines(binary: string | undefined): Promise<Finding[]> {
  const directory = await mkdtemp(join(tmpdir(), 'vmo-doctor-'));
  const found = await probeHost({
    ...(binary ? { qemuBinary: binary } : {}),
    cacheDirectory: directory,
    again: true,
  }).finally(() => rm(directory, { recursive: true, force: true }));
  const { qemu, qemuImg, kvm, bootMilliseconds, words } = found;
  if (!qemu) {
    return [problem('QEMU', `${binary ?? 'qemu-system-x86_64'} is not installed`, installQemu)];
  }
  const boots = (ms: number | null) => (ms === null ? '' : `: a guest boots in ${String(Math.round(ms))} ms`);
  return [
    ok('QEMU', `${qemu.version} (${qemu.path})`),
    qemuImg ? ok('qemu-img', qemuImg.version) : problem('qemu-img', 'it is not installed', installQemu),
    kvm === 'works'
      ? ok('KVM', `works${boots(bootMilliseconds.kvm)}`)
      : warning('KVM', words[0] ?? kvm, mendKvm[kvm]),
    ...(kvm === 'works'
      ? []
      : bootMilliseconds.tcg === null
        ? [
            problem(
              'emulation',
              'guests do not boot without KVM either',
              'Install QEMU again, and look at what it says when started by hand.',
            ),
          ]
        : [ok('emulation', `works${boots(bootMilliseconds.tcg)}; slow, and no isolation boundary`)]),
  ];
}

const mendKvm = {
  'present-but-guests-do-not-boot':
    'This machine is a virtual one whose host does not pass virtualisation on: turn nested virtualisation on there. Machines run emulated meanwhile.',
  'no-permission': 'Add yourself to the group kvm (sudo usermod -aG kvm "$USER") and log in again.',
  absent:
    'Turn virtualisation on in the firmware (VT-x, AMD-V) and load the module kvm. Machines run emulated meanwhile.',
} as const;

/** The directory itself, or the nearest one above it that is there. */
async function existing(directory: string): Promise<string> {
  const found = await stat(directory).catch(() => null);
  return found || dirname(directory) === directory ? directory : existing(dirname(directory));
}

async function checkDirectory(what: string, directory: string): Promise<Finding> {
  const at = await existing(directory);
  try {
    await access(at, constants.W_OK);
    const { bavail, bsize } = await statfs(at);
    const free = bavail * bsize;
    const words = `${directory}: ${bytesWords(free)} free`;
    if (free < gib / 4) return problem(what, words, 'Make room: jobs and the database stop when it is full.');
    if (free < 2 * gib) return warning(what, words, 'Make room: images and logs need some.');
    return ok(what, at === directory ? words : `${words} (it is made at the first start)`);
  } catch {
    return problem(
      what,
      `${directory} cannot be written to`,
      'Set VMO_DATA_DIR (or VMO_STORAGE_PATH) to a directory of yours.',
    );
  }
}

/** Whether something accepts connections there. */
function answers(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectMs });
    const end = (words: string | null): void => {
      socket.destroy();
      resolve(words);
    };
    socket.on('connect', () => end(null));
    socket.on('timeout', () => end(`no answer within ${String(connectMs / 1000)} s`));
    socket.on('error', (error) => end('code' in error ? String(error.code) : error.message));
  });
}

async function checkDatabase(url: string | undefined): Promise<Finding> {
  if (url === undefined || url === '') return ok('database', 'the embedded Postgres: nothing to set up');
  const mend = 'Check DATABASE_URL, that Postgres runs, and that it accepts connections from here.';
  if (!URL.canParse(url) || new URL(url).host === '') {
    const isSocket = URL.canParse(url) && new URL(url).searchParams.has('host');
    return isSocket
      ? ok('database', 'DATABASE_URL names a Unix socket; the server tries it')
      : problem('database', 'DATABASE_URL is no address', mend);
  }
  const { hostname, port } = new URL(url);
  const where = `${hostname}:${port || '5432'}`;
  const trouble = await answers(hostname.replace(/^\[|\]$/g, ''), Number(port || 5432));
  return trouble === null
    ? ok('database', `${where} accepts connections`)
    : problem('database', `${where}: ${trouble}`, mend);
}

async function checkPort(host: string | undefined, port: string | undefined): Promise<Finding> {
  // Empty means unset, as for the server.
  const address = host === undefined || host === '' ? '127.0.0.1' : host;
  const number = Number(port === undefined || port === '' ? 8000 : port);
  const words = await new Promise<string | null>((resolve) => {
    const server = createServer();
    server.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    server.listen(number, address, () => server.close(() => resolve(null)));
  });
  const what = `port ${String(number)}`;
  if (words === null) return ok(what, 'is free');
  const mend =
    words === 'EADDRINUSE'
      ? `Another program listens there (ss -ltnp 'sport = :${String(number)}' names it): end it, or set VMO_PORT.`
      : 'Set VMO_PORT to a port above 1023, and VMO_HOST to an address of this machine.';
  return problem(what, words === 'EADDRINUSE' ? 'is taken' : `cannot be used: ${words}`, mend);
}
