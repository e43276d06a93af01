import { mkdir } from 'node:fs/promises';
import { StartError, type RunSpec, type Strategy } from '../run.ts';
import { newAttempt, readAttempt, writeAttempt, type Attempt } from './attempt.ts';
import { checkTarget, createSshClient, type SshClient, type SshClientOptions } from './client.ts';
import { failureOf } from './failure.ts';
import { Mirror } from './mirror.ts';
import { SshRun } from './run.ts';

export interface SshStrategyOptions extends SshClientOptions {
  /** Shares connections with others; absent: one of its own, after the other options. */
  client?: SshClient;
  /** Use control groups on hosts where they can be had; default true. */
  cgroups?: boolean;
}

/**
 * Runs `sh -c command` on a host, detached there under the protocol of `wrapper.ts`: a link that drops or a restart of
 * ours loses nothing. The host's spool is mirrored into the local run directory as it grows.
 */
export function createSshStreamStrategy(options: SshStrategyOptions): Strategy {
  const client = options.client ?? createSshClient(options);
  const { cgroups = true } = options;

  function createRun(spec: RunSpec, attempt: Attempt, adopted: boolean): SshRun {
    if (!spec.host) throw new StartError('this job names no host');
    return new SshRun({ spec, target: spec.host, client, cgroups, attempt, adopted });
  }

  return {
    type: 'ssh',

    async start(spec) {
      check(spec);
      await mkdir(spec.directory, { recursive: true, mode: 0o700 });
      await (await Mirror.open(spec.directory)).close();
      // Known here before the host is asked: whoever comes after us asks for this very attempt.
      const attempt = newAttempt(spec.jobId);
      await writeAttempt(spec.directory, attempt);
      const run = createRun(spec, attempt, false);
      await run.decided;
      return run;
    },

    /**
     * null: no host was ever asked. An attempt that was made goes on: the host says whether it began, and whether it
     * can begin now is decided by one directory there, so that it never begins twice.
     */
    async adopt(spec) {
      const attempt = await readAttempt(spec.directory);
      return attempt === null ? null : createRun(spec, attempt, true);
    },
  };
}

/** What can be wrong with a job before any host is asked. */
function check({ host, env, command, cwd }: RunSpec): void {
  if (!host) throw new StartError('this job names no host');
  try {
    checkTarget(host);
  } catch (error) {
    throw new StartError(failureOf(error).message);
  }
  const bad = Object.keys(env).find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  if (bad !== undefined) throw new StartError(`${JSON.stringify(bad)} is no name of a variable`);
  if ([command, cwd ?? '', ...Object.values(env)].some((text) => text.includes('\0')))
    throw new StartError('the command, its directory or its variables hold a NUL');
}
