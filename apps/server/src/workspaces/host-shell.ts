import { CodedError, type Host } from '@vmo/contract';

export interface HostAnswer {
  code: number;
  stdout: string;
  stderr: string;
  /** There was more than `maxBytes`; the script was ended. */
  truncated: boolean;
}

/** What this domain needs of other machines. */
export interface HostShell {
  /**
   * Runs a script of POSIX sh on a host, without input, to its end.
   * @param limits milliseconds with the connection, and bytes of stdout and of stderr
   * @throws CodedError HOST_UNREACHABLE, HOST_KEY_UNTRUSTED
   */
  run(host: Host, script: string, limits?: { timeoutMs?: number; maxBytes?: number }): Promise<HostAnswer>;
}

/** One word for a POSIX shell, whatever it holds but NUL. */
export const quoted = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** Prints the directory's real place, or says on stderr what is wrong with it. */
const checkScript = `
  [ -e "$d" ] || { echo 'does not exist' >&2; exit 1; }
  [ -d "$d" ] || { echo 'is not a directory' >&2; exit 1; }
  cd "$d" 2>/dev/null && [ -r . ] || { echo 'is not readable' >&2; exit 1; }
  pwd`;

/**
 * Looks at a directory of a host.
 * @returns its absolute path there
 * @throws CodedError DIRECTORY_UNUSABLE with the reason, HOST_UNREACHABLE, HOST_KEY_UNTRUSTED
 */
export async function checkHostDirectory(shell: HostShell, host: Host, directory: string): Promise<string> {
  const home = /^~(\/.*)?$/s.exec(directory);
  const path = home ? `"$HOME"${quoted(home[1] ?? '')}` : quoted(directory);
  const { code, stdout, stderr } = await shell.run(host, `d=${path}\n${checkScript}`);
  if (code === 0) return stdout.replace(/\n$/, '');
  throw new CodedError(
    'DIRECTORY_UNUSABLE',
    `${directory} on ${host.name} ${stderr.trim() || 'cannot be looked at'}`,
  );
}
