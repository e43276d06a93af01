import { CodedError, type HostId, type Job, type JobSubmission } from '@vmo/contract';
import { parseEnv, makeCommand, secretError } from '../shell.ts';
import { prepareLog } from '../log/prepared-logs.ts';
import { api, connection } from './api.ts';
import { hosts } from './hosts.svelte.ts';
import { jobs } from './jobs.svelte.ts';
import { preferences } from './preferences.svelte.ts';
import { asError } from './session.svelte.ts';
import { view } from './view.svelte.ts';
import { workspaces } from './workspaces.svelte.ts';

const recentKey = 'vmo.recent-commands';
const recentMax = 100;
/** A wait that is longer (in milliseconds) is shown. */
const sayAfterMs = 150;

function keptRecent(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(recentKey) ?? '[]');
    return Array.isArray(kept) ? kept.filter((one) => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

/** What is about to be run: command, kind, place, environment, and the overrides of the make variables. */
class RunState {
  command = $state('');
  terminal = $state(false);
  /** Chosen host; null: where the workspace is. */
  hostId: HostId | null = $state(null);
  directory = $state('');
  env = $state('');
  /** Environment variables that must not be seen; kept nowhere but here, and not for terminals. */
  secrets: { name: string; value: string }[] = $state([]);
  /** Seconds, as typed; empty: no limit. */
  timeout = $state('');
  dryRun = $state(false);
  variables: Record<string, string> = $state({});
  error: Error | null = $state.raw(null);
  /** The command that is being sent, once that takes long enough to be told. */
  sending: string | null = $state(null);
  /** The command was entered while another keeps it waiting, and is sent when that has ended. */
  isNext = $state(false);
  #isSending = false;
  /** Newest first. */
  recent: string[] = $state.raw(keptRecent());

  /** The job that keeps the run buttons of the selected workspace disabled. */
  get blockedBy(): Job | undefined {
    const workspace = workspaces.selected;
    return workspace && !preferences.parallelRuns ? jobs.busyIn(workspace.id) : undefined;
  }

  /** Where a command runs: the chosen host, else the host of the workspace, else here (null). */
  get place(): HostId | null {
    return this.hostId ?? workspaces.selected?.hostId ?? null;
  }

  /** What a terminal shows cannot be masked. */
  get takesSecrets(): boolean {
    return !this.terminal || this.place !== null;
  }

  get canRun(): boolean {
    return !this.blockedBy;
  }

  /** How many of the folded options are set. */
  get optionCount(): number {
    const set = [this.env, this.timeout, this.directory].filter((value) => value.trim() !== '');
    return set.length + (this.takesSecrets && this.secrets.length > 0 ? 1 : 0);
  }

  /** Back to what the Makefile says. */
  resetVariable(name: string): void {
    this.variables = Object.fromEntries(Object.entries(this.variables).filter(([one]) => one !== name));
  }

  async runTarget(target: string): Promise<void> {
    const known = new Map(workspaces.targets?.variables.map(({ name, value }) => [name, value]));
    const changed = Object.entries(this.variables).filter(
      ([name, value]) => known.has(name) && known.get(name) !== value,
    );
    await this.#submit(makeCommand(target, { variables: Object.fromEntries(changed), dryRun: this.dryRun }));
  }

  async runCommand(): Promise<void> {
    const command = this.command.trim();
    this.isNext = command !== '' && !this.canRun;
    if (command === '' || this.isNext) return;
    const job = await this.#submit(command);
    if (!job) return;
    this.command = '';
    this.#remember(command);
  }

  /** An interactive shell in the selected workspace. */
  async openTerminal(): Promise<void> {
    await this.#send({ command: 'exec "${SHELL:-/bin/sh}" -i', type: 'terminal', ...this.#where(false) });
  }

  async rerun(job: Job): Promise<void> {
    const again = await jobs.rerun(job.id);
    if (again) view.open(again.id);
  }

  async #submit(command: string): Promise<Job | null> {
    if (!this.canRun) return null;
    try {
      return await this.#send({ command, ...this.#options() });
    } catch (error) {
      this.error = asError(error);
      return null;
    }
  }

  async #send(submission: JobSubmission): Promise<Job | null> {
    if (this.#isSending) return null;
    this.#isSending = true;
    // Mostly the answer is there first, and the page is drawn once instead of twice.
    const telling = setTimeout(() => (this.sending = submission.command), sayAfterMs);
    this.error = null;
    try {
      // Over the live connection it is there sooner; without one, the answer says what is wrong.
      const { job } =
        connection.state.phase === 'live'
          ? await connection.command('execute-command', submission)
          : await api.call('submitJob', { body: submission });
      jobs.noteStarted(job);
      if (job.type !== 'terminal') prepareLog({ job, connection, client: api });
      view.open(job.id);
      return job;
    } catch (error) {
      this.error = asError(error);
      return null;
    } finally {
      clearTimeout(telling);
      this.#isSending = false;
      this.sending = null;
    }
  }

  #options(): Omit<JobSubmission, 'command'> {
    const parsed = parseEnv(this.env);
    if ('wrong' in parsed)
      throw new CodedError('INVALID_INPUT', `Environment: “${parsed.wrong}” is not NAME=value.`);
    const timeout = this.timeout.trim() === '' ? 0 : Number(this.timeout);
    if (!Number.isFinite(timeout) || timeout < 0) {
      throw new CodedError('INVALID_INPUT', `Timeout: “${this.timeout}” is not a number of seconds.`);
    }
    const secrets = this.#secrets();
    return {
      ...this.#where(true),
      ...(Object.keys(parsed.env).length > 0 ? { env: parsed.env } : {}),
      ...(Object.keys(secrets).length > 0 ? { secrets } : {}),
      ...(timeout > 0 ? { timeout } : {}),
    };
  }

  #secrets(): Record<string, string> {
    if (!this.takesSecrets) return {};
    const given = this.secrets.filter(({ name, value }) => name.trim() !== '' || value !== '');
    for (const secret of given) {
      const wrong = secretError(secret);
      if (wrong)
        throw new CodedError('INVALID_INPUT', `Secret ${secret.name || 'without a name'}: ${wrong}.`);
    }
    return Object.fromEntries(given.map(({ name, value }) => [name.trim(), value]));
  }

  #where(withHost: boolean): Pick<JobSubmission, 'workspaceId' | 'cwd' | 'host' | 'type'> {
    const workspace = workspaces.selected;
    const host = withHost ? hosts.byId(this.place) : undefined;
    const cwd = this.directory.trim();
    // A local workspace's directory means nothing on a chosen host: there it is the given one, or the home.
    const elsewhere = host !== undefined && host.id !== workspace?.hostId;
    const type = host ? ('ssh' as const) : this.terminal ? ('terminal' as const) : ('stream' as const);
    return {
      ...(withHost ? { type } : {}),
      ...(elsewhere ? { host: host.name } : {}),
      ...(workspace && !elsewhere && (withHost || !workspace.hostId) ? { workspaceId: workspace.id } : {}),
      ...(cwd ? { cwd } : {}),
    };
  }

  #remember(command: string): void {
    this.recent = [command, ...this.recent.filter((one) => one !== command)].slice(0, recentMax);
    try {
      localStorage.setItem(recentKey, JSON.stringify(this.recent));
    } catch {
      // Then the arrow key finds it until the page is closed.
    }
  }
}

export const run = new RunState();
