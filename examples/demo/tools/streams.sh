#!/bin/sh
# Which line came from where is kept, also when both streams talk at once.
. tools/lib.sh

watch=1
while [ $watch -le 10 ]; do
  printf 'stdout: watch %2d, the beam goes round\n' $watch
  pause 0.5
  printf 'stderr: watch %2d, a gull sits on the glass\n' $watch >&2
  pause 0.5
  watch=$((watch + 1))
done
