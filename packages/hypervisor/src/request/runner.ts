/**
 * The program that runs the commands of a simulation request inside the guest, in POSIX sh: it needs no more than a
 * shell and the usual small tools, of busybox or of any distribution. It is started once when the guest has booted, as
 * root. Where there is no port `vmo.ctl` it ends at once: the same image is used for other machines as well.
 *
 * Its ports, in /dev/virtio-ports; with `vmo-asked` for `vmo` where a channel was asked for, so that a runner that the guest
 * starts by itself finds none:
 *   vmo.ctl        from the cockpit: `vmo-plan <bytes> <SHA-256> <nonce>`, and that many bytes of shell (plan.ts)
 *   vmo.stdout, vmo.stderr, vmo.artifacts
 *                  files on the host, which grow by whatever is written here
 *   vmo.report     likewise; a line for everything that happens, each with the seconds since the guest booted:
 *     hello <protocol> <starter> <system>  it is there; started by the guest itself (runner), the cockpit by
 *                                     the guest-agent, or typed at the serial console. A second one: the guest has booted again
 *     again                           the plan came damaged: send it once more
 *     accepted <nonce>                from here on nothing is asked of anybody
 *     begin <index>                   written before the command can write anything
 *     end <index> <code> <bytes of stdout> <bytes of stderr> [late]   a dash: not known; late: something that it
 *                                     has started goes on, and may write more
 *     artifact <index> <bytes> file|folder, no-artifact <index> <why>
 *     refused <why>                   the plan cannot be carried out
 *     over                            the last line: the guest turns itself off
 *
 * A write to a port returns when the host has taken it, so a line of the report is in its file before what happens next.
 * What a command writes goes through a pipe, never to the port itself: a port can be opened only once at a time, which
 * `echo … >/dev/stderr` would do again.
 */
export const runner = `#!/bin/sh
# vmo-runner: runs the commands of a simulation request in this guest. Start it as root when the guest has booted.
set -u
umask 077
PATH=\${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
: "\${HOME:=/root}"
export HOME
_ports=/dev/virtio-ports/vmo

# Names of ports come a moment after the ports. --wait: the machine was started for a request.
_patience=3
_by=runner _asked=
case \${1-} in
  --wait) _patience=300 ;;
  --by-*) _patience=300 _by=\${1#--by-} _asked=$_ports-asked ;;
esac
# A link can be made anew, and be away for a moment: what it leads to is looked up once, and opened by that name.
device_of() { # port, into _device
  _device=$_ports.$1
  _link=$(readlink "$_device") && _device=/dev/\${_link##*/}
  [ -c "$_device" ]
}
have_devices() {
  [ -e "$_ports.artifacts" ] && [ -e "$_ports.ctl" ] || return 1
  device_of ctl && _ctl=$_device && device_of report && _report=$_device || return 1
  device_of stdout && _stdout=$_device && device_of stderr && _stderr=$_device || return 1
  device_of artifacts && _artifacts=$_device
}
until have_devices; do
  if [ -n "$_asked" ] && [ -e "$_asked.ctl" ]; then
    _ports=$_asked _asked=
    continue
  fi
  _patience=$((_patience - 1))
  [ "$_patience" -gt 0 ] || exit 0
  sleep 0.1 2>/dev/null || sleep 1
done
# Each can be opened only once: a second runner ends here.
exec 3<"$_ctl" || exit 1
exec 4>>"$_stdout" 5>>"$_stderr" 6>>"$_report" 7>>"$_artifacts" || exit 1

say() {
  read -r _up _rest </proc/uptime
  printf '%s %s\\n' "$_up" "$*" >&6
}
off() {
  say over
  exec 3<&- 4>&- 5>&- 6>&- 7>&-
  sync
  poweroff -f 2>/dev/null || halt -f -p 2>/dev/null || echo o >/proc/sysrq-trigger
  exit 0
}
refuse() {
  say refused "$*"
  off
}

_dir=
for _place in /run /tmp; do
  mkdir "$_place/vmo-runner.$$" 2>/dev/null && _dir=$_place/vmo-runner.$$ && break
done
[ -n "$_dir" ] || refuse "neither /run nor /tmp can be written"

# How much went through a port: the kernel counts it, or dd says how much it copied. Not every dd does.
[ -d /sys/kernel/debug/virtio-ports ] || mount -t debugfs none /sys/kernel/debug 2>/dev/null
_counters=/sys/kernel/debug/virtio-ports
sent() { # by the counter $1, into _n; a dash: it is not told
  _n=-
  [ -r "$1" ] || return 0
  while read -r _key _value; do
    if [ "$_key" = bytes_sent: ]; then _n=$_value; fi
  done <"$1"
}
copy() { LC_ALL=C dd bs=65536 2>"$1"; } # what comes, as it comes; its words go into the file $1
copied() { # by the counter $1, which stood at $2; or by the words in the file $3; into _n
  sent "$1"
  if [ "$_n" != - ] && [ "$2" != - ]; then
    _n=$((_n - $2))
    return
  fi
  _n=-
  while read -r _number _word _rest; do
    case $_word in byte | bytes) _n=$_number ;; esac
  done <"$3"
}
_stdout=$_counters/\${_stdout##*/} _stderr=$_counters/\${_stderr##*/} _artifacts=$_counters/\${_artifacts##*/}

# What the plan is made of.
_stop=1 _sync= _left=0
command_text() { printf '%s' "$2" >"$_dir/command.$1"; }
environment() { printf '%s\\n' "$1" >"$_dir/environment"; }
# A guest that was kept and goes on: what must not be the same each time.
renew() { # seconds since 1970, machine id, MAC address; randomness and the program that has it used, for printf
  date -s "@$1" >/dev/null 2>&1
  printf "$4" >/dev/urandom
  printf "$5" >"$_dir/reseed" && chmod 700 "$_dir/reseed" && "$_dir/reseed" 2>/dev/null ||
    perl -e 'open F, ">", "/dev/urandom"; ioctl(F, 0x5207, 0)' 2>/dev/null
  [ ! -e /etc/machine-id ] || printf '%s\\n' "$2" >/etc/machine-id
  for _link in /sys/class/net/*; do
    [ ! -e "$_link/device" ] || ip link set dev "\${_link##*/}" address "$3" 2>/dev/null
  done
}
put_file() { # mode, path, base64
  case $2 in */*) mkdir -p "\${2%/*}/" 2>"$_dir/words" ;; esac &&
    { printf '%s' "$3" | base64 -d >"$2"; } 2>"$_dir/words" && chmod "$1" "$2" 2>"$_dir/words" && return
  read -r _words <"$_dir/words" || :
  refuse "the file $2 cannot be put there: \${_words:-no space left}"
}
run_command() {
  say begin "$1"
  rm -f "$_dir/out" "$_dir/err"
  sent "$_stdout"
  _out_before=$_n
  sent "$_stderr"
  _err_before=$_n
  mkfifo "$_dir/out" "$_dir/err" || refuse "no pipe can be made in $_dir"
  copy "$_dir/out.n" <"$_dir/out" >&4 3<&- 5>&- 6>&- 7>&- &
  _out=$!
  copy "$_dir/err.n" <"$_dir/err" >&5 3<&- 4>&- 6>&- 7>&- &
  _err=$!
  # In the foreground: what runs in the background does not hear SIGINT.
  (
    umask 022
    exec 3<&- 4>&- 5>&- 6>&- 7>&-
    set -- "$(cat "$_dir/command.$1")" "$_dir/environment"
    cd "$HOME" 2>/dev/null || cd /
    . "$2"
    exec sh -c "$1"
  ) </dev/null >"$_dir/out" 2>"$_dir/err"
  _code=$?
  # A process that it left in the background keeps the pipes open: after a second nobody waits for it.
  _late=
  trap _late=1 USR1
  (
    exec 3<&- 4>&- 5>&- 6>&- 7>&- >/dev/null 2>&1
    while sleep 1 && kill -USR1 $$; do :; done
  ) &
  _dog=$!
  for _copy in $_out $_err; do
    until [ -n "$_late" ]; do
      wait "$_copy"
      [ $? -gt 128 ] || break
    done
  done
  kill "$_dog" 2>/dev/null
  trap : USR1
  copied "$_stdout" "$_out_before" "$_dir/out.n"
  _out=$_n
  copied "$_stderr" "$_err_before" "$_dir/err.n"
  say end "$1" "$_code" "$_out" "$_n" \${_late:+late}
  [ "$_code" = 0 ] || [ -z "$_stop" ]
}
fetch() { # index, path
  if [ ! -e "$2" ]; then
    say no-artifact "$1" "it is not there"
    return
  elif [ ! -f "$2" ] && [ ! -d "$2" ]; then
    say no-artifact "$1" "it is neither a file nor a folder"
    return
  elif [ ! -r "$2" ]; then
    say no-artifact "$1" "it cannot be read"
    return
  elif [ "$_left" -lt 1 ]; then
    say no-artifact "$1" "those before it are as large as all may be"
    return
  fi
  sent "$_artifacts"
  _before=$_n
  _kind=file
  [ -d "$2" ] && _kind=folder
  if [ "$_kind" = folder ]; then
    (cd "$2" && tar -cf - . 2>/dev/null) | head -c "$_left" | copy "$_dir/file.n" >&7
  else
    head -c "$_left" <"$2" | copy "$_dir/file.n" >&7
  fi
  copied "$_artifacts" "$_before" "$_dir/file.n"
  [ "$_n" = - ] && refuse "neither this guest's kernel nor its dd says how much of an artifact was copied"
  _left=$((_left - _n))
  say artifact "$1" "$_n" "$_kind"
}

say hello 1 "$_by" "$(uname -sr)"
while :; do
  if ! IFS=' ' read -r _word _size _sum _nonce <&3; then # nobody is there now
    sleep 0.1 2>/dev/null || sleep 1
    continue
  fi
  [ "$_word" = vmo-plan ] || continue
  head -c "$_size" <&3 >"$_dir/plan" || refuse "the plan cannot be stored in $_dir"
  set -- $(sha256sum <"$_dir/plan")
  [ "\${1-}" = "$_sum" ] && break
  say again
done
exec 3<&-
say accepted "$_nonce"
. "$_dir/plan"
off
`;
