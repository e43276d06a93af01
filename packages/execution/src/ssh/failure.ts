/** What went wrong with a connection, as far as it changes what a person has to do about it. */
export type SshFailureKind =
  | 'unreachable'
  | 'unknown-key'
  | 'changed-key'
  | 'refused'
  | 'no-shell'
  | 'misconfigured'
  /** Nothing that we know: a link that dropped, a server that closed the session. */
  | 'lost';

export interface SshFailure {
  kind: SshFailureKind;
  /** What happened and what to do, in one line. */
  message: string;
}

/** A connection that could not be made or did not hold. */
export class SshError extends Error {
  readonly kind: SshFailureKind;

  constructor({ kind, message }: SshFailure) {
    super(message);
    this.name = 'SshError';
    this.kind = kind;
  }
}

/** Of whatever was thrown; what is not ours is a link that did not hold. */
export function failureOf(error: unknown): SshFailure {
  if (error instanceof SshError) return { kind: error.kind, message: error.message };
  return { kind: 'lost', message: error instanceof Error ? error.message : String(error) };
}

/**
 * OpenSSH's own words, which are not translated, and what they mean (sshconnect.c, sshconnect2.c, readconf.c). The
 * first that matches counts: a changed key also says that the verification failed.
 */
const meanings: readonly (readonly [RegExp, SshFailureKind])[] = [
  [/REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY/, 'changed-key'],
  [/Host key verification failed|host key is known for/, 'unknown-key'],
  [/Permission denied \(|Too many authentication failures|not allowed at this time/, 'refused'],
  [/^ssh: (connect to host|Could not resolve)|kex_exchange_identification|banner exchange/m, 'unreachable'],
  [/Bad configuration option|Bad owner or permissions|terminating, \d+ bad|cannot be run:/, 'misconfigured'],
];

/**
 * Says what a failed session means.
 * @param name how people call the host
 * @param log what ssh wrote about it
 * @param noise the first words that the other side sent instead of what we asked for
 */
export function explainFailure(name: string, log: string, noise = ''): SshFailure {
  const said = lastLine(log);
  const kind = meanings.find(([words]) => words.test(log))?.[1] ?? (noise.trim() ? 'no-shell' : 'lost');
  return { kind, message: wordsOf(kind, name, said || lastLine(noise)) };
}

function wordsOf(kind: SshFailureKind, name: string, said: string): string {
  const because = said ? ` (${said})` : '';
  switch (kind) {
    case 'changed-key':
      return (
        `${name} presents another key than the trusted one: somebody may be in between (a possible attack), or it ` +
        'was installed anew. Ask its owner; only then open Hosts, test it and trust the new key'
      );
    case 'unknown-key':
      return `the key of ${name} is not trusted: open Hosts, test it, compare the fingerprint and trust it`;
    case 'refused':
      return `${name} refused the login${because}: check the user and the identity file, and that its public key is in ~/.ssh/authorized_keys there`;
    case 'unreachable':
      return `${name} cannot be reached${because}: check the address and port, and that its SSH server runs`;
    case 'no-shell':
      return `${name} gave no shell${because}: the user needs a login shell there that can run /bin/sh`;
    case 'misconfigured':
      return `the OpenSSH client does not work${because}: check that it is installed, and ~/.ssh/config`;
    case 'lost':
      return said ? `the connection to ${name} broke: ${said}` : `the connection to ${name} broke`;
  }
}

/** The last line that says something, without ssh's decoration. */
export function lastLine(text: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => line.replace(/[\p{Cc}\p{Cf}]/gu, '').trim())
    .filter((line) => line !== '' && !/^@+$/.test(line));
  return (lines.at(-1) ?? '').slice(0, 300);
}
