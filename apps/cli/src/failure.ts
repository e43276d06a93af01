import { CodedError } from '@vmo/contract';
import { UnreachableError } from '@vmo/client';
import { CommanderError } from 'commander';
import { certificateCodes, CliError, exitCodeOf, exitCodes, networkCode } from './exit-codes.ts';
import type { ServerAddress } from './find-server.ts';

/** How the program ends, and what it says before. */
export interface Failure {
  code: number;
  lines: string[];
}

/** What to do about it, where the error itself does not say. */
function hintsFor(error: unknown, address: () => ServerAddress | null): readonly string[] {
  if (error instanceof CliError) {
    return error.hints.length > 0 || error.cause === undefined ? error.hints : hintsFor(error.cause, address);
  }
  const server = address();
  if (!server) return [];
  if (error instanceof UnreachableError) {
    const code = networkCode(error) ?? '';
    if (certificateCodes.includes(code)) {
      return [
        `Its certificate is not trusted (${code}). One of an authority of yours: NODE_EXTRA_CA_CERTS=/path/ca.pem; one for another name: VMO_URL with that name.`,
      ];
    }
    // Somebody is there, who says something else or nothing in time: nothing has to be started.
    if (code === '') return [`The address is ${server.url} (${server.urlFrom}).`];
    return server.isAnnounced
      ? ['It has run here and was not stopped in order. To start it: vmo up']
      : [
          `The address is ${server.url} (${server.urlFrom}). To start a server here: vmo up. For one elsewhere: VMO_URL.`,
        ];
  }
  if (error instanceof CodedError && error.status === 401) {
    return server.token === null
      ? [
          `There is no token (${server.tokenFrom}): set VMO_TOKEN to what is in the file token of the server’s data directory.`,
        ]
      : [`The token came from ${server.tokenFrom}.`];
  }
  return [];
}

/** @param address where we went, if we know it */
export function describeFailure(error: unknown, address: () => ServerAddress | null): Failure {
  // Commander has said it already.
  if (error instanceof CommanderError) {
    return { code: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage, lines: [] };
  }
  const words = error instanceof Error ? error.message : String(error);
  const known = error instanceof CliError || error instanceof CodedError || error instanceof UnreachableError;
  const issues = error instanceof CodedError && error.issues.length > 1 ? error.issues : [];
  const lines = known
    ? issues.length > 0
      ? ['that cannot be:', ...issues.map(({ path, message }) => `${path}: ${message}`)]
      : [words, ...hintsFor(error, address)]
    : // What nobody has thought of is a bug: all of it, for whoever reports it.
      [`this should not have happened: ${error instanceof Error ? (error.stack ?? words) : words}`];
  return { code: exitCodeOf(error), lines };
}
