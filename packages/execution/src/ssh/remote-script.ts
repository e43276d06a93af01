import { createHash } from 'node:crypto';
import type { Offsets } from '@vmo/contract';
import { jobMark } from '../process.ts';
import { wrapperText } from '../wrapper.ts';
import { head, killing, names, processes, quote, type RemoteRun } from './remote-shell.ts';

/**
 * What runs on a host, in POSIX sh: sent to `/bin/sh -s` over stdin, so that no login shell's syntax, no command line
 * of this machine and no file of an older version is in the way. Variables begin with an underscore, since those of
 * the job's environment must stay as they are.
 *
 * The other side's part of a run is in ~/.vmo/runs/<name>, laid out as `wrapper.ts` says, and:
 *   cgroup    path of the control group, where one could be had
 *   follower  pid of the shell that sends the output to us; a new one ends the one before
 *   begun/given-up  we decided that the command shall never begin
 */

/** Days after which what was left of a run is removed: it had ended, and nobody came for it. */
const leftoverDays = 14;

const wrapperName = `wrapper-${createHash('sha256').update(wrapperText).digest('hex').slice(0, 12)}.sh`;

/** Names that some shells do not let anybody set: then the variable stays as it is, and the job starts. */
const readonlyNames = /^(UID|EUID|GID|EGID|PPID|GROUPS|SHELLOPTS|BASHOPTS|BASH_VERSINFO|LINENO|RANDOM|_)$/;

export interface RemoteStart {
  command: string;
  /** Absolute, or `~`, or `~/…`; null: the home directory. */
  cwd: string | null;
  env: Readonly<Record<string, string>>;
}

function exports(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .map(([name, value]) => {
      const set = `export ${name}=${quote(value)}`;
      return readonlyNames.test(name) ? `(${set}) && ${set}` : set;
    })
    .join('\n');
}

function directoryWord(cwd: string | null): string {
  if (cwd === null || cwd === '~') return '"$HOME"';
  return cwd.startsWith('~/') ? `"$HOME"/${quote(cwd.slice(2))}` : quote(cwd);
}

/** Begins the command, in a session of its own, or does nothing when it has begun. */
const launching = (run: RemoteRun, { command, cwd, env }: RemoteStart, cgroups: boolean) => `
_launch() {
  [ ! -e "$_run/begun" ] || return 0
  _directory=${directoryWord(cwd)}
  [ -e "$_directory" ] || _fail missing
  [ -d "$_directory" ] || _fail file
  (cd "$_directory") || _fail closed
  mkdir -p "$_run" && printf '' >>"$_run/stdout" && printf '' >>"$_run/stderr" || _fail home
  if [ ! -s "$_root/${wrapperName}" ]; then
    cat >"$_root/${wrapperName}.$$" <<'VMO_WRAPPER_ENDS' && mv -f "$_root/${wrapperName}.$$" "$_root/${wrapperName}" || _fail home
${wrapperText}VMO_WRAPPER_ENDS
  fi
  ${cgroups ? '_make_cgroup' : ':'}
  set -- /bin/sh "$_root/${wrapperName}" "$_run" "$_directory" "\${_cgroup:--}" ${quote(command)}
  if _tool=$(command -v setsid); then
    set -- "$_tool" "$@"
  elif _tool=$(command -v perl); then
    set -- "$_tool" -e 'use POSIX; POSIX::setsid(); exec { $ARGV[0] } @ARGV' "$@"
  fi
  (
    exec 3<&- 4>&- </dev/null >/dev/null
    umask "$_umask"
    ${exports({ ...env, [jobMark]: run.jobId })}
    exec "$@"
  ) &
  _launched=$!
  until [ -e "$_run/begun" ] || ! kill -0 "$_launched"; do _nap 0.01; done
  # What nobody came for goes; a run without a record stays as long as its wrapper could live.
  (
    find "$_root" -mindepth 1 -maxdepth 1 -type d -mtime +${leftoverDays} | while read -r _old; do
      [ ! -f "$_old/exit" ] && [ -f "$_old/pid" ] || rm -rf "$_old"
    done
    # A group that still holds a process cannot be removed.
    [ -z "$_cgroup" ] || find "\${_cgroup%/*}" -mindepth 1 -maxdepth 1 -type d -mmin +60 -exec rmdir {} +
  ) </dev/null >/dev/null 3<&- 4>&- &
}
_make_cgroup() {
  while read -r _ _mount _type _; do [ "$_type" != cgroup2 ] || break; done </proc/mounts
  [ "$_type" = cgroup2 ] || return 0
  while IFS=: read -r _id _ _own; do [ "$_id" != 0 ] || break; done </proc/self/cgroup
  _cgroup=$_mount\${_own%/}/vmo/$_name
  if mkdir -p "$_cgroup" && [ -w "$_cgroup/cgroup.kill" ] && (echo 0 >"$_cgroup/cgroup.procs"); then
    printf '%s\\n' "$_cgroup" >"$_run/cgroup"
  else
    rmdir "$_cgroup"
    _cgroup=
  fi
}
`;

/**
 * Starts the run (or, without \`start\`, only finds it) and sends its output until it has ended and been taken over.
 *
 * stdout: noise · ready · [go <stdout bytes we have> <stderr bytes>] → \`state …\` lines · raw output · how it ended ·
 * then, as we ask, [range <from> <from>] → raw · or [done], which removes the run directory.
 * stderr: noise · raw output · raw output of the range.
 */
export function followScript(
  nonce: string,
  run: RemoteRun,
  start: RemoteStart | null,
  cgroups: boolean,
): string {
  return `_main() {
${head(nonce)}${names(run)}${processes}${killing}
_fail() { printf 'fail %s\\n' "$1"; _mark; exit 0; }
${start ? launching(run, start, cgroups) : ''}
_mark
read -r _verb _out _err <&3
[ "$_verb" = go ] || exit 0
[ ! -e "$_run/begun/given-up" ] || _fail given-up
_launched=
${start ? '_launch' : ''}
if [ ! -e "$_run/begun" ]; then
  ! mkdir "$_run/begun" || { mkdir "$_run/begun/given-up"; _fail nothing; }
  [ -e "$_run/begun" ] || _fail absent
fi
if [ -f "$_run/follower" ] && read -r _old <"$_run/follower"; then
  case $(tr '\\0' ' ' <"/proc/$_old/cmdline" || ps -o args= -p "$_old") in *"$_name"*) kill -s USR1 "$_old" ;; esac
fi
echo $$ >"$_run/follower"
echo state begun
_mark
_mark >&4

_often=
! tail -s 0.1 -c +1 /dev/null || _often='-s 0.1'
tail $_often -c +$((_out + 1)) -f "$_run/stdout" &
_tails=$!
tail $_often -c +$((_err + 1)) -f "$_run/stderr" >&4 &
_tails="$_tails $!"
_stop() { kill $_tails $_ear; wait $_tails $_ear; }
trap '_stop; exit 0' USR1
# The other end of the line has gone when nothing can be read from it any more.
(
  while read -r _; do :; done
  kill -s USR1 $$
) <&3 >/dev/null 4>&- &
_ear=$!

_settled() {
  [ ! -f "$_run/exit" ] || { _state=ended; return 0; }
  if [ -s "$_run/pid" ]; then
    ! _wrapper_lives || return 1
  else
    _looks=$((_looks + 1))
    [ -d "$_run" ] && [ "$_looks" -lt 50 ] && return 1
  fi
  _state=lost
  [ ! -f "$_run/exit" ] || _state=ended
}
_looks=0
[ -z "$_launched" ] || wait "$_launched"
until _settled; do _nap 0.2; done
trap - USR1
_stop
_mark
_mark >&4
printf 'state %s\\n' "$_state"
printf 'out %s\\nerr %s\\n' $(wc -c <"$_run/stdout") $(wc -c <"$_run/stderr")
if [ "$_state" = ended ]; then
  # The record is there before its writer has gone.
  for _wait in 1 2 3 4 5 6 7 8 9; do
    _wrapper_lives || break
    _nap 0.02
  done
  if [ -n "$_cgroup" ]; then
    for _p in $(_in_cgroup); do
      read -r _stat <"/proc/$_p/stat" && _comm=\${_stat#*(} && echo "leftover $_p \${_comm%)*}"
    done
  else
    _members | while read -r _p _ _ _comm; do echo "leftover $_p $_comm"; done
  fi
  while read -r _line; do echo "record $_line"; done <"$_run/exit"
else
  [ -d "$_run" ] || echo 'why removed'
  _boot
  ! _identify || [ "$_since" = "$_boot" ] || echo 'why restarted'
  _kill_all
fi
_mark
while read -r _verb _out _err _outs _errs <&3; do
  case $_verb in
  range)
    [ "$_outs" = 0 ] || tail -c +$((_out + 1)) "$_run/stdout" | head -c "$_outs"
    [ "$_errs" = 0 ] || tail -c +$((_err + 1)) "$_run/stderr" | head -c "$_errs" >&4
    _mark
    _mark >&4
    ;;
  done)
    rm -rf "$_run"
    # What was killed leaves its group a moment later.
    for _wait in 1 2 3 4 5 6 7 8 9; do
      [ -n "$_cgroup" ] && [ -d "$_cgroup" ] || break
      find "$_cgroup" -depth -type d -exec rmdir {} + || _nap 0.1
    done
    exit 0
    ;;
  esac
done
}
_main
`;
}

/**
 * The cancel ladder on the other side, which goes on when the link drops: SIGTERM (and SIGCONT) to the group and to
 * members that have left it, time for an orderly end, SIGKILL to everything. A run that has not begun never will.
 *
 * stdout: noise · \`claimed\` or \`group …\`, \`term …\`, \`kill …\` lines · end
 * @param begun it is known that it did: then nothing is claimed
 */
export function cancelScript(nonce: string, run: RemoteRun, graceMs: number, begun: boolean): string {
  return `_main() {
trap '' HUP PIPE TERM
${head(nonce)}${names(run)}${processes}${killing}
_ladder() {
  ! { ${begun ? 'false' : 'mkdir -p "$_run" && mkdir "$_run/begun"'}; } || mkdir "$_run/begun/given-up"
  [ ! -d "$_run/begun/given-up" ] || { echo claimed; return; }
  _tries=0
  until [ ! -e "$_run/begun" ] || [ -s "$_run/pid" ] || [ -f "$_run/exit" ] || [ "$_tries" -ge 50 ]; do
    _tries=$((_tries + 1))
    _nap 0.02
  done
  _now
  _end=$((_now + ${Math.ceil(graceMs / 10)}))
  _m=$(_members)
  _group=0
  ! _wrapper_lives || _group=$_pid
  [ -n "$_m" ] || [ "$_group" != 0 ] || return
  _others=$(printf '%s\\n' "$_m" | awk -v group="$_group" '$2 != group { print $1 }')
  for _signal in TERM CONT; do
    [ "$_group" = 0 ] || kill -s "$_signal" -- "-$_group"
    [ -z "$_others" ] || kill -s "$_signal" $_others
  done
  echo "group $_group"
  printf '%s\\n' "$_m" | _tell term
  set -- 0.02 0.03 0.05 0.1
  while _alive; do
    _now
    [ "$_now" -lt "$_end" ] || { _kill_all; return; }
    _nap "$1"
    [ "$#" = 1 ] || shift
  done
}
_mark
_ladder
_mark
}
_main
`;
}

/**
 * Stops or continues everything of the run on the other side.
 *
 * stdout: noise · \`signalled\` or nothing · end
 */
export function signalScript(nonce: string, run: RemoteRun, signal: 'STOP' | 'CONT'): string {
  return `_main() {
${head(nonce)}${names(run)}${processes}${killing}
_mark
_group=0
! _wrapper_lives || _group=$_pid
_others=$(_members | awk -v group="$_group" '$2 != group { print $1 }')
[ "$_group" = 0 ] || { kill -s ${signal} -- "-$_group" && echo signalled; }
[ -z "$_others" ] || { kill -s ${signal} $_others; echo signalled; }
_mark
}
_main
`;
}

/**
 * Gives what stands before these bytes of the spool back to the disk of the host (null: nothing), and tells how long the
 * spool is. Sizes and offsets stay.
 *
 * stdout: noise · \`cannot\` or nothing, \`size <stdout> <stderr>\` · end
 */
export function freeScript(
  nonce: string,
  run: RemoteRun,
  before: Pick<Offsets, 'stdout' | 'stderr'> | null,
): string {
  return `_main() {
${head(nonce)}${names(run)}
_free() { [ "$1" = 0 ] || [ ! -f "$2" ] || fallocate -p -o 0 -l "$1" "$2" || echo cannot; }
_mark
${before ? `_free ${before.stdout} "$_run/stdout"; _free ${before.stderr} "$_run/stderr"` : ''}
printf 'size %s %s\\n' $(wc -c <"$_run/stdout") $(wc -c <"$_run/stderr")
_mark
}
_main
`;
}

/**
 * Runs a script there with its own stdin, and tells its exit code after its output. Without \`stdin\` it and what it
 * started end with the session.
 *
 * stdout: noise · raw output · \`code n\` · end. stderr: noise · raw output · end.
 */
export function callScript(nonce: string, script: string, stdin: boolean): string {
  const run = stdin
    ? `/bin/sh -c ${quote(script)} <&3 2>&4 3<&- 4>&-
_code=$?`
    : `_tool=$(command -v setsid)
$_tool /bin/sh -c ${quote(script)} </dev/null 2>&4 3<&- 4>&- &
_child=$!
(
  while read -r _; do :; done
  kill -s KILL -- "-$_child" || kill -s KILL "$_child"
) <&3 >/dev/null 4>&- &
_ear=$!
wait "$_child"
_code=$?
kill "$_ear"`;
  return `_main() {
${head(nonce)}
umask "$_umask"
_mark
_mark >&4
${run}
_mark
_mark >&4
echo "code $_code"
_mark
exit 0
}
_main
`;
}
