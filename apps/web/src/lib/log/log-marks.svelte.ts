import type { JobId, LogMarks } from '@vmo/contract';
import type { Client } from '@vmo/client';
import { foldedRanges, type FoldedRange, type Group } from './folds.ts';

export type Problem = LogMarks['problems'][number];

/** While the job writes, marks are asked for at most this often (in milliseconds). */
const refreshAfter = 2000;

/** What stands out in a log: groups that fold, errors and warnings. */
export class Marks {
  /** Grows whenever marks or folds changed. */
  version = $state(0);
  problems = $state.raw<readonly Problem[]>([]);
  groups = $state.raw<readonly Group[]>([]);
  truncated = $state(false);
  /** All groups are folded but those that somebody opened, or none but those that somebody closed. */
  allFolded = $state(false);

  readonly #client: Client;
  readonly #jobId: JobId;
  readonly #stop = new AbortController();
  #exceptions: ReadonlySet<number> = new Set();
  #byStart = new Map<number, Group>();
  #byLine = new Map<number, Problem>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #wanted = '';
  #askedFor = '';
  #askedAt = -Infinity;

  constructor(client: Client, jobId: JobId) {
    this.#client = client;
    this.#jobId = jobId;
  }

  /** The log is like this now: asks for its marks unless they are known, not too often. */
  refresh(state: string): void {
    this.#wanted = state;
    if (this.#stop.signal.aborted || state === this.#askedFor || this.#timer !== undefined) return;
    const wait = this.#askedAt + refreshAfter - performance.now();
    if (wait <= 0 && !this.#asking) void this.#ask(state);
    else this.#later(Math.max(wait, 100));
  }

  #later(wait: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (document.visibilityState === 'hidden') this.#later(refreshAfter);
      else this.refresh(this.#wanted);
    }, wait);
  }

  async #ask(state: string): Promise<void> {
    this.#asking = true;
    this.#askedFor = state;
    this.#askedAt = performance.now();
    try {
      const { signal } = this.#stop;
      const marks = await this.#client.call('getMarks', { params: { jobId: this.#jobId }, signal });
      if (!signal.aborted) this.#take(marks);
    } catch {
      // A log can be read without its marks; they are asked for again with the next change.
    } finally {
      this.#asking = false;
    }
  }

  #take({ groups, problems, truncated }: LogMarks): void {
    this.#byStart = new Map(groups.map((group) => [group.start, group]));
    this.#byLine = new Map();
    for (const problem of problems) {
      // Where a line is both, the worse one counts.
      if (this.#byLine.get(problem.line)?.severity !== 'error') this.#byLine.set(problem.line, problem);
    }
    this.groups = groups;
    this.problems = [...this.#byLine.values()];
    this.truncated = truncated;
    this.version++;
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  problemAt(number: number): Problem | null {
    return this.#byLine.get(number) ?? null;
  }

  /** The group that begins in this line and can be folded. */
  groupAt(number: number): Group | null {
    const group = this.#byStart.get(number);
    return group && group.end !== null && group.end > group.start ? group : null;
  }

  isFolded(start: number): boolean {
    return this.allFolded !== this.#exceptions.has(start);
  }

  /** What is folded away, by line number. */
  get folded(): FoldedRange[] {
    if (!this.allFolded && this.#exceptions.size === 0) return [];
    return foldedRanges(this.groups, (start) => this.isFolded(start));
  }

  fold(start: number, folded: boolean): void {
    if (this.isFolded(start) === folded) return;
    const exceptions = new Set(this.#exceptions);
    if (!exceptions.delete(start)) exceptions.add(start);
    this.#exceptions = exceptions;
    this.version++;
  }

  foldAll(folded: boolean): void {
    this.allFolded = folded;
    this.#exceptions = new Set();
    this.version++;
  }

  /** Opens all groups around a line. @returns whether one was folded. */
  unfoldAround(number: number): boolean {
    const { version } = this;
    for (const { start, end } of this.groups) {
      if (start >= number) break;
      if (end !== null && end >= number) this.fold(start, false);
    }
    return this.version !== version;
  }

  /** The next problem after this line, or the one before it, around the ends. */
  nextProblem(line: number, by: 1 | -1): Problem | null {
    const { problems } = this;
    if (by === 1) return problems.find((problem) => problem.line > line) ?? problems[0] ?? null;
    return problems.findLast((problem) => problem.line < line) ?? problems.at(-1) ?? null;
  }
}
