#!/bin/sh
# Progress bars that redraw in place by a carriage return.
. tools/lib.sh

step 'Fetching the sea charts (only a bar: nothing leaves this machine)'
for chart in north-sea.chart atlantic.chart constellations.db; do
  percent=0
  while [ $percent -lt 100 ]; do
    bar "$chart" $percent
    pause 0.12
    percent=$((percent + 4))
  done
  bar "$chart" 100
  printf ' %sok%s\n' "$green" "$off"
done
printf 'note: constellations.db is from an older season\n' >&2
