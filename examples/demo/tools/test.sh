#!/bin/sh
# Test output in the TAP format, which many tools speak.
. tools/lib.sh

tests='the lamp lights within one second
the lamp burns all night
the beam reaches the horizon
the lens focuses to a point
fog starts the horn
the horn stops when the fog lifts
the clock turns the lens once a minute
morse reads what morse writes
the tide follows the moon
no ship passes unseen
the keeper drinks tea at four
the cat is fed'

printf 'TAP version 13\n1..12\n'
number=0
printf '%s\n' "$tests" | while IFS= read -r name; do
  number=$((number + 1))
  pause 1.1
  printf '%sok%s %d - %s %s# time=%dms%s\n' "$green" "$off" $number "$name" "$dim" $((number * 37 % 90 + 4)) "$off"
  [ $number != 7 ] || printf '# the clock is 0.3 s slow; within tolerance\n' >&2
done
printf '\n%s12 passed%s, 0 failed (a demo: nothing was tested)\n' "$green$bold" "$off"
