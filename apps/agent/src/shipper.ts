import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  machineRequestOf,
  perStream,
  sameOffsets,
  SpoolStream,
  totalBytes,
  type AgentApi,
  type ClaimedJob,
  type JobRef,
  type LogDigest,
  type Offsets,
  type SpoolChunk,
} from '@vmo/contract';
import {
  attachedTailBytes,
  runDirectoryExists,
  SpoolReader,
  watchDirectory,
  type Mask,
  type Run,
  type RunEnd,
} from '@vmo/execution';
import { Brake } from './brake.ts';
import { createComparison, type Comparison } from './comparison.ts';
import { readCut, writeCut, type Cut } from './cut.ts';
import { LeaseLostError } from './lease-lost.ts';
import { createMiddle, roomOf, type Middle } from './middle.ts';
import { createRolling, type Rolling } from './rolling.ts';
import type { ShipLimits } from './ship-limits.ts';
import { bytesInWords } from './words.ts';

export interface ShipperOptions {
  job: ClaimedJob;
  ref: JobRef;
  directory: string;
  api: AgentApi;
  limits: ShipLimits;
  mask: Mask | null;
  insist: <T>(what: string, call: () => Promise<T>) => Promise<T>;
  /** Words for the log from the middle of the run. */
  note: (line: string) => void;
}

/** How the run ended, and the bytes that belong to it: what a process left behind writes later does not. */
export interface Ended {
  end: RunEnd;
  sizes: Offsets;
}

/** A machine that somebody has started, and that runs for days; not one that is thrown away. */
const isOwnMachine = (job: ClaimedJob): boolean => job.type === 'vm' && machineRequestOf(job.vm) === null;

/** Nobody waits for its end to see it, and what is said now is what matters: of its log the newest part is always there. */
const isRolling = (job: ClaimedJob): boolean => job.type === 'terminal' || isOwnMachine(job);

function streamsOf(job: ClaimedJob): readonly SpoolStream[] {
  if (job.type !== 'vm') return ['stdout', 'stderr'];
  return isOwnMachine(job) ? ['stdout', 'stderr', 'boot'] : ['boot', 'command', 'stdout', 'stderr'];
}

/** How many of its last bytes each stream keeps: one that has little keeps it, and the others share what is left. */
function shareOut(room: number, left: Offsets): Offsets {
  const tails = perStream(() => 0);
  const bySize = SpoolStream.options.toSorted((a, b) => left[a] - left[b]);
  for (const [index, stream] of bySize.entries()) {
    tails[stream] = Math.min(left[stream], Math.floor(room / (bySize.length - index)));
    room -= tails[stream];
  }
  return tails;
}

/**
 * Brings the output of one run from its spool into the log, at once and in order: while one append is under way the
 * next gathers. Leaves out the middle of a log that is too long.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #reader: SpoolReader;
  #run: Run | null = null;
  #offsets: Offsets;
  #ended: Ended | null = null;
  #changed = false;
  #lettingGo = false;
  #wake: () => void = () => undefined;
  /** Only the last part of what comes now is kept: it is stored at the end. */
  #full = false;
  /** null: a console that is behind is no reason to stop a whole machine. */
  readonly #brake: Brake | null;
  readonly #comparison: Comparison;
  readonly #rolling: Rolling | null = null;
  readonly #middle: Middle | null = null;

  constructor(options: ShipperOptions) {
    const { directory, mask, note, job } = options;
    this.#options = options;
    this.#offsets = job.offsets;
    this.#reader = new SpoolReader(directory, {
      streams: streamsOf(job),
      mask,
      onTruncated: (stream) => {
        note(
          `the file of ${stream} was cut while the job ran, by somebody or by a crash of its machine: what was stored before stays, what the file holds now follows`,
        );
      },
    });
    const { ref, api, limits, insist } = options;
    this.#brake = isOwnMachine(job)
      ? null
      : new Brake({
          ...{ directory, limits, note },
          waiting: async () => totalBytes(await this.sizes()) - totalBytes(this.#offsets),
          isFull: () => this.#full,
          isOver: () => this.#ended !== null || this.#lettingGo,
        });
    const reader = this.#reader;
    const comparison = createComparison({ ref, directory, api, reader, insist, note });
    this.#comparison = comparison;
    if (isRolling(job)) {
      const isTerminal = job.type === 'terminal';
      this.#rolling = createRolling({
        ...{ ref, api, comparison, insist, partBytes: limits.tailBytes },
        what: isTerminal ? 'the output of the terminal' : 'the console',
        // A terminal emulator shows it from there.
        spoolTailBytes: isTerminal ? attachedTailBytes : 0,
      });
    } else this.#middle = createMiddle({ ...limits, directory, reader, comparison });
  }

  /** Ships until the run has ended and everything of it is stored. @returns null when we let go before */
  async follow(run: Run): Promise<Ended | null> {
    const { directory } = this.#options;
    this.#run = run;
    await this.#brake?.take();
    const stopWatching = watchDirectory(directory, (name) => {
      // The wrapper's files are none of ours: the run tells of its end.
      if (name !== null && !SpoolStream.safeParse(name).success) return;
      this.#changed = true;
      this.#wake();
      this.#brake?.balance(run);
    });
    void run.ended.then(async (end) => {
      this.#ended = { end, sizes: await this.sizes() };
      this.#changed = true;
      this.#wake();
    });
    try {
      for (;;) {
        this.#changed = false;
        const last = this.#ended;
        const hasShipped = await this.#shipNext(last);
        this.#brake?.balance(run);
        if (hasShipped) continue;
        if (last) return last;
        if (this.#lettingGo) return null;
        await this.#untilChanged();
      }
    } finally {
      stopWatching();
      await this.#brake?.release(run, this.#ended ? 'the command has ended' : 'the cockpit ends');
    }
  }

  letGo(): void {
    this.#lettingGo = true;
    this.#changed = true;
    this.#wake();
  }

  /** Where the streams of the spool end now. */
  sizes(): Promise<Offsets> {
    return this.#reader.sizes(this.#offsets);
  }

  /** The server stands elsewhere than we thought: what is missing is sent again from there. */
  async shipRest(from: Offsets, end: Ended): Promise<Offsets> {
    this.#offsets = from;
    while (await this.#shipNext(end));
    return this.#offsets;
  }

  /** Whether what is stored is what the spool holds, and the words for the log where it is not. */
  async verify(ended: Ended): Promise<{ verified: boolean; lines: string[] }> {
    const { directory } = this.#options;
    const { sizes } = ended;
    let compared = await this.#comparison.known();
    let stored = await this.#storedDigest(compared.seq);
    if (SpoolStream.options.some((stream) => stored.offsets[stream] < sizes[stream])) {
      await this.shipRest(stored.offsets, ended);
      compared = await this.#comparison.known();
      stored = await this.#storedDigest(compared.seq);
    }
    const cut = await readCut(directory);
    const lines: string[] = [];
    let verified = compared.intact;
    for (const stream of SpoolStream.options) {
      // What was cut away cannot be compared; whoever cut it was named.
      if (await this.#reader.isTruncated(stream)) {
        verified = false;
        continue;
      }
      // What has expired meanwhile is stored no more.
      const start = Math.max(compared.offsets[stream], stored.from?.[stream] ?? 0);
      const ranges: [number, number][] = cut
        ? [
            [start, cut.from[stream]],
            [Math.max(start, cut.to[stream]), sizes[stream]],
          ]
        : [[start, sizes[stream]]];
      const own = await this.#reader.digest(stream, ranges, sizes[stream]);
      const known = stored.sha256[stream];
      if (own === known) continue;
      verified = false;
      lines.push(
        `the file of ${stream} is not what was read from it: somebody changed it while the job ran ` +
          `(SHA-256 ${known.slice(0, 12)}… stored, ${own.slice(0, 12)}… in the file); the log keeps what was read first`,
      );
    }
    return { verified, lines };
  }

  async #storedDigest(afterSeq: number): Promise<LogDigest> {
    const { api, ref, insist } = this.#options;
    const stored = await insist('the comparison', () => api.digest(ref, afterSeq));
    if (!stored) throw new LeaseLostError();
    return stored;
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  /** @returns whether there was anything to ship */
  async #shipNext(last: Ended | null): Promise<boolean> {
    const { api, ref } = this.#options;
    if (await this.#isAboveLimit()) {
      if (!last) {
        await this.#middle?.shrink(this.#offsets);
        return false;
      }
      if (await this.#leaveOut(last.sizes)) return true;
    }
    const chunks = await this.#nextChunks(last);
    if (chunks.length === 0) return false;
    const result = await this.#options.insist('output', () => api.append(ref, chunks));
    if (result.status === 'lease-lost') throw new LeaseLostError();
    this.#offsets = result.offsets;
    await this.#rolling?.stored(this.#offsets);
    return true;
  }

  /** What is to be shipped next: where the run names places for its words, up to the next one, or the words that go there. */
  async #nextChunks(last: Ended | null): Promise<SpoolChunk[]> {
    const offsets = this.#offsets;
    const end = last?.sizes ?? null;
    if (!this.#run?.places) return this.#reader.read(offsets, end);
    // In this order: what is written by now stands before any place that is not named by then.
    const sizes = end ?? (await this.sizes());
    const place = this.#run.places().find(({ command }) => command > offsets.command);
    if (!place) return this.#reader.read(offsets, end, sizes);
    // A place behind the end of what was written cannot be reached any more.
    const reachable = (stream: 'stdout' | 'stderr') =>
      end ? Math.min(place[stream], end[stream]) : place[stream];
    const [stdout, stderr] = [reachable('stdout'), reachable('stderr')];
    const isThere = offsets.stdout >= stdout && offsets.stderr >= stderr;
    // Nobody waits for a console because of output that does not come.
    const isWritten = sizes.stdout >= stdout && sizes.stderr >= stderr;
    const boot = isWritten ? Math.min(place.boot, sizes.boot) : sizes.boot;
    if (!isThere || offsets.boot < boot) {
      const before = { stdout, stderr, boot: end?.boot ?? Infinity, command: offsets.command };
      const chunks = await this.#reader.read(offsets, before, { ...sizes, boot, command: offsets.command });
      // What a console has left then is the beginning of a character, whose rest was not written yet.
      if (chunks.length > 0 || !isThere) return chunks;
    }
    const words = { ...offsets, command: place.command };
    return this.#reader.read(offsets, { ...words, boot: end?.boot ?? Infinity }, words);
  }

  async #isAboveLimit(): Promise<boolean> {
    const { job, directory, limits, note } = this.#options;
    if (isRolling(job)) return false;
    if (totalBytes(this.#offsets) < limits.maxLogBytes - limits.tailBytes) return false;
    if (!this.#full && !(await readCut(directory))) {
      const marker = join(directory, 'full');
      if (!(await runDirectoryExists(marker))) {
        await writeFile(marker, '', { mode: 0o600 });
        note(
          `the log comes near its limit of ${bytesInWords(limits.maxLogBytes)}: what comes now is stored when the job ends, and of too much only the last part`,
        );
      }
    }
    this.#full = true;
    return true;
  }

  /** @returns whether something was left out; else the rest fits, or was left out before */
  async #leaveOut(sizes: Offsets): Promise<boolean> {
    const { api, ref, directory, limits, insist } = this.#options;
    const known = await readCut(directory);
    if (known && (!sameOffsets(known.from, this.#offsets) || sameOffsets(known.from, known.to))) return false;
    const left = totalBytes(sizes) - totalBytes(this.#offsets);
    if (!known && left <= roomOf(limits, this.#offsets)) return false;
    // Written down first: who comes after us must cut at the same place.
    const cut = known ?? (await this.#chooseCut(sizes));
    if (!known) await writeCut(directory, cut);
    const result = await insist('a cut', () => api.cut(ref, cut.from, cut.to, [cut.words]));
    if (result.status === 'lease-lost') throw new LeaseLostError();
    this.#offsets = result.offsets;
    return true;
  }

  async #chooseCut(sizes: Offsets): Promise<Cut> {
    const { limits } = this.#options;
    const from = { ...this.#offsets };
    const room = roomOf(limits, from);
    const left = perStream((stream) => sizes[stream] - from[stream]);
    const tails = shareOut(room, left);
    const to = { ...from };
    const gone = await this.#middle?.gone();
    let lines = gone?.lines ?? 0;
    for (const stream of SpoolStream.options) {
      const tail = tails[stream];
      if (tail < left[stream]) to[stream] = await this.#reader.nextLine(stream, sizes[stream] - tail);
      const start = Math.max(from[stream], gone?.to[stream] ?? 0);
      lines += await this.#reader.countLines(stream, start, to[stream]);
    }
    const missing = (totalBytes(to) - totalBytes(from)).toLocaleString('en');
    const words = `${missing} bytes with ${lines.toLocaleString('en')} lines are left out here: the log is above its limit of ${bytesInWords(limits.maxLogBytes)}`;
    return { from, to, words };
  }

  async #untilChanged(): Promise<void> {
    if (!this.#hasChanged()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  // A method, because the flag is set while a read is awaited, which the compiler's narrowing does not see.
  #hasChanged(): boolean {
    return this.#changed;
  }
}
