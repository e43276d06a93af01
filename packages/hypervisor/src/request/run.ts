import { readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineRequest, RequestChannel, RunPlan, RunProgress } from '@vmo/contract';
import {
  signalOfExitCode,
  spoolSizes,
  watchDirectory,
  type LogPlace,
  type RequestLink,
  type Run,
  type RunEnd,
  type RunSpec,
} from '@vmo/execution';
import { DriverError, type Driver } from '../driver.ts';
import { rungWords } from '../qemu/words.ts';
import { within } from '../within.ts';
import { fetchArtifacts } from './artifacts.ts';
import { CommandWords } from './command-words.ts';
import { lastWords, PanicWatch } from './console.ts';
import { openControl, type Control } from './control.ts';
import { renderPlan } from './plan.ts';
import { toProgress } from './progress.ts';
import { ReportFile } from './report-file.ts';
import { startRunner } from './starting.ts';
import { isWarmStart } from './warm-start.ts';

export interface RequestRunOptions {
  id: string;
  request: MachineRequest;
  spec: RunSpec;
  link: RequestLink;
  plan: RunPlan;
  driver: Driver;
  /** The machine's process. */
  run: Run;
}

/** A guest that has told everything turns itself off; one whose disk is kept writes to it before. */
const offMs = 3_000;
const offWithDiskMs = 20_000;
/** From the end of a machine's process to that of its run. */
const recordMs = 5_000;
/** A plan that came damaged is sent again. */
const maxSends = 5;
const starterWords: Readonly<Record<RequestChannel, string>> = {
  runner: 'its runner answers',
  'guest-agent': 'the runner that its guest agent was given answers',
  ssh: 'the runner that was started over SSH answers',
  serial: 'the runner that was typed at its console answers',
};
/** Files whose growth says something. */
const told = new Set(['report', 'boot']);

/**
 * A simulation request under way: gives the runner in the guest its plan, follows its report, and says how it ended. All
 * of it is driven by the files of the run directory, so that who comes after us goes on in the middle; where nobody is
 * there, the guest goes on by itself.
 */
export class RequestRun implements Run {
  readonly startedAt: Date;
  readonly ended: Promise<RunEnd>;
  readonly #options: RequestRunOptions;
  readonly #report: ReportFile;
  readonly #words: CommandWords;
  readonly #panic: PanicWatch;
  readonly #control: Control;
  readonly #clockFile: string;
  /** Nobody waits for a runner any more. */
  readonly #found = new AbortController();
  #stopWatching: () => void = () => undefined;
  #readyTimer: NodeJS.Timeout | null = null;
  /** The time of the host when the guest booted. */
  #bootedAt: number | null;
  #sends = 0;
  /** The machine is listened to; what it tells while nobody does is lost, and the console has to do. */
  #listening: 'not' | 'soon' | 'yes' = 'not';
  #stopListening: () => void = () => undefined;
  #hasPanicked = false;
  /** not: it has to be kept before it gets its commands. */
  #keeping: 'not' | 'now' | 'done';
  readonly #isWarm: boolean;
  /** Why it is being ended, by us. */
  #problem: string | null = null;
  #ending: Promise<unknown> | null = null;
  #cancelling: Promise<string[]> | null = null;
  #detached = false;

  constructor(options: RequestRunOptions) {
    const { spec, run, request, plan } = options;
    this.#options = options;
    this.startedAt = run.startedAt;
    const file = (name: string) => join(spec.directory, name);
    this.#report = new ReportFile(file('report'));
    this.#words = new CommandWords(file('command'), plan.commands);
    this.#panic = new PanicWatch(file('boot'));
    this.#control = openControl(() => options.driver.controlSocket(options.id));
    this.#clockFile = file('clock');
    this.#bootedAt = readClock(this.#clockFile);
    this.#isWarm = isWarmStart(spec.directory);
    this.#keeping = request.warm && !this.#isWarm ? 'not' : 'done';
    this.ended = run.ended
      .then((end) => this.#conclude(end))
      // Nobody of us owns it any more: whoever does, does all of this again.
      .catch((error: unknown) => ({ kind: 'lost', reason: `its end could not be told: ${String(error)}` }));
    this.#stopWatching = watchDirectory(spec.directory, (name) => {
      if (name === null || told.has(name)) this.#look();
    });
    const left = run.startedAt.getTime() + request.readySeconds * 1000 - Date.now();
    this.#readyTimer = setTimeout(() => void this.#neverReady(), Math.max(left, 0));
    this.#look();
    if (!this.#found.signal.aborted) void this.#start();
  }

  async #start(): Promise<void> {
    const { id, driver, request, spec } = this.#options;
    const options = { id, driver, request, notice: spec.notice };
    const { signal } = this.#found;
    try {
      await startRunner({ ...options, bootFile: join(spec.directory, 'boot') }, signal);
    } catch (error) {
      if (!signal.aborted) spec.notice(`the runner could not be started: ${String(error)}`);
    }
  }

  /** What follows from what the guest has told. */
  #look(): void {
    if (this.#detached) return;
    const { report } = this.#report;
    if (this.#listening === 'not') void this.#listen();
    if (this.#read()) void this.#tell(false, []);
    if (report.hellos > 0) this.#stopWaiting();
    if (report.over || report.refused !== null) this.#turnOff();
    else if (report.rebooted) this.#fail(`the guest booted again while ${this.#where()}`);
    else if (report.hellos > 0 && !report.accepted && this.#sends < report.hellos + report.again) {
      if (this.#keeping === 'not') void this.#keep();
      if (this.#keeping === 'done') this.#send();
    }
    const panic = this.#panic.look();
    if (panic !== null) this.#fail(`the guest's kernel panicked while ${this.#where()}: ${panic}`);
  }

  async #listen(): Promise<void> {
    const { driver, id } = this.#options;
    this.#listening = 'soon';
    // Where it does not answer yet, the next words of the guest have it tried again.
    const machine = await driver.connect(id).catch(() => null);
    this.#listening = machine ? 'yes' : 'not';
    if (!machine || this.#detached) return;
    this.#stopListening = machine.onEvent(({ name, words }) => {
      if (name === 'GUEST_PANICKED') this.#hasPanicked = true;
      // QEMU then has the guest stand still until somebody makes room: nobody would know why.
      if (name === 'BLOCK_IO_ERROR' && words.includes('No space left'))
        this.#fail(`no space is left on this host for its disk, while ${this.#where()}`);
    });
  }

  /** @returns whether the report has grown */
  #read(): boolean {
    const { report } = this.#report;
    const { directory } = this.#options.spec;
    const before = report.readyAt;
    const { boot } = spoolSizes(directory);
    const hasGrown = this.#report.read();
    this.#words.update(report, boot, () => spoolSizes(directory));
    if (!hasGrown) return false;
    if (before === null && report.readyAt !== null && this.#bootedAt === null) {
      this.#bootedAt = Date.now() - report.readyAt * 1000;
      // Kept: whoever comes after us sees these lines too late to know when they were written.
      writeFileSync(this.#clockFile, String(this.#bootedAt), { mode: 0o600 });
      const seconds = ((Date.now() - this.startedAt.getTime()) / 1000).toFixed(2);
      this.#options.spec.notice(
        `${report.system ?? 'the guest'} is ready after ${seconds} s: ${starterWords[report.starter ?? 'runner']}`,
      );
    }
    return true;
  }

  /** What is kept is a guest that has no commands yet. */
  async #keep(): Promise<void> {
    const { driver, id, spec } = this.#options;
    this.#keeping = 'now';
    const began = Date.now();
    const uptime = (at: number) => (at - (this.#bootedAt ?? at)) / 1000;
    try {
      const report = await readFile(join(spec.directory, 'report'), 'utf8');
      if (await driver.keepWarm(id, report, uptime)) {
        spec.notice(`kept for warm starts, in ${((Date.now() - began) / 1000).toFixed(2)} s`);
      }
    } catch (error) {
      spec.notice(`it could not be kept for warm starts: ${String(error)}`);
    }
    this.#keeping = 'done';
    this.#look();
  }

  #send(): void {
    const { plan, request } = this.#options;
    this.#sends += 1;
    if (this.#sends > maxSends) this.#fail('the commands came into the guest damaged, again and again');
    else {
      const { id, driver } = this.#options;
      const renew = this.#isWarm ? { machineId: id.replaceAll('-', ''), mac: driver.macOf(id) } : null;
      this.#control.send(renderPlan(plan, { ...request, renew }));
    }
  }

  /** The latest always replaces what is on its way. */
  #tell(isOver: boolean, artifacts: RunProgress['artifacts'], keptIn: string | null = null): Promise<void> {
    const { plan, link } = this.#options;
    const { report } = this.#report;
    const telling = link.progress(
      toProgress({
        plan,
        report,
        channel: report.starter,
        startedAt: this.startedAt,
        bootedAt: this.#bootedAt,
        artifacts,
        isOver,
        keptIn,
      }),
    );
    // Who tells at the end waits for it; one that is let go of meanwhile has nobody to tell.
    telling.catch(() => undefined);
    return telling;
  }

  /** What it was doing, for a sentence. */
  #where(): string {
    const { report } = this.#report;
    const { commands } = this.#options.plan;
    if (report.hellos === 0) return 'it booted';
    const last = report.commands.at(-1);
    if (!last) return 'it got its commands';
    if (!last.end) return `command ${last.index + 1} of ${commands.length} ran`;
    return report.commands.length < commands.length
      ? 'it went from one command to the next'
      : 'it gave its artifacts';
  }

  #stopWaiting(): void {
    if (this.#readyTimer) clearTimeout(this.#readyTimer);
    this.#readyTimer = null;
    this.#found.abort();
  }

  async #neverReady(): Promise<void> {
    const { spec, request } = this.#options;
    this.#read();
    if (this.#report.report.hellos > 0) return;
    const words = await lastWords(join(spec.directory, 'boot'));
    const said =
      words === null ? 'and its serial console is silent' : `the last lines of its console: ${words}`;
    const by = request.channel === null ? '' : ` by ${request.channel}, which was asked for`;
    this.#fail(
      `the guest was not ready within ${request.readySeconds} s (VMO_BOOT_TIMEOUT), as no runner answered${by}; ${said}`,
    );
  }

  #fail(reason: string): void {
    if (this.#problem !== null || this.#ending) return;
    this.#problem = reason;
    this.#ending = this.#end();
  }

  /** It does so by itself, mostly. */
  #turnOff(): void {
    const { run, request } = this.#options;
    const hasDisk = request.keepOnFailure && request.overlays.length > 0;
    this.#ending ??= within(run.ended, hasDisk ? offWithDiskMs : offMs).then((isOff) =>
      isOff || this.#detached ? undefined : this.#end(),
    );
  }

  async #end(): Promise<void> {
    try {
      await this.#kill();
    } catch (error) {
      this.#options.spec.notice(`the machine could not be ended: ${String(error)}`);
    }
  }

  async #kill(): Promise<string[]> {
    const { driver, id, run } = this.#options;
    const words: string[] = [];
    try {
      const machine = await driver.connect(id);
      if (machine) {
        words.push(rungWords[await machine.kill()]);
        // Its record is being written: a sweep now would hit the one who writes it.
        await within(run.ended, recordMs);
      }
    } catch (error) {
      if (!(error instanceof DriverError)) throw error;
      words.push(error.message);
    }
    return [...words, ...(await run.cancel(0))];
  }

  async #conclude(end: RunEnd): Promise<RunEnd> {
    this.#stop();
    this.#read();
    const { report } = this.#report;
    const { driver, id, request } = this.#options;
    await this.#cancelling?.catch(() => undefined); // the words about what died come before the end
    const told = end.kind === 'exited' ? await this.#endOf(end) : end;
    const artifacts = report.over
      ? await fetchArtifacts({ ...this.#options, reported: report.artifacts })
      : [];
    const isFailed = told.kind !== 'exited' || told.exitCode !== 0;
    const kept =
      isFailed && request.keepOnFailure && request.overlays.length > 0 && end.kind !== 'not-started';
    if (this.#isWarm && !report.accepted) await driver.dropWarm(id);
    await driver.release(id).catch(() => undefined); // a device that is left over is replaced at the next start
    await this.#tell(true, artifacts, await driver.discard(id, kept));
    this.#close();
    return told;
  }

  async #endOf(end: Extract<RunEnd, { kind: 'exited' }>): Promise<RunEnd> {
    const { report } = this.#report;
    const { spec } = this.#options;
    const { startedAt, finishedAt, leftovers } = end;
    const failed = (reason: string): RunEnd => ({ kind: 'failed', reason, startedAt, finishedAt, leftovers });
    if (report.refused !== null) return failed(report.refused);
    if (report.over) {
      const code = report.commands.find((command) => command.end && command.end.code !== 0)?.end?.code ?? 0;
      return { ...end, exitCode: code, signal: signalOfExitCode(code) };
    }
    if (this.#problem !== null) return failed(this.#problem);
    const panic = this.#panic.look();
    if (panic !== null) return failed(`the guest's kernel panicked while ${this.#where()}: ${panic}`);
    const said = await lastWords(join(spec.directory, 'qemu.log'));
    if (end.exitCode !== 0 && !this.#hasPanicked)
      return failed(`QEMU ended with exit code ${end.exitCode}: ${said ?? 'it said nothing'}`);
    const console = await lastWords(join(spec.directory, 'boot'));
    const what = this.#hasPanicked ? "the guest's kernel panicked" : 'the machine ended';
    return failed(`${what} while ${this.#where()}${console === null ? '' : `: ${console}`}`);
  }

  places(): readonly LogPlace[] {
    this.#read();
    return this.#words.places;
  }

  cancel(): Promise<string[]> {
    this.#stopWaiting();
    this.#cancelling ??= this.#kill();
    return this.#cancelling;
  }

  suspend(): Promise<boolean> {
    return this.#options.run.suspend();
  }

  resume(): Promise<void> {
    return this.#options.run.resume();
  }

  detach(): void {
    this.#options.run.detach();
    this.#close();
  }

  /** No more is done; what is there can still be read. */
  #stop(): void {
    this.#detached = true;
    this.#stopWaiting();
    this.#stopWatching();
    this.#stopListening();
    this.#control.close();
  }

  #close(): void {
    this.#stop();
    this.#report.close();
    this.#panic.close();
  }
}

function readClock(path: string): number | null {
  try {
    const clock = Number(readFileSync(path, 'utf8'));
    return Number.isFinite(clock) && clock > 0 ? clock : null;
  } catch {
    return null;
  }
}
