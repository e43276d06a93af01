import { randomUUID } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { findProgram, lastWords, printable, runProgram, type ProgramEnd } from '../program.ts';
import { ImageError } from './errors.ts';
import { examineImage, isUntouched, type ImageChain, type InspectOptions } from './inspect.ts';
import { defaultMaxDiskBytes, diskBytes, formatBytes, GiB } from './sizes.ts';
import type { DiskFormat } from './storage.ts';

export interface ImageSnapshot {
  id: string;
  name: string;
  /** 0: of the disk alone, without the guest's memory. */
  vmStateBytes: number;
  createdAt: Date;
}

/** Sizes in bytes. */
export interface ImageInfo {
  format: DiskFormat;
  virtualBytes: number;
  /** What it takes on the disk of the host. */
  allocatedBytes: number;
  /** null: raw. */
  clusterBytes: number | null;
  backingPath: string | null;
  snapshots: ImageSnapshot[];
}

export interface ImageCheck {
  /** Nothing wrong at all. */
  clean: boolean;
  /** Clusters whose contents are in danger. */
  corruptions: number;
  /** Clusters that nobody uses and that take room: no danger. */
  leaks: number;
  /** Errors of the check itself, such as clusters that could not be read. */
  errors: number;
}

export interface ConvertRequest {
  source: ImageChain;
  /** Nothing may be there. */
  target: string;
  targetFormat: DiskFormat;
  /** Smaller and slower; qcow2 only. */
  compress?: boolean;
  /** A raw source that a guest has written to, or an ISO; see {@link InspectOptions}. */
  inspect?: Pick<InspectOptions, 'cdrom' | 'guestWritten' | 'maxVirtualBytes'>;
  /** In percent. */
  onProgress?: (percent: number) => void;
  signal?: AbortSignal;
}

/**
 * qemu-img with typed answers. All paths are absolute, so that none is read as an option, or as an address
 * (`nbd:…`, `json:…`): QEMU takes a prefix for one only where a colon comes before the first slash. Formats are always
 * named, and every image is examined by us before qemu-img opens it. All functions throw {@link ImageError}.
 */
export interface QemuImg {
  inspectImage(path: string, format: DiskFormat, options?: InspectOptions): Promise<ImageInfo>;
  /** @returns the size in bytes that it got: rounded up to whole sectors */
  createDisk(request: { path: string; sizeBytes: number; format: DiskFormat }): Promise<number>;
  /**
   * A qcow2 disk that shows `backing` until it is written to. The path of the backing file is stored absolute: QEMU
   * itself writes absolute ones when it makes snapshots, and a relative one would mean another file as soon as the
   * overlay moves to another folder.
   * @param request.sizeBytes at least that of the backing disk, which is the default
   */
  createOverlay(request: { path: string; backing: ImageChain; sizeBytes?: number }): Promise<number>;
  /**
   * Puts an overlay that was made on another machine onto the same disk here: only the name of what it lies on changes.
   * @param request.sizeBytes what it must have
   */
  putOnto(request: { path: string; backing: ImageChain | undefined; sizeBytes: number }): Promise<void>;
  /** Grows a disk that no guest runs on. Shrinking would cut the guest's data off, and is refused. */
  resizeDisk(request: ImageChain & { sizeBytes: number; guestWritten?: boolean }): Promise<number>;
  convertImage(request: ConvertRequest): Promise<void>;
  /** Changes nothing. A raw image has nothing that could be checked: null. */
  checkImage(image: ImageChain, signal?: AbortSignal): Promise<ImageCheck | null>;
  /** Writes what the overlay holds into its backing file. The overlay is left as it is, for the caller to delete. */
  commitOverlay(image: ImageChain & { backing: ImageChain }, signal?: AbortSignal): Promise<void>;
  listSnapshots(image: ImageChain): Promise<ImageSnapshot[]>;
  /** Of a disk that no guest runs on: what it holds stays as it is. */
  deleteSnapshot(image: ImageChain, name: string): Promise<void>;
  /** Whether nothing was ever written to an overlay: what it shows is what lies below it. */
  isUntouched(image: ImageChain): Promise<boolean>;
}

export interface QemuImgOptions {
  /** Default: `qemu-img` where programs usually are. */
  binary?: string;
  maxDiskBytes?: number;
  /** For what only reads or writes metadata. Default 30 s. */
  timeoutMs?: number;
  /** For what goes through all the data: convert, check, commit. Default 4 h. */
  longTimeoutMs?: number;
}

/**
 * Address space for qemu-img: a table of a crafted image can ask for more than there is. Measured with 7.2: metadata
 * needs less than 64 MiB, converting up to 384 MiB (its threads' heaps).
 */
const memoryBytes = 2 * GiB;
/** For metadata; a crafted image can make it calculate for hours. */
const metadataCpuSeconds = 30;

const Info = z.object({
  format: z.string(),
  'virtual-size': z.number(),
  'actual-size': z.number().default(0),
  'cluster-size': z.number().optional(),
  'full-backing-filename': z.string().optional(),
  'backing-filename': z.string().optional(),
  snapshots: z
    .array(
      z.object({
        id: z.string(),
        name: z.string(),
        'vm-state-size': z.number(),
        'date-sec': z.number(),
        'date-nsec': z.number(),
      }),
    )
    .default([]),
});
const Check = z.object({
  'check-errors': z.number(),
  corruptions: z.number().default(0),
  leaks: z.number().default(0),
});
/** Exit codes of `qemu-img check` beside 0 with an answer on standard output: corruptions, and leaks. */
const checkedCodes = [2, 3];

function absolute(path: string): string {
  if (!isAbsolute(path) || printable(path) !== path)
    throw new ImageError(
      'bad-name',
      `${printable(path)} must be an absolute path, without control characters`,
    );
  return path;
}

/** For the one command of qemu-img that takes no format beside its name. Commas are doubled, as in all of QEMU's options. */
const imageOptions = ({ path, format }: ImageChain): string =>
  `driver=${format},file.driver=file,file.filename=${path.replaceAll(',', ',,')}`;

function failure(end: ProgramEnd, what: string): ImageError {
  const words = lastWords(end);
  const fail = (problem: ConstructorParameters<typeof ImageError>[0], text: string) =>
    new ImageError(problem, `${what}: ${text}`);
  if (end.timedOut) return fail('timeout', 'qemu-img took too long and was stopped');
  if (end.signal === 'SIGXCPU' || end.signal === 'SIGKILL')
    return fail('timeout', 'qemu-img used too much processor time and was stopped');
  if (/No space left on device|Disk quota exceeded/.test(end.stderr)) return fail('disk-full', words);
  if (/Failed to get .*lock|Is another process using the image/.test(end.stderr))
    return fail('in-use', `another process uses it. ${words}`);
  return fail('failed', words || `qemu-img ended with ${String(end.code ?? end.signal)}`);
}

export function createQemuImg(options: QemuImgOptions = {}): QemuImg {
  const maxDiskBytes = options.maxDiskBytes ?? defaultMaxDiskBytes;
  const own = (image: ImageChain, guestWritten = true): InspectOptions => ({
    backing: image.backing,
    maxVirtualBytes: maxDiskBytes,
    guestWritten,
  });

  async function run(
    args: readonly string[],
    how: {
      what: string;
      long?: boolean;
      codes?: readonly number[];
      signal?: AbortSignal | undefined;
      onOutput?: (chunk: string) => void;
    },
  ): Promise<string> {
    const binary = options.binary ?? 'qemu-img';
    const program = findProgram(binary);
    if (program === null) {
      throw new ImageError(
        'no-program',
        `${binary} is missing: install qemu-utils (Debian, Ubuntu), qemu-img (Fedora) or qemu (brew)`,
      );
    }
    const end = await runProgram(program, args, {
      timeoutMs: how.long === true ? (options.longTimeoutMs ?? 4 * 3_600_000) : (options.timeoutMs ?? 30_000),
      memoryBytes,
      diesWithUs: true,
      ...(how.long === true ? {} : { cpuSeconds: metadataCpuSeconds }),
      ...(how.onOutput ? { onOutput: how.onOutput } : {}),
      signal: how.signal,
    });
    if (end.code === 0 || (end.code !== null && how.codes?.includes(end.code) === true)) return end.stdout;
    throw failure(end, how.what);
  }

  /** qemu-img overwrites whatever is there: so it writes beside, and the result appears whole, or not at all. */
  async function produce(path: string, write: (temporary: string) => Promise<unknown>): Promise<void> {
    const temporary = join(dirname(absolute(path)), `.${randomUUID()}.new`);
    try {
      await write(temporary);
      // qemu-img itself leaves the data to the page cache.
      await using file = await open(temporary, 'r+');
      await file.chmod(0o600);
      await file.sync();
      await link(temporary, path).catch((error: unknown) => {
        const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
        throw exists ? new ImageError('exists', `${printable(path)} exists already`) : error;
      });
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async function inspect(path: string, format: DiskFormat, how: InspectOptions = {}): Promise<ImageInfo> {
    const examined = await examineImage(absolute(path), format, how);
    const text = await run(['info', '--output=json', '-U', '-f', format, '--', path], {
      what: `looking at ${basename(path)}`,
    });
    const info = Info.parse(JSON.parse(text));
    if (info['virtual-size'] !== examined.virtualBytes) {
      throw new ImageError('corrupt', `${basename(path)} was changed while it was looked at`);
    }
    return {
      format,
      virtualBytes: info['virtual-size'],
      allocatedBytes: info['actual-size'],
      clusterBytes: format === 'raw' ? null : (info['cluster-size'] ?? examined.clusterBytes),
      backingPath: info['full-backing-filename'] ?? info['backing-filename'] ?? null,
      snapshots: info.snapshots.map((snapshot) => ({
        id: snapshot.id,
        name: snapshot.name,
        vmStateBytes: snapshot['vm-state-size'],
        createdAt: new Date(snapshot['date-sec'] * 1000 + snapshot['date-nsec'] / 1e6),
      })),
    };
  }

  return {
    inspectImage: inspect,
    async createDisk({ path, sizeBytes, format }) {
      const size = diskBytes(sizeBytes, 'sizeBytes', maxDiskBytes);
      await produce(path, (temporary) =>
        run(['create', '-q', '-f', format, '--', temporary, String(size)], {
          what: `creating ${basename(path)}`,
        }),
      );
      return size;
    },
    async createOverlay({ path, backing, sizeBytes }) {
      const below = await examineImage(absolute(backing.path), backing.format, own(backing));
      const size = diskBytes(sizeBytes ?? below.virtualBytes, 'sizeBytes', maxDiskBytes);
      if (size < below.virtualBytes) {
        throw new ImageError(
          'range',
          `sizeBytes is ${formatBytes(size)}: the image below has ${formatBytes(below.virtualBytes)}, and less would cut it off`,
        );
      }
      const names = ['-b', backing.path, '-F', backing.format];
      await produce(path, (temporary) =>
        run(['create', '-q', '-f', 'qcow2', ...names, '--', temporary, String(size)], {
          what: `creating ${basename(path)}`,
        }),
      );
      return size;
    },
    async putOnto({ path, backing, sizeBytes }) {
      const { virtualBytes } = await examineImage(absolute(path), 'qcow2', { replacesBacking: true });
      if (virtualBytes !== sizeBytes) {
        throw new ImageError(
          'corrupt',
          `${basename(path)} is a disk of ${formatBytes(virtualBytes)}, and should have ${formatBytes(sizeBytes)}`,
        );
      }
      if (backing) await examineImage(absolute(backing.path), backing.format, own(backing));
      const onto = backing ? ['-b', backing.path, '-F', backing.format] : ['-b', ''];
      // Unsafe is what it is called where only the name changes: that both are the same disk is known by its digest.
      await run(['rebase', '-u', '-q', '-f', 'qcow2', ...onto, '--', path], {
        what: `putting ${basename(path)} onto what it lies on`,
      });
      await examineImage(absolute(path), 'qcow2', own({ path, format: 'qcow2', backing }));
    },
    async resizeDisk({ sizeBytes, guestWritten, ...image }) {
      const size = diskBytes(sizeBytes, 'sizeBytes', maxDiskBytes);
      const { virtualBytes } = await examineImage(
        absolute(image.path),
        image.format,
        own(image, guestWritten),
      );
      if (size < virtualBytes) {
        throw new ImageError(
          'range',
          `sizeBytes is ${formatBytes(size)}: the disk has ${formatBytes(virtualBytes)}, and disks only grow`,
        );
      }
      if (size > virtualBytes) {
        await run(['resize', '-q', '-f', image.format, '--', image.path, String(size)], {
          what: `resizing ${basename(image.path)}`,
        });
      }
      return size;
    },
    async convertImage({ source, target, targetFormat, compress, inspect: how, onProgress, signal }) {
      await examineImage(absolute(source.path), source.format, { ...how, backing: source.backing });
      const args = ['convert', '-p', '-f', source.format, '-O', targetFormat];
      if (compress === true && targetFormat === 'qcow2') args.push('-c');
      await produce(target, (temporary) =>
        run([...args, '--', source.path, temporary], {
          what: `converting ${basename(source.path)}`,
          long: true,
          signal,
          onOutput(chunk) {
            // `    (12.34/100%)`, over and over on one line.
            const percent = /\(([\d.]+)\/100%\)[^(]*$/.exec(chunk)?.[1];
            if (percent !== undefined) onProgress?.(Number(percent));
          },
        }),
      );
    },
    async checkImage(image, signal) {
      await examineImage(absolute(image.path), image.format, own(image));
      if (image.format === 'raw') return null;
      const text = await run(['check', '--output=json', '-f', image.format, '--', image.path], {
        what: `checking ${basename(image.path)}`,
        long: true,
        codes: checkedCodes,
        signal,
      });
      const result = Check.parse(JSON.parse(text));
      const { corruptions, leaks, 'check-errors': errors } = result;
      return { clean: corruptions + leaks + errors === 0, corruptions, leaks, errors };
    },
    async commitOverlay(image, signal) {
      await examineImage(absolute(image.path), image.format, own(image));
      await run(['commit', '-q', '-d', '-f', image.format, '--', image.path], {
        what: `committing ${basename(image.path)}`,
        long: true,
        signal,
      });
    },
    listSnapshots: async (image) => (await inspect(image.path, image.format, own(image))).snapshots,
    async deleteSnapshot(image, name) {
      if (!/^[\w-]+$/.test(name) || name.startsWith('-'))
        throw new ImageError('bad-name', `${printable(name)} is no name of a snapshot of ours`);
      await examineImage(absolute(image.path), image.format, own(image));
      await run(['snapshot', '-q', '-d', name, '--image-opts', imageOptions(image)], {
        what: `deleting a snapshot of ${basename(image.path)}`,
        long: true,
      });
    },
    isUntouched: (image) => isUntouched(absolute(image.path), own(image)),
  };
}
