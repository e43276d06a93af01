import { randomUUID } from 'node:crypto';
import { CodedError, type Host } from '@vmo/contract';
import { quoted, type HostAnswer, type HostShell } from './host-shell.ts';
import {
  makeFailed,
  makefileNames,
  makeTimeoutMs,
  outerMakeVariables,
  type MakeDirectory,
  type Stamp,
} from './make.ts';

/** A database on its way over a network; without built-in rules that of a large project has one or two. */
const maxOutputBytes = 16 * 1024 * 1024;
/** Of all Makefiles together. */
const maxSourceBytes = 8 * 1024 * 1024;
/** The connection, the login there, and make. */
const timeoutMs = makeTimeoutMs + 15_000;
/** A script is one argument of a shell there, which Linux allows 128 KiB. */
const maxNamesBytes = 64 * 1024;

/** What make itself never ends with. */
const exits = { noDirectory: 101, noMakefile: 102, noMake: 103 } as const;
const lateMark = '__vmo_late__';

const enter = (directory: string) => `cd -- ${quoted(directory)} 2>/dev/null || exit ${exits.noDirectory}`;

/** Not `-f -`: of that make leaves a temporary file behind. */
function makeCommand(args: readonly string[], lastMakefile: string | null): string {
  const make = `make ${args.map(quoted).join(' ')} -f "$_file"`;
  if (lastMakefile === null) return `${make} "$_file" </dev/null`;
  return `printf '%s\\n' ${quoted(lastMakefile)} | ${make} -f /dev/stdin`;
}

/**
 * The first line of stdout is the name of the Makefile, the rest make's own. Programs that a Makefile starts by
 * $(shell …) must not outlive the limit: where the script has a process group of its own, all of it goes.
 */
const makeScript = (directory: string, args: readonly string[], lastMakefile: string | null) => `
${enter(directory)}
_file=
for _name in ${makefileNames.join(' ')}; do
  if [ -e "$_name" ]; then _file=$_name; break; fi
done
[ -n "$_file" ] || exit ${exits.noMakefile}
command -v make >/dev/null || exit ${exits.noMake}
printf '%s\\n' "$_file"
unset ${outerMakeVariables.join(' ')}
LC_ALL=C
export LC_ALL
${makeCommand(args, lastMakefile)} &
_make=$!
(
  _nap=
  trap 'kill $_nap; exit' TERM
  sleep ${makeTimeoutMs / 1000} 2>/dev/null &
  _nap=$!
  wait "$_nap"
  echo ${lateMark} >&2
  kill -s KILL -- "-$$" || kill -s KILL "$_make"
) >/dev/null &
_guard=$!
wait "$_make"
_code=$?
kill "$_guard"
exit "$_code"`;

/** For each file a line with the mark and the stamp, then, if asked for, its text. */
const readScript = (directory: string, files: readonly string[], mark: string, texts: boolean) => `
${enter(directory)}
_left=${texts ? maxSourceBytes : 0}
for _file in ${files.map((file) => quoted(file.startsWith('/') ? file : `./${file}`)).join(' ')}; do
  printf '\\n%s ' ${mark}
  [ -e "$_file" ] || { echo; continue; }
  # GNU and BusyBox, then BSD and macOS, then whoever has neither.
  stat -L -c '%y %s %i' -- "$_file" 2>/dev/null || stat -L -f '%Fm %z %i' -- "$_file" 2>/dev/null ||
    ls -lLdn -- "$_file" 2>/dev/null || echo '?'
  if [ "$_left" -gt 0 ] && [ -f "$_file" ] && [ -r "$_file" ]; then
    _size=$(wc -c <"$_file")
    if [ "$_size" -le "$_left" ]; then
      _left=$((_left - _size))
      cat -- "$_file"
    fi
  fi
done
exit 0`;

/** As many as one script can name. */
function nameable(files: readonly string[]): string[] {
  let size = 0;
  return files.filter((file) => (size += Buffer.byteLength(quoted(quoted(file)))) <= maxNamesBytes);
}

/** A directory of another machine. Each of its functions is one round trip. */
export function hostMakeDirectory(shell: HostShell, host: Host, directory: string): MakeDirectory {
  const { id, address, user, port, identityFile } = host;

  async function ask(script: string): Promise<HostAnswer> {
    const answer = await shell.run(host, script, { timeoutMs, maxBytes: maxOutputBytes });
    if (answer.code === exits.noDirectory)
      throw new CodedError('DIRECTORY_UNUSABLE', `${directory} on ${host.name} cannot be entered`);
    if (answer.truncated)
      throw makeFailed(`make writes more than ${String(maxOutputBytes)} bytes about ${directory}`);
    return answer;
  }

  async function look(files: readonly string[], texts: boolean): Promise<{ stamp: Stamp; text: string }[]> {
    const mark = randomUUID();
    const { stdout } = await ask(readScript(directory, nameable(files), mark, texts));
    const found = stdout
      .split(`\n${mark} `)
      .slice(1)
      .map((part) => {
        const [stamp = ''] = part.split('\n', 1);
        return { stamp: stamp === '' ? null : stamp, text: part.slice(stamp.length + 1) };
      });
    return files.map((_file, index) => found[index] ?? { stamp: null, text: '' });
  }

  return {
    // Of a host whose settings change, another one.
    place: JSON.stringify([id, address, user, port, identityFile, directory]),

    async run(args, lastMakefile) {
      const { code, stdout, stderr } = await ask(makeScript(directory, args, lastMakefile));
      if (code === exits.noMakefile) return null;
      if (code === exits.noMake)
        throw makeFailed(
          `make is not there on ${host.name}: install it, or put it in the PATH of logins without a terminal`,
        );
      const end = stdout.indexOf('\n');
      const makefile = stdout.slice(0, end);
      if (stderr.includes(lateMark)) {
        const seconds = String(makeTimeoutMs / 1000);
        throw makeFailed(`make on ${host.name} did not finish reading ${makefile} within ${seconds} s`);
      }
      return { makefile, exitCode: code, stdout: stdout.slice(end), stderr };
    },

    stamps: async (files) => (await look(files, false)).map(({ stamp }) => stamp),
    read: (files) => look(files, true),
  };
}
