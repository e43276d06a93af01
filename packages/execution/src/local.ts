import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SpoolStream } from '@vmo/contract';
import { removeCgroup, type Cgroups } from './cgroup.ts';
import { isDiskFull } from './disk.ts';
import { endRun, endStrays, findLeftovers, signalRun, type RunProcesses } from './kill.ts';
import { isAlive, jobMark, type ProcessIdentity, type ProcessTable } from './process.ts';
import { claimBeginning, readExitRecord, readIdentity, type ExitRecord } from './run-directory.ts';
import { StartError, type Run, type RunEnd, type RunSpec, type Strategy } from './run.ts';
import { watchDirectory } from './spool.ts';
import { installWrapper, notOurs } from './wrapper.ts';

/** A wrapper that made `begun` writes its identity within milliseconds; this long on a machine that is swapping. */
const identityTimeoutMs = 8_000;
const pollMs = 5;

export interface LocalOptions {
  table: ProcessTable;
  /** null: no control groups here; cancel sweeps instead. */
  cgroups: Cgroups | null;
}

/** Runs `sh -c command` on this machine, detached; see `wrapper.ts` for the protocol. */
export function createLocalStreamStrategy(options: LocalOptions): Strategy {
  const { cgroups } = options;

  return {
    type: 'stream',

    async start(spec) {
      const directory = spec.cwd ?? '/';
      const found = await stat(directory).catch(() => null);
      if (!found) throw new StartError(`the directory ${directory} does not exist`);
      if (!found.isDirectory()) throw new StartError(`${directory} is not a directory`);
      if (isDiskFull(dirname(spec.directory))) {
        throw new StartError(
          `no space left on the disk of ${dirname(spec.directory)}, where its output would go`,
        );
      }
      // Where we stand, as all that is small and on our own disk: a trip to another thread takes longer than the call.
      mkdirSync(spec.directory, { recursive: true, mode: 0o700 });
      for (const stream of ['stdout', 'stderr'])
        writeFileSync(join(spec.directory, stream), '', { flag: 'a', mode: 0o600 });
      const wrapper = installWrapper(dirname(spec.directory));
      const cgroup = cgroups ? await cgroups.create(spec.jobId) : null;
      const child = await launch(wrapper, spec, directory, cgroup).catch(async (error: unknown) => {
        if (cgroup !== null) await removeCgroup(cgroup);
        throw new StartError(
          `the shell could not be started: ${error instanceof Error ? error.message : String(error)}`,
        );
      });
      const run = new LocalRun(spec, options, cgroup, Date.now() + youngMs);
      child.once('exit', (code) => {
        if (code !== notOurs) run.wrapperEnded();
      });
      return run;
    },

    async adopt(spec) {
      if (await claimBeginning(spec.directory)) return null;
      return new LocalRun(spec, options, cgroups?.path(spec.jobId) ?? null);
    },

    endStrays: (jobId) => endStrays(jobId, options),
  };
}

async function launch(
  wrapper: string,
  spec: RunSpec,
  directory: string,
  cgroup: string | null,
): Promise<ChildProcess> {
  // Throws at once for some errors, such as an environment beyond the system's limit.
  const child = spawn('/bin/sh', [wrapper, spec.directory, directory, cgroup ?? '-', spec.command], {
    detached: true, // its own session: it is its leader, and no signal meant for us reaches it
    stdio: 'ignore',
    cwd: '/',
    env: { ...spec.env, [jobMark]: spec.jobId },
  });
  child.unref();
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  return child;
}

/** A run directory that cannot be read for so long is lost. */
const unreadableMs = 10_000;

/** For so long after its start a run is young: its command may not have begun. */
const youngMs = 1_000;

/** A run whose wrapper may be our child or not: everything is read from its directory and the process table. */
class LocalRun implements Run {
  readonly startedAt = new Date();
  readonly ended: Promise<RunEnd>;
  readonly #spec: RunSpec;
  readonly #table: ProcessTable;
  readonly #cgroup: string | null;
  readonly #youngUntil: number;
  #identityDeadline = Date.now() + identityTimeoutMs;
  #identity: ProcessIdentity | null = null;
  #finish: (end: RunEnd) => void = () => undefined;
  #stopWatching: () => void;
  #looking: Promise<void> | null = null;
  #lookAgain = false;
  #cancelling: Promise<string[]> | null = null;
  #over = false;
  #unreadableSince: number | null = null;

  constructor(spec: RunSpec, { table }: LocalOptions, cgroup: string | null, youngUntil = 0) {
    this.#spec = spec;
    this.#table = table;
    this.#cgroup = cgroup;
    this.#youngUntil = youngUntil;
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#stopWatching = watchDirectory(spec.directory, (name) => {
      // Output says nothing about the end, and there may be hundreds of writes a second.
      if (name === null || !SpoolStream.safeParse(name).success) this.look();
    });
    this.look();
  }

  /** Our child has ended: if it left neither record nor identity, none will come. */
  wrapperEnded(): void {
    this.#identityDeadline = 0;
    this.look();
  }

  /** Looks whether the run has ended; looks that come while one is under way are made up for by one more. */
  look(): void {
    if (this.#over) return;
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = this.#check()
      .then(() => {
        this.#unreadableSince = null;
      })
      .catch((error: unknown) => {
        this.#unreadableSince ??= Date.now();
        // We may only be out of file descriptors; the poll looks again.
        if (Date.now() - this.#unreadableSince < unreadableMs) return;
        return this.#lose(
          `its run directory cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        );
      })
      .finally(() => {
        this.#looking = null;
        if (!this.#lookAgain) return;
        this.#lookAgain = false;
        this.look();
      });
  }

  async #check(): Promise<void> {
    const { directory } = this.#spec;
    const record = await readExitRecord(directory);
    if (record) {
      await this.#close(record);
      return;
    }
    this.#identity ??= await readIdentity(directory);
    if (this.#identity ? await isAlive(this.#table, this.#identity) : Date.now() < this.#identityDeadline)
      return;
    // It may have written the record between our two looks.
    const late = await readExitRecord(directory);
    if (late) {
      await this.#close(late);
      return;
    }
    if (this.#cancelling) await this.#cancelling;
    await this.#lose('its wrapper vanished without an exit record');
  }

  /** Nobody can tell how it ends, so it does not go on: a job that is final cannot be cancelled. */
  async #lose(why: string): Promise<void> {
    const died = await endRun(this.#processes(), 0);
    const isDead = this.#identity !== null && !died.some((line) => line.startsWith('still alive'));
    this.#end({ kind: 'lost', reason: [why, ...died].join('; '), ...(isDead && { dead: true }) });
  }

  async #close(record: ExitRecord): Promise<void> {
    if (this.#cancelling) await this.#cancelling; // the words about what died come before the end
    switch (record.kind) {
      case 'exited':
        await this.#waitForWrapper();
        this.#end({ ...record, leftovers: await findLeftovers(this.#processes()) });
        return;
      case 'no-directory':
        this.#end({
          kind: 'not-started',
          reason: `the directory ${this.#spec.cwd ?? '/'} cannot be entered`,
        });
        return;
      case 'garbage':
        await this.#lose(`its exit record cannot be read: ${JSON.stringify(record.words)}`);
    }
  }

  /** The record is there a moment before the wrapper and its helpers are gone, which would be taken for leftovers. */
  async #waitForWrapper(): Promise<void> {
    if (this.#cgroup !== null) return; // they are not in the group
    this.#identity ??= await readIdentity(this.#spec.directory);
    const patience = Date.now() + 1_000;
    while (this.#identity && Date.now() < patience && (await isAlive(this.#table, this.#identity)))
      await delay(pollMs);
  }

  #processes(): RunProcesses {
    return { jobId: this.#spec.jobId, table: this.#table, wrapper: this.#identity, cgroup: this.#cgroup };
  }

  #end(end: RunEnd): void {
    if (this.#over) return;
    this.detach();
    if (this.#cgroup !== null) void removeCgroup(this.#cgroup);
    this.#finish(end);
  }

  cancel(graceMs: number): Promise<string[]> {
    this.#cancelling ??= this.#climb(graceMs).finally(() => {
      this.look();
    });
    return this.#cancelling;
  }

  async #climb(graceMs: number): Promise<string[]> {
    if (this.#over) return [];
    if (await claimBeginning(this.#spec.directory)) {
      this.#end({ kind: 'not-started', reason: 'ended before the command began' });
      return [];
    }
    // Somebody has begun: without knowing who leads the run, the ladder would take the wrapper for a member.
    while (!(this.#identity ??= await readIdentity(this.#spec.directory))) {
      if (Date.now() >= this.#identityDeadline) break;
      await delay(pollMs);
    }
    return endRun(this.#processes(), graceMs, ['SIGTERM'], Date.now() < this.#youngUntil);
  }

  suspend(): Promise<boolean> {
    return signalRun(this.#processes(), 'SIGSTOP');
  }

  async resume(): Promise<void> {
    await signalRun(this.#processes(), 'SIGCONT');
  }

  detach(): void {
    this.#over = true;
    this.#stopWatching();
  }
}
