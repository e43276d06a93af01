import { mkdir } from 'node:fs/promises';
import { CodedError } from '@vmo/contract';
import { removeCgroup, type Cgroups } from '../cgroup.ts';
import { endStrays } from '../kill.ts';
import type { ProcessTable } from '../process.ts';
import { claimBeginning } from '../run-directory.ts';
import { StartError, type RunSpec, type Strategy } from '../run.ts';
import { HostGoneError } from './client.ts';
import { wordsOf } from './errors.ts';
import { externalTerminalCommand, openExternalTerminal } from './external.ts';
import { createHostLink, type HostLink } from './link.ts';
import { RequestError, ScreenAnswer, StartAnswer, type Request } from './protocol.ts';
import { TerminalRun } from './run.ts';
import type { Snapshot } from './screen.ts';

export interface TerminalStrategyOptions {
  table: ProcessTable;
  /** null: no control groups here; cancel sweeps instead. */
  cgroups: Cgroups | null;
  /** Where the agent's terminal host keeps its socket, lock and log. */
  hostDirectory: string;
  /** VMO_TERM_CMD: the command that opens a terminal emulator; empty: there is none. */
  termCmd: string;
  /** What the terminal emulator is started with (DISPLAY and the like). */
  environment: Readonly<Record<string, string>>;
}

/** What can be done with terminal jobs beyond starting and ending them. */
export interface TerminalAccess {
  /** The screen now, and the byte of stdout where the log goes on after it; null when the terminal is not live. */
  screen(jobId: string): Promise<Snapshot | null>;
  /**
   * Types. Resolves when the host has taken it: it is written in order and whole, as fast as the program reads.
   * @throws CodedError JOB_NOT_RUNNING, INPUT_NOT_READ (the program has left too much of it unread)
   */
  input(jobId: string, data: string): Promise<void>;
  /** @throws CodedError JOB_NOT_RUNNING */
  resize(jobId: string, cols: number, rows: number): Promise<void>;
  /**
   * Whether some browser is in control, whose terminal then answers the queries of the program. While none is, the
   * host answers. A terminal that is not live is no error: there is nothing left to answer.
   */
  control(jobId: string, controlled: boolean): Promise<void>;
  /** @throws CodedError NO_EXTERNAL_TERMINAL, JOB_NOT_RUNNING */
  openExternally(jobId: string): Promise<void>;
}

export interface TerminalStrategy extends Strategy {
  readonly access: TerminalAccess;
  /** Lets go of the host; the terminals go on. */
  close(): void;
}

/** Runs `sh -c command` on a terminal that is held by a process of its own; see `host.ts`. */
export function createTerminalSpawnStrategy(options: TerminalStrategyOptions): TerminalStrategy {
  const { table, cgroups, hostDirectory } = options;
  const link = createHostLink({ hostDirectory });

  return {
    type: 'terminal',
    access: createTerminalAccess(link, options),
    close: () => {
      link.close();
    },

    async start(spec) {
      await mkdir(spec.directory, { recursive: true, mode: 0o700 });
      const cgroup = cgroups ? await cgroups.create(spec.jobId) : null;
      const request: Request = {
        request: 'start',
        jobId: spec.jobId,
        directory: spec.directory,
        command: spec.command,
        cwd: spec.cwd ?? '/',
        env: { ...spec.env },
        cols: spec.cols,
        rows: spec.rows,
        cgroup,
      };
      const startedAt = await begin(link, spec, request).catch((error: unknown) => {
        if (cgroup !== null) void removeCgroup(cgroup);
        throw error;
      });
      return new TerminalRun({ spec, table, cgroup, link, startedAt });
    },

    async adopt(spec) {
      if (await claimBeginning(spec.directory)) return null;
      const run = new TerminalRun({
        spec,
        table,
        cgroup: cgroups?.path(spec.jobId) ?? null,
        link,
        startedAt: new Date(),
      });
      // To hear of its end. Where there is no host any more, the run finds out by itself.
      await link.connect(false).catch(() => undefined);
      return run;
    },

    endStrays: (jobId) => endStrays(jobId, options),
  };
}

/** Has the host start it. Where the answer was lost with the connection, the run directory knows whether it began. */
async function begin(link: HostLink, spec: RunSpec, request: Request): Promise<Date> {
  try {
    const host = await link.connect(true);
    return new Date(StartAnswer.parse(await host.request(request)).startedAt);
  } catch (error) {
    // Refused: the command did not begin, and the host has seen to it that it never will.
    if (error instanceof RequestError) throw new StartError(error.message, { cause: error });
    if (await claimBeginning(spec.directory))
      throw new StartError(`no terminal could be started: ${wordsOf(error)}`, { cause: error });
    return new Date();
  }
}

function createTerminalAccess(link: HostLink, options: TerminalStrategyOptions): TerminalAccess {
  async function ask(request: Request): Promise<unknown> {
    try {
      const host = await link.connect(false);
      return await host.request(request);
    } catch (error) {
      if (error instanceof HostGoneError)
        throw new CodedError('JOB_NOT_RUNNING', 'its terminal is gone', { cause: error });
      if (error instanceof RequestError && error.code === 'unknown')
        throw new CodedError('JOB_NOT_RUNNING', 'its terminal has ended', { cause: error });
      if (error instanceof RequestError && error.code === 'full')
        throw new CodedError('INPUT_NOT_READ', error.message, { cause: error });
      throw error;
    }
  }
  /** null where the terminal is not live. */
  async function askIfLive(request: Request): Promise<unknown> {
    return ask(request).catch((error: unknown) => {
      if (error instanceof CodedError) return null;
      throw error;
    });
  }
  return {
    async screen(jobId) {
      const answer = await askIfLive({ request: 'screen', jobId });
      if (answer === null) return null;
      const { data, cols, rows, offset } = ScreenAnswer.parse(answer);
      return { data, cols, rows, offset };
    },
    async input(jobId, data) {
      await ask({ request: 'input', jobId, data });
    },
    async resize(jobId, cols, rows) {
      await ask({ request: 'resize', jobId, cols, rows });
    },
    async control(jobId, controlled) {
      await askIfLive({ request: 'control', jobId, controlled });
    },
    async openExternally(jobId) {
      const command = externalTerminalCommand(options.termCmd, await link.socketPath(), jobId);
      // The window would open and close again.
      if ((await askIfLive({ request: 'screen', jobId })) === null)
        throw new CodedError('JOB_NOT_RUNNING', 'its terminal has ended');
      await openExternalTerminal(command, options.environment);
    },
  };
}
