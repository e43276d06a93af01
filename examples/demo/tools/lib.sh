# Sourced by the demo's scripts. Colours are used on a terminal and where the caller forces them; NO_COLOR wins.
if [ -n "${NO_COLOR:-}" ]; then
  colour=no
elif [ -t 1 ] || [ "${FORCE_COLOR:-0}" != 0 ] || [ "${CLICOLOR_FORCE:-0}" != 0 ]; then
  colour=yes
else
  colour=no
fi

if [ $colour = yes ]; then
  escape=$(printf '\033')
  bold="${escape}[1m" dim="${escape}[2m" off="${escape}[0m"
  red="${escape}[31m" green="${escape}[32m" yellow="${escape}[33m" blue="${escape}[34m"
  magenta="${escape}[35m" cyan="${escape}[36m"
else
  bold='' dim='' off='' red='' green='' yellow='' blue='' magenta='' cyan=''
fi

# pause <seconds>: waits, SPEED times shorter. Shells that cannot sleep for part of a second wait a whole one.
pause() {
  sleep "$(awk -v s="$1" -v f="${SPEED:-1}" 'BEGIN { f += 0; if (f <= 0) f = 1; printf "%.3f", s / f }')" 2>/dev/null ||
    sleep 1
}

# step <words>: a headline
step() {
  printf '\n%s==>%s %s%s%s\n' "$blue$bold" "$off" "$bold" "$1" "$off"
}

# bar <label> <percent>: draws a progress bar over the previous one
bar() {
  bar_full=$(($2 * 30 / 100))
  printf '\r%s%-22s%s [%s%s%s%s] %3d %%' "$cyan" "$1" "$off" "$green" \
    "$(repeat '#' $bar_full)" "$off" "$(repeat '.' $((30 - bar_full)))" "$2"
}

# repeat <character> <times>
repeat() {
  repeat_text=''
  repeat_left=$2
  while [ "$repeat_left" -gt 0 ]; do
    repeat_text=$repeat_text$1
    repeat_left=$((repeat_left - 1))
  done
  printf %s "$repeat_text"
}

# warning <file> <line> <function> <words> <source> <marker>: a compiler's warning, on stderr
warning() {
  {
    printf "%s%s:%s in function '%s%s%s':\n" "$bold" "$1" "$off" "$bold" "$3" "$off"
    printf '%s%s:%s:5:%s %swarning:%s %s\n' "$bold" "$1" "$2" "$off" "$magenta$bold" "$off" "$4"
    printf '%5s |     %s\n      |     %s%s%s\n' "$2" "$5" "$magenta" "$6" "$off"
  } >&2
}
