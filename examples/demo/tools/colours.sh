#!/bin/sh
# Escape sequences for colour and style. Always coloured: that is the point of it.
escape=$(printf '\033')

printf 'Styles: '
for style in '1 bold' '2 dim' '3 italic' '4 underline' '7 reverse' '9 struck'; do
  printf '%s[%sm%s%s[0m  ' "$escape" "${style%% *}" "${style#* }" "$escape"
done

printf '\n\nThe 16 colours\n'
for base in 30 90; do
  code=$base
  while [ $code -lt $((base + 8)) ]; do
    printf '%s[%dm %3d %s[0m%s[%dm %3d %s[0m ' "$escape" $code $code "$escape" "$escape" $((code + 10)) $((code + 10)) "$escape"
    code=$((code + 1))
  done
  printf '\n'
done

printf '\nThe 256 colours\n'
awk -v e="$escape" 'BEGIN {
  for (i = 16; i < 232; i++) printf "%s[48;5;%dm  %s[0m%s", e, i, e, (i - 15) % 36 == 0 ? "\n" : ""
  for (i = 232; i < 256; i++) printf "%s[48;5;%dm  %s[0m", e, i, e
  print ""
}'

printf '\nTrue colour\n'
awk -v e="$escape" 'BEGIN {
  for (i = 0; i < 72; i++) {
    t = i / 71
    r = 255 * t; g = 255 * (t < 0.5 ? 2 * t : 2 - 2 * t); b = 255 * (1 - t)
    printf "%s[48;2;%d;%d;%dm %s[0m", e, r, g, b, e
  }
  print ""
}'
