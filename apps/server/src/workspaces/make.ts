import { CodedError } from '@vmo/contract';

/** In the order in which make looks for them. */
export const makefileNames = ['GNUmakefile', 'makefile', 'Makefile'] as const;
/** How long make may read. */
export const makeTimeoutMs = 10_000;
/** What an outer make told its children does not concern ours. */
export const outerMakeVariables = [
  'MAKEFLAGS',
  'MFLAGS',
  'MAKELEVEL',
  'MAKEFILES',
  'MAKEFILE_LIST',
  'GNUMAKEFLAGS',
] as const;
const maxWords = 4_000;

/** Ends the reading of Makefiles; see `readDatabase`. */
const stopMark = '__vmo_all_read__';

export interface MakeResult {
  /** The one of `makefileNames` that make would take. */
  makefile: string;
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** When a file was last changed, and what else tells versions apart; null: it is not there. */
export type Stamp = string | null;

/** A directory of some machine, as far as make is concerned. Files are named as make does it: relative to it or absolute. */
export interface MakeDirectory {
  /** Equal for the same directory of the same machine. */
  readonly place: string;
  /**
   * Runs make, with `lastMakefile` read after the real one, or with the real one as its goal; null: there is no
   * Makefile.
   * @throws CodedError MAKE_FAILED where make cannot be run to its end, DIRECTORY_UNUSABLE, HOST_UNREACHABLE
   */
  run(args: readonly string[], lastMakefile: string | null): Promise<MakeResult | null>;
  /** In the order of `files`. */
  stamps(files: readonly string[]): Promise<Stamp[]>;
  /** In the order of `files`; the text of what is too large or cannot be read is empty. */
  read(files: readonly string[]): Promise<{ stamp: Stamp; text: string }[]>;
}

export const makeFailed = (words: string) =>
  new CodedError('MAKE_FAILED', words.trim().slice(0, maxWords) || 'make failed and did not say why');

/**
 * What make knows after it has read the Makefiles, in its own printed form; null: there is no Makefile.
 *
 * A last makefile ends make with an error as soon as everything is read; make prints its database also then. So no
 * goal is looked at and nothing of a recipe runs – which neither -n nor -q could promise, since lines with
 * `$(MAKE)` or `+` run in spite of them, and Makefiles are remade.
 * @throws CodedError MAKE_FAILED with make's own words, and what `run` throws
 */
export async function readDatabase(directory: MakeDirectory): Promise<MakeResult | null> {
  // --debug=v names every included file; without built-in rules the database is a tenth as long.
  const args = ['--print-data-base', '--no-builtin-rules', '--debug=v'];
  const result = await directory.run(args, `$(error ${stopMark})`);
  if (result && !result.stderr.includes(`*** ${stopMark}.`)) throw makeFailed(result.stderr);
  return result;
}

/**
 * Lets make make the files that the Makefile includes, as it does before every goal and every dry run. The Makefile
 * is the one goal for which nothing else is made.
 * @throws CodedError MAKE_FAILED with make's own words, and what `run` throws
 */
export async function remakeIncludes(directory: MakeDirectory): Promise<void> {
  const result = await directory.run(['--silent', '--no-builtin-rules'], null);
  if (result && result.exitCode !== 0) throw makeFailed(result.stderr);
}
