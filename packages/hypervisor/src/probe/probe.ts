import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { findProgram, runProgram } from '../program.ts';
import { tryAccelerator, tryFeatures, type QemuFeatures, type Trial } from './trial.ts';

/** /dev/kvm alone says nothing: in many virtual machines it opens, and no guest ever runs. */
export type KvmState = 'works' | 'present-but-guests-do-not-boot' | 'no-permission' | 'absent';

export interface HostCapabilities {
  qemu: { path: string; version: string } | null;
  qemuImg: { path: string; version: string } | null;
  /** What guests are to be started with; null: none can be. */
  accelerator: 'kvm' | 'tcg' | null;
  kvm: KvmState;
  /** Milliseconds that a guest of one sector took to boot and end; null: it did not. */
  bootMilliseconds: { kvm: number | null; tcg: number | null };
  features: QemuFeatures;
  host: { memoryBytes: number; cpuCount: number };
  /** null: nothing was asked about. */
  storage: { path: string; freeBytes: number; problem: string | null } | null;
  /** For people, in order of weight: what guests run with, why, and what to install. */
  words: string[];
  probedAt: Date;
}

/** Best first. */
export function acceleratorsOf({
  accelerator,
  bootMilliseconds,
}: Pick<HostCapabilities, 'accelerator' | 'bootMilliseconds'>): string[] {
  if (accelerator === null) return [];
  const others = (['kvm', 'tcg'] as const).filter(
    (one) => one !== accelerator && bootMilliseconds[one] !== null,
  );
  return [accelerator, ...others];
}

export interface ProbeOptions {
  /** A path or a name; default: what distributions call it. */
  qemuBinary?: string | undefined;
  /** Where the result is kept, as `host-probe.json`. */
  cacheDirectory: string;
  /** The storage folder, which is tried each time. */
  storage?: string | undefined;
  /** Probe anew, whatever is remembered. */
  again?: boolean;
  /** For a guest of one sector under KVM, which takes 0.25 s even without it. Default 10 s. */
  deadlineMs?: number;
  /** Default `/dev/kvm`. */
  kvmDevice?: string;
}

/** Raise it when the probe learns to try something else. */
const format = 1;
/**
 * Where a hypervisor passes KVM on without the processor's help, the same guest was seen to take 7 s rather than 0.2 s,
 * and no kernel ever came up: so KVM that is much slower than none is none.
 */
const slowMs = 2_000;
const slowTimes = 4;
/** Without KVM the same guest takes 0.25 s, on a busy machine more. */
const tcgDeadlineMs = 60_000;
const featureDeadlineMs = 30_000;

const Tried = z.object({
  kvm: z.enum(['works', 'present-but-guests-do-not-boot', 'no-permission', 'absent']),
  kvmReason: z.string(),
  bootMilliseconds: z.object({ kvm: z.number().nullable(), tcg: z.number().nullable() }),
  tcgReason: z.string(),
  features: z.object({
    sandbox: z.boolean(),
    microvm: z.boolean(),
    virtioMem: z.boolean(),
    userNetworking: z.boolean(),
    vnc: z.boolean(),
  }),
  probedAt: z.iso.datetime(),
});
type Tried = z.infer<typeof Tried>;
const Remembered = z.object({ key: z.string(), tried: Tried });

const nothing: QemuFeatures = {
  ...{ sandbox: false, microvm: false, virtioMem: false, userNetworking: false, vnc: false },
};

async function findVersion(names: readonly string[]): Promise<{ path: string; version: string } | null> {
  for (const name of names) {
    const path = findProgram(name);
    if (path === null) continue;
    const { stdout } = await runProgram(path, ['--version'], { timeoutMs: 10_000 });
    const version = /version (\d+[.\d]*)/.exec(stdout)?.[1];
    if (version !== undefined) return { path, version };
  }
  return null;
}

type Access = 'opens' | 'no-permission' | 'absent';

async function openKvm(device: string): Promise<Access> {
  try {
    await using file = await open(device, constants.O_RDWR);
    return (await file.stat()).isCharacterDevice() ? 'opens' : 'absent';
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code === 'EACCES' || code === 'EPERM' ? 'no-permission' : 'absent';
  }
}

/** What the result depends on: this boot of the host, this QEMU, this device and what we may do with it. */
async function keyOf(qemu: { path: string; version: string }, device: string, access: Access) {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown');
  const kvm = await stat(device).catch(() => null);
  const program = await stat(qemu.path);
  return JSON.stringify([
    ...[format, boot.trim(), qemu.path, qemu.version, program.size, program.mtimeMs],
    ...[access, kvm?.rdev ?? null, kvm?.mtimeMs ?? null],
  ]);
}

async function recall(file: string, key: string): Promise<Tried | null> {
  try {
    const remembered = Remembered.parse(JSON.parse(await readFile(file, 'utf8')));
    return remembered.key === key ? remembered.tried : null;
  } catch {
    // None yet, or damaged: it is only a memory, and the host is there to be asked.
    return null;
  }
}

async function remember(file: string, key: string, tried: Tried): Promise<void> {
  const temporary = `${file}.${randomUUID()}`;
  try {
    await writeFile(temporary, JSON.stringify({ key, tried }), { mode: 0o600 });
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Why KVM is of no use; empty when it works. */
function judge(kvm: Trial, tcg: Trial): string {
  if (!kvm.booted) return kvm.reason;
  if (kvm.milliseconds <= slowMs || !tcg.booted || kvm.milliseconds <= slowTimes * tcg.milliseconds)
    return '';
  return `a guest of one sector took ${String(kvm.milliseconds)} ms, and ${String(tcg.milliseconds)} ms without KVM`;
}

/** @param onTimeout told when a trial of a feature was not over in time, as on a machine that is busy */
async function tryAll(
  qemu: string,
  access: Access,
  deadlineMs: number,
  onTimeout: () => void,
): Promise<Tried> {
  const tcg = await tryAccelerator(qemu, 'tcg', tcgDeadlineMs);
  const kvm = access === 'opens' ? await tryAccelerator(qemu, 'kvm', deadlineMs) : null;
  const reason = kvm ? judge(kvm, tcg) : '';
  const state = reason === '' ? 'works' : 'present-but-guests-do-not-boot';
  return {
    kvm: access === 'opens' ? state : access,
    kvmReason: reason,
    tcgReason: tcg.reason,
    bootMilliseconds: {
      kvm: kvm?.booted === true ? kvm.milliseconds : null,
      tcg: tcg.booted ? tcg.milliseconds : null,
    },
    features: await tryFeatures(qemu, featureDeadlineMs, onTimeout),
    probedAt: new Date().toISOString(),
  };
}

const install =
  'Debian, Ubuntu: apt-get install qemu-system-x86 qemu-utils; Fedora: dnf install qemu-kvm; macOS: brew install qemu';

const kvmWords = (device: string, reason: string): Record<KvmState, string> => ({
  works: 'KVM works',
  'present-but-guests-do-not-boot': `KVM present but guests do not boot (${reason})`,
  'no-permission': `KVM is there, but this user may not open ${device}: add the user to the group kvm`,
  absent: `KVM is not there (no ${device})`,
});

/**
 * Finds out what virtual machines this host can run by running some. The first time takes a few seconds, and the whole
 * deadline where KVM hangs; then the result is remembered until the host boots again or QEMU changes.
 */
export async function probeHost(options: ProbeOptions): Promise<HostCapabilities> {
  const device = options.kvmDevice ?? '/dev/kvm';
  const wanted = options.qemuBinary;
  const qemu = await findVersion(wanted === undefined ? ['qemu-system-x86_64', 'qemu-kvm'] : [wanted]);
  const [qemuImg, storage, access] = await Promise.all([
    findVersion(['qemu-img']),
    options.storage === undefined ? null : tryStorage(options.storage),
    openKvm(device),
  ]);
  const common = {
    ...{ qemu, qemuImg, storage },
    host: { memoryBytes: totalmem(), cpuCount: availableParallelism() },
  };
  const missing = [
    ...(qemu ? [] : [`QEMU (${wanted ?? 'qemu-system-x86_64'}) is missing. ${install}`]),
    ...(qemuImg || !qemu ? [] : [`qemu-img is missing. ${install}`]),
    ...(storage?.problem ? [storage.problem] : []),
  ];
  if (!qemu) {
    return {
      ...common,
      ...{ accelerator: null, features: nothing, words: missing, probedAt: new Date() },
      kvm: access === 'opens' ? 'present-but-guests-do-not-boot' : access,
      bootMilliseconds: { kvm: null, tcg: null },
    };
  }

  await mkdir(options.cacheDirectory, { recursive: true });
  const file = join(options.cacheDirectory, 'host-probe.json');
  const key = await keyOf(qemu, device, access);
  let tried = options.again === true ? null : await recall(file, key);
  if (!tried) {
    let timeouts = 0;
    tried = await tryAll(qemu.path, access, options.deadlineMs ?? 10_000, () => (timeouts += 1));
    if (timeouts === 0) await remember(file, key, tried);
  }
  const { kvm, bootMilliseconds, features } = tried;
  const tcg = bootMilliseconds.tcg === null ? null : 'tcg';
  const kvmSays = kvmWords(device, tried.kvmReason)[kvm];
  const tcgSays = tcg
    ? 'TCG (slow, not an isolation boundary)'
    : `guests do not boot without KVM either (${tried.tcgReason})`;
  return {
    ...common,
    ...{ kvm, bootMilliseconds, features, probedAt: new Date(tried.probedAt) },
    accelerator: kvm === 'works' ? 'kvm' : tcg,
    words: [
      kvmSays,
      ...(kvm === 'works' ? [] : [tcgSays]),
      ...(features.sandbox ? [] : ['QEMU’s seccomp sandbox does not work here: machines run without it']),
      ...missing,
    ],
  };
}

async function tryStorage(path: string): Promise<NonNullable<HostCapabilities['storage']>> {
  const file = join(path, `.${randomUUID()}.try`);
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await writeFile(file, 'x');
    const { bavail, bsize } = await statfs(path);
    return { path, freeBytes: bavail * bsize, problem: null };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { path, freeBytes: 0, problem: `the storage ${path} cannot be written to: ${words}` };
  } finally {
    await rm(file, { force: true }).catch(() => undefined);
  }
}
