import { CodedError } from '@vmo/contract';
import { UnreachableError } from '@vmo/client';

/** How `vmo` ends. With `run` and `submit --wait`, the command's own code stands in for these; see {@link waitCodes}. */
export const exitCodes = {
  ok: 0,
  /** What was asked for was done, and came out badly: an operation failed, a check found something. */
  failed: 1,
  usage: 2,
  unreachable: 3,
  /** Token missing, wrong, or not allowed to do this. */
  refused: 4,
  /** Nothing has this name or id, or several begin with it. */
  notFound: 5,
  /** It is not in a state that allows this. */
  conflict: 6,
  /** The server cannot do it now: its database is away, its disk full, or it has a fault. */
  serverTrouble: 7,
  interrupted: 130,
  terminated: 143,
  /** The reader of our output went away, as `head` does. */
  brokenPipe: 141,
} as const;

/** Where the code is the command's, these are what a command rarely uses: as those of timeout(1) and docker run. */
export const waitCodes = {
  timedOut: 124,
  /** There is no exit code: it could not be submitted or started, was lost, or the server stayed away. */
  none: 125,
  cancelled: 130,
} as const;

/** Ends the program with these words on standard error, and this code. */
export class CliError extends Error {
  readonly exitCode: number;
  /** What to do, on lines of their own. */
  readonly hints: readonly string[];

  constructor(
    message: string,
    exitCode: number = exitCodes.failed,
    { hints = [], cause }: { hints?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.hints = hints;
  }
}

/** The certificate of the server is not one that we trust. */
export const certificateCodes: readonly string[] = [
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/** Node's own code for why no answer came, as ECONNREFUSED; undefined: none is known. */
export function networkCode(error: UnreachableError): string | undefined {
  const cause = error.cause instanceof Error ? error.cause.cause : undefined;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
}

/** The code for an error of the server or of the way to it. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return error.exitCode;
  if (error instanceof UnreachableError) return exitCodes.unreachable;
  if (!(error instanceof CodedError)) return exitCodes.failed;
  const { status } = error;
  if (status === 401 || status === 403) return exitCodes.refused;
  if (status === 404) return exitCodes.notFound;
  if (status === 409) return exitCodes.conflict;
  if (status === 429 || status >= 500) return exitCodes.serverTrouble;
  return exitCodes.usage;
}
