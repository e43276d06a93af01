import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Exit code of a wrapper that found the run begun, by another wrapper or by whoever gave it up. */
export const notOurs = 3;

/**
 * The program that runs beside every job, in POSIX sh: the same text here, on a host over SSH, and in a guest.
 *
 *   sh wrapper <run directory> <working directory> <cgroup or -> <command>
 *
 * It must be started as the leader of its own session; the run directory must exist, closed to others (0700). Its part
 * of it:
 *   begun           made before the command begins. Making it is atomic: whoever makes it decides. If somebody else
 *                   made it, the run was given up and must not begin.
 *   pid             identity of the wrapper: pid, start time and boot id, since pids come round again. One write: it is
 *                   empty or whole.
 *   stdout, stderr  the spool: the command writes to these files itself; no process of ours is in between.
 *   exit            how it ended, written to a temporary name whose room was taken before the command began, synced,
 *                   renamed: there whole or not at all.
 *
 * What comes before the command starts no program but the shell: each takes some 2 ms, for which a person waits.
 *
 * The command runs in the foreground, so that it inherits no ignored signals. SIGTERM goes to the whole process
 * group; the wrapper traps it (a trap is not inherited, an ignored signal would be) and lives to write the record.
 */
export const wrapperText = `#!/bin/sh
set -u
# Names with an underscore: assigning to a variable of the job's environment would change it for the job.
_run=$1 _directory=$2 _cgroup=$3 _command=$4 _told= _now=
trap _told=1 HUP INT QUIT TERM
trap : PIPE USR1 USR2 ALRM
# A job may set PATH to anything; the programs below are the system's.
_own=\${PATH+set} _path=\${PATH-}
PATH=/usr/bin:/bin:/usr/sbin:/sbin:$_path

# The sweep of a cancel can hit these helpers: they are tried again.
_now() {
  for _try in 1 2 3 4 5 6 7 8 9; do _now=$(date +%s.%N) && return; done
}
_since() { # the time of its beginning, which is that of the file with its identity
  for _try in 1 2 3 4 5 6 7 8 9; do _started=$(date -r "$_run/pid" +%s.%N 2>/dev/null) && return; done
  _started=$_now
}
_deafen() { # it is over: signals could only spoil the record, and what is ignored is inherited by the helpers
  trap '' HUP INT QUIT TERM PIPE USR1 USR2 ALRM
}
_record() { # words: written whole or not at all
  printf '%s\\n' "$1" 2>/dev/null 1<>"$_run/exit.tmp" || return
  sync "$_run/exit.tmp" 2>/dev/null
  for _try in 1 2 3 4 5 6 7 8 9; do mv -f "$_run/exit.tmp" "$_run/exit" 2>/dev/null && return; done
}
_field20() {
  shift 19
  _start=$1
}

set -C
{ true >"$_run/begun"; } 2>/dev/null || exit ${notOurs}
set +C

# Before anybody knows who we are, so before anybody signals the group.
if { read -r _boot </proc/sys/kernel/random/boot_id && read -r _stat </proc/$$/stat; } 2>/dev/null; then
  _field20 \${_stat##*) }
else
  _boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null || echo unknown)
  _start=$(LC_ALL=C TZ=UTC ps -o lstart= -p $$)
fi
printf 'pid=%s\\nstart=%s\\nboot=%s\\n' "$$" "$_start" "$_boot" >"$_run/pid"

# Taken while there is some: a command that fills the disk must still be able to say so, and we how it ended. The room
# for its words beside the command: fallocate(1) waits for the disk, by which everything started 5 to 20 ms later.
printf '%1024s\\n' '' 2>/dev/null >"$_run/exit.tmp"
{ : >>"$_run/stderr"; } 2>/dev/null
fallocate -n -l 4096 "$_run/stderr" >/dev/null 2>&1 &
_room=$!

if ! cd "$_directory" 2>/dev/null; then
  _record "error=directory"
  exit 0
fi

if [ -n "$_told" ]; then # asked to end before there was anything to end
  _deafen
  _now
  _record "code=143
started=$_now
ended=$_now"
  exit 0
fi
(
  if [ "$_cgroup" != - ]; then echo 0 >"$_cgroup/cgroup.procs"; fi 2>/dev/null
  if [ -n "$_own" ]; then PATH=$_path; else unset PATH; fi
  exec /bin/sh -c -- "$_command"
) </dev/null >>"$_run/stdout" 2>>"$_run/stderr"
_code=$?
_deafen
wait "$_room" 2>/dev/null
_now
_since
_record "code=$_code
started=$_started
ended=$_now"
`;

const wrapperName = `wrapper-${createHash('sha256').update(wrapperText).digest('hex').slice(0, 12)}.sh`;

/**
 * Puts the wrapper into `directory`, named after its content: a shell reads its script as it goes, so the file of a
 * run that is under way must never change, whatever version of this program comes next.
 * @returns its path
 */
export function installWrapper(directory: string): string {
  const path = join(directory, wrapperName);
  if (statSync(path, { throwIfNoEntry: false })?.size !== Buffer.byteLength(wrapperText)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const temporary = `${path}.${randomUUID()}.tmp`; // several programs may start jobs at once
    writeFileSync(temporary, wrapperText, { mode: 0o600 });
    renameSync(temporary, path);
  }
  return path;
}
