#!/bin/sh
# Runs for ten minutes, and ends politely when it is asked to.
. tools/lib.sh

trap 'printf "\n%sThe keeper puts out the light and goes to bed.%s\n" "$yellow" "$off"; exit 143' TERM INT
printf 'The light is on. Cancel this job when you have seen enough.\n'
second=0
while [ $second -lt 600 ]; do
  case $((second % 4)) in
    0) sign='|' ;;
    1) sign='/' ;;
    2) sign='-' ;;
    *) sign="\\" ;;
  esac
  printf '\r  %s%s%s  %3d s, all is well' "$yellow$bold" "$sign" "$off" $second
  if [ $((second % 15)) = 14 ]; then printf '\n  a ship passes: %s\n' "$(date '+%H:%M:%S')"; fi
  pause 1
  second=$((second + 1))
done
printf '\nThe sun rises.\n'
