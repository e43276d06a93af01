#!/bin/sh
# Links, lights the lamp, greets.
. tools/lib.sh

step 'Linking'
for percent in 5 12 20 31 42 50 58 67 75 82 90 96 100; do
  bar pharos $percent
  pause 0.25
done
printf '\n'

step 'Lighting the lamp'
beam=0
while [ $beam -le 24 ]; do
  printf '\r  %s(*)%s%s%s' "$yellow$bold" "$off$yellow" "$(repeat '=' $beam)" "$off"
  pause 0.12
  beam=$((beam + 1))
done
printf '\n\n%sHello, %s!%s The light is on.\n' "$bold$green" "$NAME" "$off"
printf '%sThat was the demo build. Next: test, broken, watch (cancel it), flood, or a command of your own.%s\n' "$dim" "$off"
