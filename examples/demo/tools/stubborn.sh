#!/bin/sh
# Ignores SIGTERM and SIGINT, as programs that hang do: only SIGKILL ends it before its time.
. tools/lib.sh

trap '' TERM INT
printf 'I do not listen. Cancel me, and see what happens after the grace time.\n'
second=0
while [ $second -lt 120 ]; do
  printf 'still here after %d s\n' $second
  pause 1
  second=$((second + 1))
done
