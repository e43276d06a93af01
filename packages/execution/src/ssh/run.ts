import { setTimeout as delay } from 'node:timers/promises';
import { describeProcesses } from '../kill.ts';
import { parseExitRecord } from '../run-directory.ts';
import { StartError, type Run, type RunEnd, type RunSpec } from '../run.ts';
import { writeAttempt, type Attempt } from './attempt.ts';
import type { SshClient, SshSession, SshTarget } from './client.ts';
import { converse } from './converse.ts';
import { failureOf } from './failure.ts';
import { followOverLink, ladderWords, type EndReport, type LinkResult } from './link.ts';
import { Mirror } from './mirror.ts';
import { cancelScript, signalScript } from './remote-script.ts';
import { createRemoteSpool, type RemoteSpool } from './remote-spool.ts';

/** Between two tries to reach the host. */
const firstPauseMs = 200;
const maxPauseMs = 10_000;
/** The answer to a ladder: as long as the ladder, and this for the way and the search. */
const ladderTimeoutMs = 60_000;
/** The other side removes its run directory and ends the session; after this, we do. */
const dismissTimeoutMs = 10_000;

export interface SshRunOptions {
  spec: RunSpec;
  target: SshTarget;
  client: SshClient;
  cgroups: boolean;
  attempt: Attempt;
  /** A restart of ours: the attempt may have been made, so a failure does not show that it was not. */
  adopted: boolean;
}

/** A run on a host. What it is doing is known by sessions with the host alone; when one ends, the next goes on. */
export class SshRun implements Run {
  readonly startedAt: Date;
  readonly ended: Promise<RunEnd>;
  /** Settles when the run has begun, or may have; rejects with StartError when it provably has not. */
  readonly decided: Promise<void>;
  readonly #options: SshRunOptions;
  readonly #stop = new AbortController();
  readonly #decision = Promise.withResolvers<undefined>();
  readonly #spool: RemoteSpool;
  #attempt: Attempt;
  #finish: (end: RunEnd) => void;
  #session: SshSession | null = null;
  /** The other side was asked to begin, and may have. */
  #asked: boolean;
  #outage = false;
  /** The run has ended there: a ladder that cannot reach the host is not needed. */
  #reported = false;
  #cancelling: Promise<string[]> | null = null;
  /** Wakes the pause between two tries. */
  #wake: () => void = () => undefined;

  constructor(options: SshRunOptions) {
    this.#options = options;
    this.#attempt = options.attempt;
    this.#asked = options.adopted;
    const { client, target, spec } = options;
    this.#spool = createRemoteSpool({ client, target, directory: spec.directory, notice: spec.notice });
    this.startedAt = options.attempt.startedAt;
    const { promise, resolve } = Promise.withResolvers<RunEnd>();
    this.ended = promise;
    this.#finish = resolve;
    this.decided = this.#decision.promise;
    this.decided.catch(() => undefined);
    if (options.adopted) this.#decision.resolve(undefined);
    if (this.#attempt.end) this.#end(this.#attempt.end);
    else void this.#loop();
  }

  async #loop(): Promise<void> {
    let pause = firstPauseMs;
    let again = true;
    while (!this.#stopped()) {
      const outage = this.#outage;
      if (this.#cancelling && !this.#attempt.begun) {
        // What shall end must not begin now; the ladder finds out whether it had.
        await this.#cancelling.catch(() => undefined);
        if (this.#stopped()) return;
      }
      const result = await this.#link();
      if (this.#stopped()) return;
      if (result.kind === 'refused') {
        this.#refuse(result.refusal);
        return;
      }
      if (result.kind === 'ended' && (await this.#close(result))) return;
      const { message, kind } =
        result.kind === 'failed'
          ? result.failure
          : { message: 'the end of the job cannot be written here', kind: 'lost' };
      if (result.kind === 'failed' && result.asked) this.#asked = true;
      if (!this.#asked) {
        // A shared connection that is dead but does not know it fails like this once; a new one may not.
        if (kind === 'lost' && again) {
          again = false;
          await this.#options.client.dropConnection(this.#options.target);
          continue;
        }
        this.#decision.reject(new StartError(message));
        this.detach();
        return;
      }
      this.#decision.resolve(undefined);
      if (!this.#outage) {
        this.#outage = true;
        const meanwhile = this.#attempt.begun
          ? 'the job goes on there'
          : 'whether the job began is not known';
        this.#notice(
          `connection to ${this.#options.target.name} lost: ${message}; ${meanwhile}, reconnecting`,
        );
      }
      pause = outage ? Math.min(pause * 2, maxPauseMs) : firstPauseMs;
      await this.#pause(pause);
    }
  }

  async #link(): Promise<LinkResult> {
    const { spec, client, target, cgroups } = this.#options;
    const { command, cwd, env } = spec;
    const run = { jobId: spec.jobId, name: this.#attempt.name };
    let mirror: Mirror | null = null;
    try {
      const opened = (mirror = await Mirror.open(spec.directory));
      const result = await followOverLink({
        client,
        target,
        cgroups,
        ...{ mirror, run },
        start: this.#attempt.begun ? null : { command, cwd, env },
        onSession: (session) => {
          this.#session = session;
          if (this.#stop.signal.aborted) session.kill();
        },
        onBegun: () => this.#onBegun(),
        onOutput: () => {
          this.#spool.grown(run, opened);
        },
      });
      if (result.kind === 'ended') await mirror.sync();
      return result;
    } catch (error) {
      return { kind: 'failed', asked: false, failure: failureOf(error) };
    } finally {
      await mirror?.close();
    }
  }

  async #onBegun(): Promise<void> {
    this.#asked = true;
    if (!this.#attempt.begun) {
      this.#attempt = { ...this.#attempt, begun: true };
      await writeAttempt(this.#options.spec.directory, this.#attempt);
    }
    if (this.#outage) this.#notice(`connected again to ${this.#options.target.name}`);
    this.#outage = false;
    this.#decision.resolve(undefined);
  }

  #refuse(refusal: string): void {
    const { spec, target } = this.#options;
    if (refusal === 'absent' || this.#attempt.begun) {
      this.#decision.resolve(undefined);
      this.#end({ kind: 'lost', reason: `its run directory on ${target.name} is gone` });
      return;
    }
    const reason = refusalWords(refusal, spec.cwd ?? '~', target.name);
    this.#decision.reject(new StartError(reason));
    this.#end({ kind: 'not-started', reason });
  }

  /** Takes the end over, so that it is known here before the other side forgets it. False: it could not be written. */
  async #close({ report, dismiss }: Extract<LinkResult, { kind: 'ended' }>): Promise<boolean> {
    this.#reported = true;
    await this.#cancelling?.catch(() => undefined); // the words about what died come before the end
    const end = this.#endOf(report);
    try {
      await writeAttempt(this.#options.spec.directory, { ...this.#attempt, end });
    } catch {
      this.#session?.kill();
      return false;
    }
    const session = this.#session;
    this.#session = null;
    dismiss();
    const timer = setTimeout(() => session?.kill(), dismissTimeoutMs);
    timer.unref();
    void session?.ended.then(() => {
      clearTimeout(timer);
    });
    this.#end(end);
    return true;
  }

  #endOf({ state, record, leftovers, killed, why }: EndReport): NonNullable<Attempt['end']> {
    const { spec, target } = this.#options;
    if (state === 'lost') {
      const reason =
        why === 'restarted'
          ? `${target.name} was restarted while it ran`
          : why === 'removed'
            ? `its run directory on ${target.name} was removed`
            : `its wrapper on ${target.name} vanished without an exit record`;
      return {
        kind: 'lost',
        reason: killed.length > 0 ? `${reason}; SIGKILL: ${describeProcesses(killed)}` : reason,
      };
    }
    const read = parseExitRecord(record);
    switch (read.kind) {
      case 'exited': {
        // The other side's clock gives the duration; ours gives the time.
        const took = Math.max(read.finishedAt.getTime() - read.startedAt.getTime(), 0);
        return {
          ...read,
          startedAt: this.startedAt,
          finishedAt: new Date(this.startedAt.getTime() + took),
          leftovers: leftovers.length > 0 ? [describeProcesses(leftovers)] : [],
        };
      }
      case 'no-directory':
        return { kind: 'not-started', reason: refusalWords('closed', spec.cwd ?? '~', target.name) };
      case 'garbage':
        return { kind: 'lost', reason: `its exit record cannot be read: ${JSON.stringify(read.words)}` };
    }
  }

  cancel(graceMs: number): Promise<string[]> {
    this.#cancelling ??= this.#cancel(graceMs).finally(() => {
      this.#wake();
    });
    return this.#cancelling;
  }

  async #cancel(graceMs: number): Promise<string[]> {
    let told = false;
    for (let pause = firstPauseMs; !this.#stop.signal.aborted; pause = Math.min(pause * 2, maxPauseMs)) {
      try {
        return await this.#ladder(graceMs);
      } catch (error) {
        if (this.#reported) break;
        if (!told)
          this.#notice(`the job cannot be ended yet: ${failureOf(error).message}; trying again until it can`);
        told = true;
      }
      await delay(pause, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
    return [];
  }

  async #ladder(graceMs: number): Promise<string[]> {
    const { spec, client, target } = this.#options;
    const run = { jobId: spec.jobId, name: this.#attempt.name };
    const answer = await converse(
      client,
      target,
      (nonce) => cancelScript(nonce, run, graceMs, this.#attempt.begun),
      {
        words: ['vmo-cancel', run.name],
        segments: 2,
        timeoutMs: graceMs + ladderTimeoutMs,
        maxBytes: 16 * 1024 * 1024,
      },
    );
    const words = ladderWords(answer.text('stdout', 1), target.name, graceMs);
    if (words) return words;
    this.#end({ kind: 'not-started', reason: 'it was cancelled before it began' });
    return ['it had not begun, and never will'];
  }

  suspend(): Promise<boolean> {
    return this.#signal('STOP').catch(() => false);
  }

  async resume(): Promise<void> {
    await this.#signal('CONT');
  }

  unfetched(): number {
    return this.#spool.unfetched();
  }

  /** @returns whether there was anybody to be signalled */
  async #signal(signal: 'STOP' | 'CONT'): Promise<boolean> {
    const { spec, client, target } = this.#options;
    const run = { jobId: spec.jobId, name: this.#attempt.name };
    const answer = await converse(client, target, (nonce) => signalScript(nonce, run, signal), {
      words: ['vmo-signal', run.name],
      segments: 2,
      timeoutMs: ladderTimeoutMs,
      maxBytes: 1024 * 1024,
    });
    return answer.text('stdout', 1).includes('signalled');
  }

  /** Waits, until it is woken. */
  async #pause(milliseconds: number): Promise<void> {
    const woken = new Promise<void>((resolve) => (this.#wake = resolve));
    const timer = delay(milliseconds, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    await Promise.race([woken, timer]);
  }

  #notice(line: string): void {
    this.#options.spec.notice(line);
  }

  #end(end: RunEnd): void {
    this.detach();
    this.#finish(end);
  }

  /** A question, since it changes while we wait. */
  #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  detach(): void {
    this.#stop.abort();
    this.#session?.kill();
  }
}

function refusalWords(refusal: string, directory: string, host: string): string {
  switch (refusal) {
    case 'missing':
      return `the directory ${directory} does not exist on ${host}`;
    case 'file':
      return `${directory} is not a directory on ${host}`;
    case 'closed':
      return `the directory ${directory} cannot be entered on ${host}`;
    case 'home':
      return `~/.vmo/runs cannot be written on ${host}: its disk may be full, or the home directory closed to its user`;
    case 'given-up':
      return 'it was cancelled before it began';
    default:
      return `the command could not be begun on ${host}: mkdir and sh must be in its PATH`;
  }
}
