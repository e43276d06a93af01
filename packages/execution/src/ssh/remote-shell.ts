import { jobMark } from '../process.ts';
import { markerOf } from './segments.ts';

/** What the scripts for a host have in common; `remote-script.ts` tells how they run. */

/** One argument for a POSIX shell, whatever it holds but NUL. */
export const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Which run, on the other side. */
export interface RemoteRun {
  jobId: string;
  /** Name of its directory there; another one for every attempt to start the job. */
  name: string;
}

/** What has not died by then sleeps in the kernel (a dead disk), or forks faster than it can be found. */
const sweepSeconds = 5;

/** Marks, and stderr put away: what the shell itself complains about is not the job's output. */
export const head = (nonce: string) => `
exec 3<&0 4>&2 2>/dev/null
_umask=$(umask)
umask 077
_mark() { printf '%s' ${quote(markerOf(nonce))}; }
`;

/** Who belongs to a run: the same three ways as on this machine, see `kill.ts`. */
export const processes = `
_boot() {
  read -r _boot </proc/sys/kernel/random/boot_id || _boot=$(sysctl -n kern.bootsessionuuid || echo unknown)
}
_identify() { # who the wrapper is
  _pid= _start= _since=
  while IFS== read -r _key _value; do
    case $_key in pid) _pid=$_value ;; start) _start=$_value ;; boot) _since=$_value ;; esac
  done <"$_run/pid"
  case $_pid in '' | 0 | 1 | *[!0-9]*) _pid=; return 1 ;; esac
}
_wrapper_lives() {
  [ -f "$_run/pid" ] && _identify || return 1
  _boot
  [ "$_boot" = "$_since" ] || return 1
  if [ -r /proc/$$/stat ]; then
    read -r _stat <"/proc/$_pid/stat" || return 1
    set -- \${_stat##*) }
    [ "$1" != Z ] && [ "\${20}" = "$_start" ]
  else
    [ "$(LC_ALL=C TZ=UTC ps -o lstart= -p "$_pid")" = "$_start" ]
  fi
}
_table() { # t pid parent group session name, of all that live
  if [ -r /proc/$$/stat ]; then
    cat /proc/[0-9]*/stat | LC_ALL=C awk '
      { n = split($0, part, "[)] "); open = index($0, " (")
        if (!open || n < 2 || split(part[n], f, " ") < 4 || f[1] ~ /[ZX]/) next
        print "t", substr($0, 1, open - 1), f[2], f[3], f[4],
          substr($0, open + 2, length($0) - length(part[n]) - open - 3) }'
  else
    LC_ALL=C ps -A -o pid= -o ppid= -o pgid= -o sess= -o stat= -o comm= |
      LC_ALL=C awk '$5 !~ /Z/ { name = $6; sub(/.*\\//, "", name); print "t", $1, $2, $3, $4, name }'
  fi
}
_marked() {
  if [ -r /proc/$$/environ ]; then
    LC_ALL=C grep -l "${jobMark}=$_job" /proc/[0-9]*/environ
  else
    ps axeww -o pid= -o command= | while read -r _p _words; do
      case $_words in *"${jobMark}=$_job"*) echo "$_p" ;; esac
    done
  fi
}
_in_cgroup() { [ -z "$_cgroup" ] || find "$_cgroup" -name cgroup.procs -exec cat {} +; }
_members() { # pid group whether-the-group-holds-nothing-else name, of all that belongs to the job but the wrapper
  _leader=0
  _wrapper_lives && _leader=$_pid
  { _in_cgroup; _marked; _table; } | LC_ALL=C awk -v leader="$_leader" -v self=$$ '
    $1 == "t" { parent[$2] = $3; group[$2] = $4; session[$2] = $5; name[$2] = $6; next }
    /^\\/proc\\// { split($0, part, "/"); mine[part[3]] = 1; next }
    /^[1-9][0-9]*$/ { mine[$1] = 1 }
    END {
      for (p in parent) if (leader && (session[p] == leader || group[p] == leader)) mine[p] = 1
      do { grown = 0
        for (p in parent) if (!(p in mine) && (parent[p] in mine)) { mine[p] = 1; grown = 1 }
      } while (grown)
      for (p in parent) if (!(p in mine)) mixed[group[p]] = 1
      for (p in mine) if (p in parent && p > 1 && p != leader && p != self)
        print p, group[p], (group[p] > 1 && !(group[p] in mixed)), (name[p] == "" ? "?" : name[p])
    }'
}
_pids() { printf '%s\\n' "$1" | awk '{ print $1 }'; }
_nap() { sleep "$1" || sleep 1; }
_alive() { # a wrapper counts: as long as it lives it may be about to begin the command
  _wrapper_lives || [ -n "$(_members)" ]
}
_now() { # in 1/100 s
  if read -r _up _ </proc/uptime; then _now=\${_up%.*}\${_up#*.}; else _now=$(date +%s)00; fi
}
`;

/**
 * Everything of the run dies but the wrapper, which lives to write the record. All is stopped first, whole groups in
 * one step, until a search finds no new one: what is stopped cannot fork. What has not died after some seconds sleeps
 * in the kernel. Prints who was killed, and who would not die.
 */
export const killing = `
_kill_all() {
  _dead=
  _now
  _until=$((_now + ${sweepSeconds} * 100))
  if [ -n "$_cgroup" ]; then
    _dead=$(_members)
    echo 1 >"$_cgroup/cgroup.kill"
  fi
  while :; do
    _stopped=' '
    while :; do
      _m=$(_members) _fresh=
      for _p in $(_pids "$_m"); do
        case $_stopped in *" $_p "*) ;; *) _fresh="$_fresh $_p" ;; esac
      done
      [ -n "$_fresh" ] || break
      for _g in $(printf '%s\\n' "$_m" | awk '$3 && !seen[$2]++ { print $2 }'); do kill -s STOP -- "-$_g"; done
      kill -s STOP $_fresh
      _stopped="$_stopped\${_fresh# } "
      _dead="$_dead
$_m"
      _now
      [ "$_now" -lt "$_until" ] || break
    done
    [ "$_stopped" = ' ' ] || kill -s KILL $_stopped
    ! _wrapper_lives || kill -s CONT "$_pid"
    [ "$_stopped" != ' ' ] || break
    [ "$_now" -lt "$_until" ] || { _members | _tell left; break; }
    _nap 0.01
  done
  printf '%s\\n' "$_dead" | _tell kill
}
_tell() { awk -v key="$1" 'NF && !seen[$1]++ { print key, $1, $4 }'; }
`;

/** Where the run is. */
export const names = (run: RemoteRun) => `
_job=${quote(run.jobId)} _name=${quote(run.name)}
_root=$HOME/.vmo/runs
_run=$_root/$_name
_cgroup=
[ ! -f "$_run/cgroup" ] || read -r _cgroup <"$_run/cgroup"
`;
