#!/bin/sh
# Fails the way a compiler does.
. tools/lib.sh

step 'Compiling 4 units'
for unit in tower/base tower/stairs storm/warning; do
  printf '%sCC%s  src/%s.c\n' "$green" "$off" "$unit"
  pause 0.8
done
{
  printf "%ssrc/storm/warning.c:%s in function '%sstorm_warn%s':\n" "$bold" "$off" "$bold" "$off"
  printf "%ssrc/storm/warning.c:27:12:%s %serror:%s expected ';' before 'return'\n" "$bold" "$off" "$red$bold" "$off"
  printf '   27 |     hoist(FLAG)\n      |                %s^%s\n      |                %s;%s\n' "$red" "$off" "$green" "$off"
  printf '   28 |     return calm;\n      |     %s~~~~~~%s\n' "$red" "$off"
  printf '1 error (on purpose: this target shows what a failure looks like)\n'
} >&2
exit 2
