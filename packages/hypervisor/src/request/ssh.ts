import { runProgram, findProgram, lastWords } from '../program.ts';
import { DriverError, type SshAccess } from '../driver.ts';
import { startScript } from './scripts.ts';

/** Also for the exchange of keys, which takes a guest without KVM seconds. */
const connectSeconds = 25;
const attemptMs = 60_000;
/** What ssh itself says, not the guest. */
const sshFailed = 255;

export interface SshStart {
  user: string;
  access: SshAccess;
  script: string;
  /** A guest that has a runner of its own gets so long to start it. */
  afterSeconds: number;
}

/**
 * Logs in and starts the runner there.
 * @returns null: it is started; else why not, in words of ssh or the guest
 * @throws DriverError impossible; the signal's reason
 */
export async function startOverSsh(start: SshStart, signal: AbortSignal): Promise<string | null> {
  const { access, user, script, afterSeconds } = start;
  const ssh = findProgram('ssh');
  const env = findProgram('env');
  if (ssh === null || env === null) {
    throw new DriverError('impossible', 'ssh (openssh-client) is missing');
  }
  const options = {
    // Another key at every boot is what a throw-away guest is expected to have, and it is reached within this host.
    ...{ StrictHostKeyChecking: 'no', UserKnownHostsFile: '/dev/null', GlobalKnownHostsFile: '/dev/null' },
    ...{ ConnectTimeout: String(connectSeconds), LogLevel: 'ERROR', NumberOfPasswordPrompts: '1' },
    ...{ IdentitiesOnly: 'yes', IdentityAgent: 'none', ControlPath: 'none' },
    ...(access.keyFile === null
      ? { PreferredAuthentications: 'keyboard-interactive,password' }
      : { IdentityFile: access.keyFile, PreferredAuthentications: 'publickey' }),
  };
  const end = await runProgram(
    env,
    [
      ...(access.askFile === null
        ? []
        : [`SSH_ASKPASS=${access.askFile}`, 'SSH_ASKPASS_REQUIRE=force', 'DISPLAY=:0']),
      ...[ssh, '-F', 'none', '-T', '-p', String(access.port)],
      ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
      ...[`${user}@127.0.0.1`, startScript('ssh', afterSeconds)],
    ],
    { timeoutMs: attemptMs + afterSeconds * 1000, input: script, signal, diesWithUs: true },
  );
  if (end.code === 0) return null;
  const words = lastWords(end);
  return end.code === sshFailed || words !== '' ? words : `it ended with exit code ${String(end.code)}`;
}
